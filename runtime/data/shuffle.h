// (seed, stream, counter) -> a permutation: Fisher-Yates driven by Philox.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "fusec/base/philox.h"

namespace fusec::data {

// Uses the counters [first + 1, first + values.size()) of the stream.
template <class T>
void shuffle(std::vector<T>& values, uint64_t seed, uint64_t stream, uint64_t first = 0) {
  for (uint64_t i = values.size(); i-- > 1;) {
    const PhiloxBlock block = philox(seed, first + i, stream);
    const uint64_t bits = (uint64_t{block[1]} << 32) | block[0];
    // The remainder of 64 random bits is uneven by less than size / 2^64.
    std::swap(values[i], values[bits % (i + 1)]);
  }
}

}  // namespace fusec::data
