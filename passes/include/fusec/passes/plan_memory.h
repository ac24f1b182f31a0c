// Memory of a plan: lifetimes, in-place updates, arena offsets.
#pragma once

#include "fusec/plan/plan.h"

namespace fusec::passes {

// Fills first / last of every buffer and offset of the arena classes, after
//   - letting the producer of an assigned value write into the parameter itself (the copy at the
//     end of the step goes away) where no later step reads the old value;
//   - moving what writes persistent memory behind everything else, as commit steps, if the plan has
//     a guard or `guarded` is set;
//   - letting a kernel overwrite an operand that dies there and that it reads and writes at the
//     same index.
// Offsets come from best fit over lifetimes, in the best of a few orders.
void plan_memory(Plan& plan, bool guarded = false);

}  // namespace fusec::passes
