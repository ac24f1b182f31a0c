// The CPU device: a thread pool, library calls (GEMM, attention, gather, ...) and the executor.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fusec/core/device.h"
#include "fusec/plan/code_image.h"
#include "fusec/plan/plan.h"

namespace fusec::cpu {

// Worker threads that run ranges of work units. The caller takes part; size() counts it.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // 0: one for each available core (affinity mask)
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  int size() const;
  // Scratch held by the workers and the calling thread.
  int64_t scratch_bytes() const;
  // Calls fn(lo, hi) on disjoint ranges that cover [0, units), each a multiple of `grain` long
  // (but the last). Returns when all are done; rethrows the first exception of a task. The ranges
  // depend on units, grain and size(); results must not.
  void parallel(int64_t units, int64_t grain, const std::function<void(int64_t, int64_t)>& fn);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Worker threads for a request: FUSEC_THREADS where it is 0, else all cores this process may use.
int thread_count(int requested);

// Code for the kernels of a plan, index by index, and whatever keeps it alive.
struct KernelImages {
  std::vector<KernelFn> functions;
  std::shared_ptr<void> owner;
};

// Makes the code of kernels callable: imports resolved, mapped read-only and executable. Running
// out of memory, or a system that forbids it, is a device Error.
KernelImages map_kernels(const std::vector<CodeImage>& images);

// Allocates memory for the plan and binds kernels and library calls to it. `share` may be null or
// the store of another CPU program: parameters and states of equal name are then the same memory
// (a type mismatch is a user Error that names both). threads: 0 means all cores.
FUSEC_API std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan, KernelImages images,
                              std::shared_ptr<PersistentStore> share, int threads);

// Scratch that the library calls of a plan need beside the plan's own memory, on all threads
// together: an upper bound, exact but for what oneDNN packs. Touches no device.
FUSEC_API int64_t workspace_bytes(const Plan& plan, int threads);

// The least of what the machine, the cgroup and RLIMIT_AS leave this process, and its name
// ("physical memory", "the cgroup's memory.max", "RLIMIT_AS").
struct MemoryLimit {
  int64_t bytes = 0;
  std::string what;
};
FUSEC_API MemoryLimit memory_limit();

// "oneDNN 2.6.3 (libdnnl.so.2)" or "own vector kernel (libdnnl.so.2, .so.3 not found)".
std::string gemm_backend();

}  // namespace fusec::cpu
