// Looking into a compile: the text of every stage, the passes, and why things were fused. This is
// what the `fusec` tool prints; nothing here is needed to run a model.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/compile.h"
#include "fusec/plan/decision.h"

namespace fusec {

// In order. The text of each reads back: inspect_text() goes on from it.
enum class Stage : uint8_t { graph, canonical, fused, scheduled, plan, source, binary };
FUSEC_API const std::vector<std::string>& stage_names();
// A user Error that names the nearest stage.
FUSEC_API Stage parse_stage(std::string_view name);

struct PassInfo {
  std::string name, stage, why_here;
};
FUSEC_API std::vector<PassInfo> pass_list();

struct InspectOptions {
  CompileOptions compile;
  Stage until = Stage::plan;
  std::vector<Stage> texts;  // stages whose text is wanted
  // Called after each pass with its name and the IR text, if set.
  std::function<void(const std::string& pass, const std::string& text)> after_pass;
  bool locations = true;  // print user locations into the text
  bool image = false;  // fill Inspection::image; needs stage binary
};

struct Inspection {
  std::map<Stage, std::string> texts;
  Plan plan;                        // filled from stage `plan` on
  std::vector<Decision> decisions;  // of the passes that ran
  std::vector<std::string> warnings;
  MemoryReport memory;  // from stage `plan` on
  CompileTimes times;
  std::string image;  // what Executable::save() would write
  std::vector<std::pair<std::string, double>> pass_seconds;
};

// Compiles a recorded graph up to a stage.
FUSEC_API Inspection inspect(Graph& graph, const std::vector<Output>& outputs,
                             const std::string& name, const InspectOptions& options);

// Inspection::image of several architectures -> one saved plan that runs on the GPUs of all.
FUSEC_API std::string join_images(const std::vector<std::string>& images);

// Goes on from the text of a stage; which one is read from the text. `name` is for messages.
// Throws a user Error with line and column if it does not parse.
FUSEC_API Inspection inspect_text(std::string_view text, const std::string& name,
                                  const InspectOptions& options);

// One kernel of a plan, for the table of kernels.
struct KernelRow {
  std::string name;
  int launches = 0, segments = 0, fused_ops = 0;
  int64_t bytes = 0, unfused_bytes = 0;  // memory traffic of all launches of one step
  std::string ops;                       // what was fused
};
// Kernels and library calls of a plan, the largest traffic first.
FUSEC_API std::vector<KernelRow> kernel_table(const Plan& plan);

}  // namespace fusec
