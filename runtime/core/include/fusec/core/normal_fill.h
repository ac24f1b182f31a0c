// Normal random numbers by the hundred million: Philox and Box-Muller in single precision, the same
// bits on every machine and for any number of threads.
#pragma once

#include <cstdint>

#include "fusec/base/export.h"

namespace fusec {

// out[i] = deviation * z(first + i) for 0 <= i < count. z(4 b .. 4 b + 3) come from the Philox
// block at (key, counter b, stream): two pairs by Box and Muller (1958), angles from 26 bits, radii
// from 24, so that |z| < 5.8. `first` is a multiple of 4.
FUSEC_API void fill_normal(float* out, int64_t first, int64_t count, float deviation, uint64_t key,
                           uint64_t stream);

}  // namespace fusec
