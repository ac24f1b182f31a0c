// One compile, stage by stage. compile() and the `fusec` tool both drive this class.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend.h"
#include "compile_cache.h"
#include "fusec/inspect.h"
#include "validate.h"

namespace fusec::driver {

class Compilation {
 public:
  explicit Compilation(const InspectOptions& options);
  ~Compilation();

  // From here on a plan on disk may stand for the passes. Call before run().
  void take_kept_plans() { keep_plans_ = true; }

  // Starts at `graph`, which must live until run() is over.
  void from_graph(Graph& graph, const std::vector<Output>& outputs, const std::string& name);
  // Starts at the stage whose text it is.
  void from_text(std::string_view text, const std::string& name);
  // Runs everything up to options.until, collecting texts and writing dump files.
  void run();
  // Goes on to a later stage.
  void run_until(Stage stage);

  Inspection& result() { return result_; }
  Sentry sentry() const { return options_.compile.sentry; }
  // From stage binary on it holds the code.
  std::unique_ptr<Backend>& backend() { return backend_; }
  // After stage plan, with options.compile.validate.
  KernelReferences& references() { return references_; }

 private:
  struct Ir;
  void import();
  void reach(Stage stage);
  void link_binary();
  std::optional<Digest> kept_plan_key();
  bool take_kept_plan(const Digest& key);
  void make_plan();
  void run_passes(std::string_view stage, double& seconds);
  void emit(Stage stage);
  std::string text_of(Stage stage);
  bool wanted(Stage stage) const;
  bool dumped(Stage stage) const;

  InspectOptions options_;
  std::unique_ptr<Backend> backend_;
  CompileCache cache_;
  bool keep_plans_ = false;
  std::optional<Digest> plan_key_;  // what the plan and its code may be kept under
  std::unique_ptr<Ir> ir_;
  Stage start_ = Stage::graph, at_ = Stage::graph;
  std::vector<std::string> source_;  // a section a kernel, when read from stage source or binary
  KernelReferences references_;
  Inspection result_;
};

}  // namespace fusec::driver
