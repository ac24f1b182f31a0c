// The matrix products of a plan, bound on a thread of their own while the program's owner goes on
// (as a rule with filling the weights): each gets an algorithm of cuBLASLt, or the own kernel; then
// each distinct kernel of the library runs once, since a kernel is loaded at its first launch,
// which takes milliseconds of the host.
//
// What else may go on meanwhile, and why that is safe:
//  - Writes, fills and reads of inputs, outputs, parameters, states and constants. The thread puts
//    nothing into the program's stream and touches two places: the workspace, which belongs to
//    steps, and the part of the arena that idle_part() finds, which holds temporaries alone. Its
//    products read and write zeros there, so the arena is as cleared as before. Who writes or reads
//    a temporary waits first.
//  - Steps of this program, profiles and the start-up table wait first: wait() is also the end of
//    all that the thread put on the GPU.
//  - Other programs, and their threads of this kind: the library's handle and the memory of chosen
//    algorithms are shared under locks. A recording of a graph knows its own thread alone.
//  - Saving reads plan and code, which nobody changes.
//  - Destruction stops the thread at the next product and waits for it, and so does the end of the
//    process.
// With LoadOptions::tune_gemms products are measured, in the arena and the workspace and on a quiet
// GPU: bind() then runs before load() returns, and only what was measured nowhere here is run in
// the background.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "events.h"
#include "fusec/core/disk_cache.h"
#include "gemm.h"
#include "steps.h"

namespace fusec::cuda {

// The longest part of the arena, from `begin` to before `end`, where temporaries lie alone.
struct IdlePart {
  CuAddress begin = 0, end = 0;
};
IdlePart idle_part(const Plan& plan, CuAddress arena);

class GemmSteps {
 public:
  // Reads and checks the products. All must live as long as this. The GPU's context must be
  // current, here and in what follows but wait().
  GemmSteps(const Plan& plan, const Gpu& gpu, const Placement& placement,
            const LoadOptions& options);
  ~GemmSteps();
  GemmSteps(const GemmSteps&) = delete;

  // Chooses and binds now.
  void bind();
  // Does on a thread what is left to do. The arena is zero once `stream` has done what it has been
  // told by now.
  void start(const Stream& stream);
  // Waits for the thread. What failed there is thrown, each time.
  void wait() const;

  // After wait() or bind():
  const Step& step(size_t i) const { return steps_[i]; }  // by index into Plan::steps
  int by_library() const { return by_library_; }
  int own() const { return own_; }
  const std::string& why_own() const { return why_own_; }  // of the first one
  bool measured() const { return measured_; }  // products ran, so that the arena may hold anything

 private:
  struct Product {
    int step = 0;
    Gemm gemm;
    GemmMemory memory;
    bool guarded = false;  // a guard may stop it
  };
  void warm_up();

  const Plan& plan_;
  const Gpu& gpu_;
  const Placement& placement_;
  const LoadOptions& options_;
  std::shared_ptr<DiskCache> cache_;  // as the environment was at load
  std::vector<Product> products_;
  std::vector<Step> steps_;
  std::vector<std::unique_ptr<Code>> code_;
  int by_library_ = 0, own_ = 0;
  std::string why_own_;
  bool bound_ = false, measured_ = false;
  std::unique_ptr<Events> cleared_;
  std::atomic<bool> stop_ = false;
  std::shared_future<void> done_;
};

}  // namespace fusec::cuda
