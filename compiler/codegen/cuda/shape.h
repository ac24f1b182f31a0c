// The same kernel over fewer dimensions.
#pragma once

#include "fusec/plan/kernel_program.h"

namespace fusec::codegen_cuda {

// Drops dimensions of extent 1 and merges neighbours of one group (rows, reduced, inner) that every
// access walks as one: [32, 16, 128] rows 2 with x[i0*2048 + i1*128 + i2] -> [512, 128] rows 1.
// Fewer divisions of thread numbers, and longer last dimensions. Other schedules: unchanged.
KernelProgram with_fewer_dims(const KernelProgram& kernel);

}  // namespace fusec::codegen_cuda
