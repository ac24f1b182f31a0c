// The fastest of several ways to compute one thing, by events on the GPU.
#pragma once

#include <functional>
#include <mutex>

#include "memory.h"

namespace fusec::cuda {

// run(i) puts way `i` of `count` into the stream once and returns 0, or another status if it
// cannot; such a way is left out. Returns the first of those within a hundredth of the least
// median, so that ways of one speed do not take turns; -1 if none runs.
int fastest(const Stream& stream, int count, const std::function<int(int)>& run);

// Held by whoever runs products before the first step: measurements must not meet others.
std::mutex& running_products();

// Finite numbers of mixed sign and size, for operands of a float type whose memory holds no value
// yet: what a product takes depends on the bits that toggle, and zeros toggle none.
void fill_with_noise(const Stream& stream, CuAddress to, int64_t bytes);

}  // namespace fusec::cuda
