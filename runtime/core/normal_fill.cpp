// Counters to normal numbers, kLanes blocks at a time in loops that compilers turn into vectors;
// see normal_fill.h. Polynomials and no libm: its last bit differs from system to system. No form
// of the code may fuse a product with a sum, for the same reason, so AVX2 is used without FMA.
#include "fusec/core/normal_fill.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace fusec {
namespace {

constexpr int kLanes = 64;

struct Lanes {
  uint32_t w[4][kLanes];  // word of the block, block
};

// philox.h's function, a block a lane.
[[gnu::always_inline]] inline void philox_lanes(Lanes& c, uint64_t key, uint64_t counter,
                                                uint64_t stream) {
  for (int i = 0; i < kLanes; ++i) {
    const uint64_t at = counter + static_cast<uint64_t>(i);
    c.w[0][i] = static_cast<uint32_t>(at);
    c.w[1][i] = static_cast<uint32_t>(at >> 32);
    c.w[2][i] = static_cast<uint32_t>(stream);
    c.w[3][i] = static_cast<uint32_t>(stream >> 32);
  }
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < kLanes; ++i) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c.w[0][i], p1 = uint64_t{0xCD9E8D57} * c.w[2][i];
      c.w[0][i] = static_cast<uint32_t>(p1 >> 32) ^ c.w[1][i] ^ k0;
      c.w[1][i] = static_cast<uint32_t>(p1);
      c.w[2][i] = static_cast<uint32_t>(p0 >> 32) ^ c.w[3][i] ^ k1;
      c.w[3][i] = static_cast<uint32_t>(p0);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Natural logarithm of 0 < u <= 1, error below 1e-7 of the result or 6e-8 (Cephes logf, Moshier).
[[gnu::always_inline]] inline float log_of(float u) {
  const uint32_t bits = std::bit_cast<uint32_t>(u);
  // m in [sqrt(1/2), sqrt(2)), u = m 2^e
  const uint32_t shifted = bits - 0x3F3504F3u;
  const float e = static_cast<float>(static_cast<int32_t>(shifted) >> 23);
  const float m = std::bit_cast<float>((shifted & 0x7FFFFFu) + 0x3F3504F3u);
  const float x = m - 1, z = x * x;
  float p = 7.0376836292e-2f;
  p = p * x - 1.1514610310e-1f;
  p = p * x + 1.1676998740e-1f;
  p = p * x - 1.2420140846e-1f;
  p = p * x + 1.4249322787e-1f;
  p = p * x - 1.6668057665e-1f;
  p = p * x + 2.0000714765e-1f;
  p = p * x - 2.4999993993e-1f;
  p = p * x + 3.3333331174e-1f;
  float y = x * z * p;
  y = y + e * -2.12194440e-4f;
  y = y - z * 0.5f;
  return x + y + e * 0.693359375f;
}

struct Pair {
  float a, b;
};

// Box-Muller from two words. The circle is turned by an eighth, so that the angle within a quadrant
// lies around 0.
[[gnu::always_inline]] inline Pair normals(uint32_t radius, uint32_t angle, float deviation) {
  const float u = static_cast<float>(static_cast<int32_t>(radius >> 8) + 1) * 0x1p-24f;
  const float r = deviation * std::sqrt(-2.0f * log_of(u));
  const uint32_t quadrant = angle >> 30;
  const float within =
      static_cast<float>(static_cast<int32_t>((angle & 0x3FFFFFFFu) >> 6)) * 0x1p-24f - 0.5f;
  const float t = within * 1.57079632679f, z = t * t;  // |t| <= pi / 4; Cephes sinf and cosf
  float sine = -1.9515295891e-4f * z + 8.3321608736e-3f;
  sine = (sine * z - 1.6666654611e-1f) * z * t + t;
  float cosine = 2.443315711809948e-5f * z - 1.388731625493765e-3f;
  cosine = (cosine * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
  const uint32_t swap = 0u - (quadrant & 1);
  const uint32_t s = std::bit_cast<uint32_t>(sine), c = std::bit_cast<uint32_t>(cosine);
  const uint32_t x = ((s & swap) | (c & ~swap)) ^ (((quadrant ^ (quadrant >> 1)) & 1) << 31);
  const uint32_t y = ((c & swap) | (s & ~swap)) ^ ((quadrant >> 1) << 31);
  return {r * std::bit_cast<float>(x), r * std::bit_cast<float>(y)};
}

// 4 * kLanes numbers from block `counter` on.
[[gnu::always_inline]] inline void fill_lanes(float* out, uint64_t counter, float deviation,
                                              uint64_t key, uint64_t stream) {
  Lanes lanes;
  philox_lanes(lanes, key, counter, stream);
  float z[4][kLanes];
  for (int half = 0; half < 4; half += 2)
    for (int i = 0; i < kLanes; ++i) {
      const Pair pair = normals(lanes.w[half][i], lanes.w[half + 1][i], deviation);
      z[half][i] = pair.a;
      z[half + 1][i] = pair.b;
    }
  for (int i = 0; i < kLanes; ++i)
    for (int k = 0; k < 4; ++k) out[4 * i + k] = z[k][i];
}

using FillLanes = void (*)(float*, uint64_t, float, uint64_t, uint64_t);

void fill_lanes_any(float* out, uint64_t counter, float deviation, uint64_t key, uint64_t stream) {
  fill_lanes(out, counter, deviation, key, stream);
}
#if defined(__x86_64__)
[[gnu::target("avx2")]] void fill_lanes_avx2(float* out, uint64_t counter, float deviation,
                                             uint64_t key, uint64_t stream) {
  fill_lanes(out, counter, deviation, key, stream);
}
#endif

FillLanes best_form() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return fill_lanes_avx2;
#endif
  return fill_lanes_any;
}

}  // namespace

void fill_normal(float* out, int64_t first, int64_t count, float deviation, uint64_t key,
                 uint64_t stream) {
  static const FillLanes fill = best_form();
  constexpr int64_t kBatch = 4 * kLanes;
  for (int64_t at = 0; at < count; at += kBatch) {
    const uint64_t counter = static_cast<uint64_t>((first + at) / 4);
    if (count - at >= kBatch) {
      fill(out + at, counter, deviation, key, stream);
      continue;
    }
    float last[kBatch];
    fill(last, counter, deviation, key, stream);
    std::memcpy(out + at, last, static_cast<size_t>(count - at) * sizeof(float));
  }
}

}  // namespace fusec
