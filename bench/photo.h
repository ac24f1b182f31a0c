// A picture whose JPEG is about as large as a photograph's of the same size, for timing.
#pragma once

#include <algorithm>
#include <cmath>

#include "fusec/base/philox.h"
#include "fusec/io/image.h"

namespace fusec::bench {

inline io::Image photo(int width, int height, uint64_t seed) {
  io::Image image = io::solid(width, height, 0, 0, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const auto at = static_cast<size_t>(y * width + x);
      const PhiloxBlock noise = philox(seed, at);
      for (size_t c = 0; c < 3; ++c) {
        const double slow = std::sin(0.011 * x + static_cast<double>(c)) * std::cos(0.017 * y);
        const double fast = std::sin(0.35 * x * std::sin(0.004 * y + static_cast<double>(seed)));
        const double grain = (noise[0] % 2001) / 1000.0 - 1;
        const double value = 128 + 70 * slow + 25 * fast + 12 * grain;
        image.rgb[3 * at + c] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
      }
    }
  }
  return image;
}

}  // namespace fusec::bench
