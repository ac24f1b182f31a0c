// The kernels that bench_kernels times, as graphs at the sizes of a large model.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "fusec/fusec.h"

namespace fusec::bench {

struct Work {
  std::vector<Output> outputs;
  double bytes = 0, flops = 0;
  std::string call;   // only steps of this library call count; all if empty
  int64_t below = 1;  // of integer inputs
};

struct Kernel {
  std::string name;
  std::function<Work(Graph&)> record;
};

// All of them. Tokens, rows and sequences are divided by `shrink`; AdamW gets `adamw` of its
// parameters.
std::vector<Kernel> kernel_list(int64_t shrink, double adamw);

}  // namespace fusec::bench
