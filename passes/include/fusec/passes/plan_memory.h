// Memory of a plan: lifetimes, in-place updates, arena offsets.
#pragma once

#include "fusec/plan/plan.h"

namespace fusec::passes {

// Fills first / last of every buffer and offset of the arena classes, after
//   - letting the producer of an assigned value write into the parameter itself (the copy at the
//   end
//     of the step goes away) where no later step reads the old value;
//   - letting a kernel overwrite an operand that dies there and that it reads and writes at the
//     same index.
// Offsets come from best fit by decreasing size over lifetimes.
void plan_memory(Plan& plan);

}  // namespace fusec::passes
