// What a compile keeps on disk (fusec/core/disk_cache.h), and under which keys.
//
//   a kernel   to_bytes(CodeImage)   key: structural text, LLVM and target, sources of Fusec
//   a plan     warnings, print(Plan) key: the recorded graph, device, options, sources
//   GPU: all code of a plan in one object, beside the cubins one by one; see backend_cuda.cpp
//
// Kernels are kept one by one because plans share them: an edit of a model compiles only what it
// changed. Plans are kept because the passes take longer than all else once the kernels are there.
// The sources are those of everything between a graph and its code, hashed when Fusec is built, so
// nobody has to remember to count a version up. Refuses nothing: no cache means a miss.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/codegen_cpu/codegen.h"
#include "fusec/core/disk_cache.h"
#include "fusec/plan/plan.h"

namespace fusec::driver {

// What the passes answer: the plan, and what they had to say (a budget that cannot be met).
struct KeptPlan {
  Plan plan;
  std::vector<std::string> warnings;
};

class CompileCache {
 public:
  // The user's cache, or none if it is switched off.
  CompileCache() : disk_(DiskCache::of_environment()) {}

  static Digest kernel_key(const KernelProgram& kernel, const codegen_cpu::CpuTarget& target);
  static Digest plan_key(const Digest& graph, std::string_view settings);
  // The code of a plan that is kept under `plan`; `facts`: all else that decides about it.
  static Digest code_key(const Digest& plan, std::string_view facts);

  // Compiles what the cache lacks and keeps it; with `remember`, in this process, too (for those
  // who compile the same kernels again and again). Fills hits and misses.
  codegen_cpu::CompiledKernels kernels(const Plan& plan, int threads,
                                       const codegen_cpu::CpuTarget& target, bool remember,
                                       int* hits, int* misses);

  bool on() const { return disk_ != nullptr; }
  // A kept plan that reads and verifies.
  std::optional<KeptPlan> plan(const Digest& key);
  void keep_plan(const Digest& key, const KeptPlan& kept);

 private:
  std::shared_ptr<DiskCache> disk_;
};

}  // namespace fusec::driver
