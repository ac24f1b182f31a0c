// What a KernelProgram means, written for clarity: every op over the whole domain, in double.
#pragma once

#include <vector>

#include "fusec/plan/kernel_program.h"

namespace fusec::test {

// Runs the whole launch. args[i] is the base of params[i]; n: length of flat and flat_reduce.
// Loads see the memory as it was before the launch. Values are doubles, rounded where the kernel
// casts (to bf16, f16, f32 or an integer); integers are exact up to 2^53.
void run_reference(const KernelProgram& kernel, const std::vector<void*>& args, int64_t n);

}  // namespace fusec::test
