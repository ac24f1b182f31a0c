// Threads of a plan's kernels, for devices that run blocks of them.
#pragma once

#include "fusec/plan/plan.h"
#include "fusec/plan/target.h"

namespace fusec::passes {

// Fills vector, block and team of every kernel for target.cores > 0, and cuts the long rows of a map
// where rows alone would leave multiprocessors idle.
void schedule_blocks(Plan& plan, const TargetInfo& target);

}  // namespace fusec::passes
