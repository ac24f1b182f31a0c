// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3" (SC'11). The same (key, counter) gives the same bits on every device.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace fusec {

using PhiloxBlock = std::array<uint32_t, 4>;

inline PhiloxBlock philox(uint64_t key, uint64_t counter, uint64_t stream = 0) {
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  PhiloxBlock c = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32),
                   static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)};
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = 0xD2511F53ULL * c[0], p1 = 0xCD9E8D57ULL * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

// The one word of a block that recorded graphs use: word 0 at (key, counter), stream 0.
inline int64_t philox_word(int64_t key, int64_t counter) {
  return philox(static_cast<uint64_t>(key), static_cast<uint64_t>(counter))[0];
}

// Uniform in (0, 1]: never 0, so that log() of it is finite.
inline double philox_uniform(uint32_t bits) { return (bits + 1.0) * 0x1p-32; }

// Standard normal by Box-Muller from two words of a block.
inline double philox_normal(uint32_t a, uint32_t b) {
  return std::sqrt(-2.0 * std::log(philox_uniform(a))) *
         std::cos(6.283185307179586 * philox_uniform(b));
}

}  // namespace fusec
