// Runs a kernel compiled and interpreted on the same data and compares all memory around it.
#pragma once

#include <string>
#include <vector>

#include "buffer.h"
#include "fusec/codegen_cpu/codegen.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::test {

struct Check {
  double lo = -2, hi = 2;       // range of inputs
  double relative = 2e-6;       // allowed error, relative to the larger of |expected| and `scale`
  double scale = 1;
  uint64_t seed = 1;
  std::vector<std::pair<int, std::vector<double>>> values;  // first elements of a parameter
};

// Verifies and compiles `k`, runs it in uneven ranges of work units, and compares with the
// reference. counts[i]: elements of parameter i. A doctest failure names the kernel.
void compare(const KernelProgram& k, const std::vector<int64_t>& counts, int64_t n = 0,
             const Check& check = {});
// The same with given code.
void compare_code(const KernelProgram& k, KernelFn f, const std::vector<int64_t>& counts,
                  int64_t n, const Check& check);

// The targets to test: this processor, and narrower ones that it can run too.
std::vector<codegen_cpu::CpuTarget> targets();

}  // namespace fusec::test
