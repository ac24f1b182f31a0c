// Random inputs of any size in no time, for benches that fill gigabytes.
#pragma once

#include <algorithm>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/fusec.h"

namespace fusec::bench {

// Fills a tensor: floats with random signs and mantissas and the exponent of [0.5, 1), integers
// with 0 .. below-1, u8 with any; all repeat after a million.
inline void set_random(Executable& exe, const std::string& name, int64_t below = 1) {
  const TensorType t = exe.type(name);
  const int64_t n = numel(t.shape), drawn = std::min<int64_t>(n, 1 << 20);
  auto fill = [&](auto zero, uint32_t keep, uint32_t exponent) {
    std::vector<decltype(zero)> v(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      if (i >= drawn) {
        v[i] = v[i - drawn];
        continue;
      }
      const uint32_t word = philox(3, static_cast<uint64_t>(i))[0];
      v[i] = static_cast<decltype(zero)>(
          t.dtype == DType::i32 ? word % static_cast<uint32_t>(below) : (word & keep) | exponent);
    }
    exe.write(name, v.data(), v.size() * sizeof zero);
  };
  if (t.dtype == DType::bf16) return fill(uint16_t{0}, 0x807F, 0x3F00);
  if (t.dtype == DType::u8) return fill(uint8_t{0}, 0xFF, 0);
  if (t.dtype == DType::f8e4m3) return fill(uint8_t{0}, 0x87, 0x38);  // 1 to 2, either sign
  if (t.dtype == DType::f32 || t.dtype == DType::i32)
    return fill(uint32_t{0}, 0x807FFFFF, 0x3F000000);
  fail_internal("no random values for " + name + ", which is " + t.str());
}

}  // namespace fusec::bench
