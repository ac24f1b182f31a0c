// One compile, stage by stage. compile() and the `fusec` tool both drive this class.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/codegen_cpu/codegen.h"
#include "fusec/inspect.h"
#include "validate.h"

namespace fusec::driver {

class Compilation {
 public:
  explicit Compilation(const InspectOptions& options);
  ~Compilation();

  // Starts at `graph`.
  void from_graph(Graph& graph, const std::vector<Output>& outputs, const std::string& name);
  // Starts at the stage whose text it is.
  void from_text(std::string_view text, const std::string& name);
  // Runs everything up to options.until, collecting texts and writing dump files.
  void run();

  Inspection& result() { return result_; }
  // After stage binary.
  codegen_cpu::CompiledKernels& kernels() { return kernels_; }
  // After stage plan, with options.compile.validate.
  KernelReferences& references() { return references_; }

 private:
  struct Ir;
  void reach(Stage stage);
  void link_binary();
  void make_plan();
  void run_passes(std::string_view stage, double& seconds);
  void emit(Stage stage);
  std::string text_of(Stage stage);
  bool wanted(Stage stage) const;
  bool dumped(Stage stage) const;

  InspectOptions options_;
  codegen_cpu::CpuTarget target_;
  int threads_;
  std::unique_ptr<Ir> ir_;
  Stage start_ = Stage::graph;
  std::vector<std::string> source_;  // a section a kernel, when read from stage source or binary
  codegen_cpu::CompiledKernels kernels_;
  KernelReferences references_;
  Inspection result_;
};

// Worker threads for options.threads (0: all cores this process may use).
int thread_count(int requested);

}  // namespace fusec::driver
