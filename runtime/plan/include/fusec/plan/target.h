// What a pass may know about the device it plans for: limits, never a vendor. Nothing here depends
// on how many threads a run uses: that would change what is fused, and with it the bits of the
// result.
#pragma once

#include <cstdint>
#include <string>

namespace fusec {

struct TargetInfo {
  std::string name = "cpu";
  int cores = 0;  // multiprocessors, on a device that runs blocks of threads; 0: another kind
  int64_t operations_a_byte = 8;  // arithmetic that takes as long as one byte of memory traffic
  int64_t cache_bytes = 32 << 20;    // what a kernel may touch and still find in a cache afterwards
  int64_t reduce_chunk = 8192;       // elements of one partial sum of a whole-tensor reduction
  int max_kernel_params = 64;        // arguments of one fused kernel
  int max_kernel_ops = 240;          // tensor ops in one fused kernel
};

}  // namespace fusec
