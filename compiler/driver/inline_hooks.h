// See inline_hooks.cpp; the attributes are described at attention in plan.h.
#pragma once

#include <vector>

#include "fusec/plan/plan.h"

namespace fusec::driver {

// For devices that run blocks of threads. Returns the numbers that the kernels left had before.
std::vector<int> inline_hooks(Plan& plan);

}  // namespace fusec::driver
