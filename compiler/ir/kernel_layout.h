// Second half of the kernel builder: loop order, collapsed dimensions and schedule.
#pragma once

#include <string>
#include <vector>

#include "fusec/plan/kernel_program.h"

namespace fusec::ir {

// `program` computes on a domain in tensor order, reduced[d] telling which dimensions are reduced.
// Orders and merges the dimensions and sets row_dims and schedule. Returns why it cannot ("" if it
// can): then the program is in an undefined state.
std::string layout_kernel(KernelProgram& program, const std::vector<bool>& reduced, int64_t chunk);

}  // namespace fusec::ir
