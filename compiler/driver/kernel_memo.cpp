#include "kernel_memo.h"

#include <mutex>
#include <unordered_map>

#include "fusec/plan/plan.h"

namespace fusec::driver {
namespace {

constexpr size_t kMostKernels = 20000;  // then the memo starts anew; programs keep what they use

struct Compiled {
  KernelFn function = nullptr;
  std::shared_ptr<void> owner;
};

std::string key_of(const KernelProgram& kernel, const codegen_cpu::CpuTarget& target) {
  KernelProgram bare = kernel;
  bare.name = "k";
  bare.origins.clear();
  for (KernelParam& p : bare.params) p.name = "p";
  return target.cpu + target.features + std::to_string(target.vector_bits) + print(bare);
}

}  // namespace

codegen_cpu::CompiledKernels compile_or_reuse(const std::vector<const KernelProgram*>& kernels,
                                              int threads, const codegen_cpu::CpuTarget& target) {
  static std::mutex mutex;
  static std::unordered_map<std::string, Compiled> memo;
  std::vector<std::string> keys;
  std::vector<Compiled> found(kernels.size());
  std::vector<const KernelProgram*> missing;
  std::vector<size_t> missing_at;
  {
    std::lock_guard lock(mutex);
    for (size_t i = 0; i < kernels.size(); ++i) {
      keys.push_back(key_of(*kernels[i], target));
      if (auto it = memo.find(keys[i]); it != memo.end()) {
        found[i] = it->second;
      } else {
        missing.push_back(kernels[i]);
        missing_at.push_back(i);
      }
    }
  }
  codegen_cpu::CompiledKernels out;
  if (!missing.empty()) out = codegen_cpu::compile_kernels(missing, threads, target);
  {
    std::lock_guard lock(mutex);
    if (memo.size() > kMostKernels) memo.clear();
    for (size_t m = 0; m < missing.size(); ++m) {
      found[missing_at[m]] = {out.functions[m], out.owner};
      memo[keys[missing_at[m]]] = found[missing_at[m]];
    }
  }
  auto owners = std::make_shared<std::vector<std::shared_ptr<void>>>();
  out.functions.clear();
  for (Compiled& c : found) {
    out.functions.push_back(c.function);
    owners->push_back(std::move(c.owner));
  }
  out.owner = std::move(owners);
  return out;
}

}  // namespace fusec::driver
