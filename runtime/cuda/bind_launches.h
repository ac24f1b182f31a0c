// Launches of a plan's steps -> bound ones: texts of library calls are compiled, code is loaded on
// a few threads, addresses and kernels are filled in. A failure names the step that it is of.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "code_set.h"
#include "fusec/base/error.h"
#include "launch.h"
#include "steps.h"

namespace fusec::cuda {

bool is_gemm(const PlanStep& step);

// Where the data of an argument lie.
CuAddress address_of(const Plan& plan, const Placement& placement, const BufferRef& ref);

// f(), whose Error gets a note of the step.
template <class F>
void in_step(const Plan& plan, int step, F f) {
  try {
    f();
  } catch (Error& e) {
    e.add_note("in " + step_name(plan, step));
    throw;
  }
}

class LaunchBinder {
 public:
  // All must live as long as this.
  LaunchBinder(const Plan& plan, const Gpu& gpu, const Placement& placement,
               const LoadOptions& options)
      : plan_(plan), gpu_(gpu), placement_(placement), options_(options), code_(gpu) {}

  // A launch of a kernel whose code is there; the code must live as long as this.
  void add(int step, Launch launch, const KernelCode& code);
  // The launches of a step's library call.
  void add_call(int step, std::vector<CallLaunch> launches);
  size_t texts() const { return units_.size(); }
  // Begins to load what was added by add().
  void start() { code_.start(options_.nvrtc); }
  // Compiles the texts (one call for all distinct ones) that the options hold no code of, waits for
  // all code and appends each launch to its step. Returns the code, which the launches need.
  std::vector<std::unique_ptr<Code>> finish(std::vector<Step>& steps);

 private:
  // A launch of a call whose code is not compiled yet.
  struct Pending {
    int step;
    size_t unit;  // in units_
    CallLaunch launch;
  };
  // A launch whose kernel is being loaded.
  struct Missing {
    int step;
    Launch launch;
    size_t ticket;
  };
  void compile_calls();

  const Plan& plan_;
  const Gpu& gpu_;
  const Placement& placement_;
  const LoadOptions& options_;
  std::vector<Missing> missing_;
  std::map<std::string, size_t> texts_;  // text -> index into units_
  std::vector<SourceUnit> units_;
  std::vector<Pending> pending_;
  std::vector<std::string> call_cubins_;  // by unit
  CodeSet code_;
};

}  // namespace fusec::cuda
