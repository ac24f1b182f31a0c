// Random choices from a seed: one stream of numbers a document, so that documents do not depend on
// how many others are made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fusec/base/philox.h"

namespace fusec::examples {

class Draw {
 public:
  Draw(uint64_t seed, uint64_t stream) : seed_(seed), stream_(stream) {}

  uint32_t bits() { return philox(seed_, next_++, stream_)[0]; }
  double uniform() { return philox_uniform(bits()); }  // (0, 1]
  bool chance(double share) { return uniform() <= share; }
  // 0 .. n-1. Requires n > 0.
  size_t below(size_t n) { return static_cast<size_t>((uint64_t{bits()} * n) >> 32); }
  double normal() {
    const uint32_t a = bits();
    return philox_normal(a, bits());
  }
  template <typename T>
  const T& of(const std::vector<T>& items) {
    return items[below(items.size())];
  }
  // An index, by weights that are not all 0.
  size_t weighted(const std::vector<double>& weights) {
    double total = 0;
    for (const double weight : weights) total += weight;
    double left = uniform() * total;
    for (size_t i = 0; i < weights.size(); ++i) {
      left -= weights[i];
      if (left <= 0 && weights[i] > 0) return i;
    }
    for (size_t i = weights.size(); i-- > 0;)
      if (weights[i] > 0) return i;
    return 0;
  }

 private:
  uint64_t seed_, stream_, next_ = 0;
};

}  // namespace fusec::examples
