// Host memory that a GPU reads by itself, and whether some memory is that.
#pragma once

#include <cstddef>

namespace fusec::cuda {

// Whether pinned_memory() (cuda.h) gave all of these bytes: they can be copied as they lie.
bool is_pinned(const void* memory, size_t bytes);

}  // namespace fusec::cuda
