// Normal numbers drawn by the GPU whose memory they are for: made and copied by the host they
// took a third of a warm start.
#pragma once

#include <vector>

#include "fusec/core/device.h"
#include "fusec/cuda/cuda.h"
#include "memory.h"

namespace fusec::cuda {

struct DeviceDraw {
  CuAddress to = 0;
  int64_t count = 0;  // f32 numbers
  NormalFilling numbers;
};

// Draws all and waits; false, with nothing done, where the kernel would have to be compiled and
// nothing here compiles. The GPU's context must be current.
bool draw_normal(const Gpu& gpu, const Stream& stream, const CallTarget& target,
                 const LoadOptions& options, const std::vector<DeviceDraw>& draws);

}  // namespace fusec::cuda
