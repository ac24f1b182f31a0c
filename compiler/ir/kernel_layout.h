// Second half of the kernel builder: loop order, collapsed dimensions and schedule.
#pragma once

#include <string>

#include "fusec/ir/index.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::ir {

// `program` computes on `domain`, in tensor order. Orders and merges the dimensions and sets row_dims and schedule. Returns why it cannot ("" if it
// can): then the program is in an undefined state.
std::string layout_kernel(KernelProgram& program, const Domain& domain, int64_t chunk);

}  // namespace fusec::ir
