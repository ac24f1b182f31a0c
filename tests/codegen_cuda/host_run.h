// Emitted CUDA text, compiled for the host and compared with the interpreter of KernelPrograms.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/codegen_cuda/codegen.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::test {

struct HostCase {
  KernelProgram kernel;
  std::vector<int64_t> counts;  // elements of each parameter
  int64_t n = 0;
  codegen_cuda::LaunchForm form = codegen_cuda::LaunchForm::single;
  double lo = -2, hi = 2;      // range of inputs
  double relative = 2e-6;      // allowed error, relative to the larger of |expected| and 1
  uint64_t seed = 1;
  std::vector<std::pair<int, std::vector<double>>> values = {};  // first elements of a parameter
};

// Compiles all cases as one library, runs each and compares its results. Table forms run three
// segments, the second of length 0 where the length is the launch's. A doctest failure names the
// kernel.
void run_on_host(const std::string& name, const std::vector<HostCase>& cases);

}  // namespace fusec::test
