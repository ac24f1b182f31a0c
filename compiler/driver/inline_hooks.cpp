// Attention hooks of a plan for a GPU: their kernels, which work on a tile of scores, become text
// that the attention kernels inline, an attribute of the call; the kernels leave the plan.
//
//   call attention {hook_kernel = 3, hook_mask = 2, ...}   ->   {hook_cuda = "namespace hook ...",
//                                                               hook_scored, hook_masked, ...}
#include "inline_hooks.h"

#include <set>

#include "fusec/codegen_cuda/codegen.h"
#include "fusec/ops/hook.h"

namespace fusec::driver {

std::vector<int> inline_hooks(Plan& plan) {
  std::set<int64_t> hooks;
  for (PlanStep& step : plan.steps) {
    if (step.kernel >= 0 || !step.call.attrs.contains("hook_kernel")) continue;
    LibraryCall& call = step.call;
    int64_t kernel = call.integer("hook_kernel");
    codegen_cuda::HookFunctions f = codegen_cuda::emit_hook(plan.kernels.at(kernel), call);
    Hook hook = read_hook(call.text("hook"));
    bool hides_by_score = hook.has_mask() && !f.masked;
    hooks.insert(kernel);
    if (call.attrs.contains("hook_mask")) hooks.insert(call.integer("hook_mask"));
    for (const char* key : {"hook_kernel", "hook_mask", "hook_block", "hook_lanes"})
      call.attrs.erase(key);
    call.attrs["hook_cuda"] = std::move(f.text);
    call.attrs["hook_scored"] = int64_t{hides_by_score || !(hook.score == hook.given)};
    call.attrs["hook_masked"] = int64_t{f.masked};
    call.attrs["hook_mask_axes"] = int64_t{f.mask_axes};
  }
  std::vector<int> kept, number(plan.kernels.size(), -1);
  std::vector<KernelProgram> kernels;
  for (size_t i = 0; i < plan.kernels.size(); ++i) {
    if (hooks.contains(static_cast<int64_t>(i))) continue;
    number[i] = static_cast<int>(kept.size());
    kept.push_back(static_cast<int>(i));
    kernels.push_back(std::move(plan.kernels[i]));
  }
  plan.kernels = std::move(kernels);
  for (PlanStep& step : plan.steps)
    if (step.kernel >= 0) step.kernel = number[step.kernel];
  return kept;
}

}  // namespace fusec::driver
