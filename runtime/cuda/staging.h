// Large copies to a GPU. Memory that is not pinned goes through one buffer of the driver, copied by
// one thread; here several threads write pieces into pinned memory, each into the one of its two
// that is free, while earlier pieces travel.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "memory.h"

namespace fusec::cuda {

struct DeviceFilling {
  CuAddress to = 0;
  int64_t bytes = 0;
  const MakeBytes* make = nullptr;
};

// Fills all of them and waits. What `make` throws, or the driver says, is thrown here; the memory
// then holds anything. The GPU's context must be current.
void fill_device(const Gpu& gpu, const Stream& stream, const std::vector<DeviceFilling>& fillings,
                 const std::string& doing);

// Allocates the pinned memory of a GPU now. It is kept for good, as the GPU's context is: pinning
// takes longer than most copies.
void prepare_staging(const Gpu& gpu);

}  // namespace fusec::cuda
