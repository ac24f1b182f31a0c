// An attention hook (ops/hook.h) -> kernels that work on one tile of scores; see `hook` of the call
// attention in plan.h, which says what their arguments are.
#pragma once

#include <string>
#include <vector>

#include "fusec/plan/kernel_program.h"
#include "fusec/plan/plan.h"

namespace fusec::ir {

struct HookKernels {
  std::vector<KernelProgram> programs;  // [mask,] score or gradient
  std::string loads;                    // attribute hook_loads
};

// Of an attention or attention_grad call that has the attribute hook.
HookKernels make_hook_kernels(const LibraryCall& call);

}  // namespace fusec::ir
