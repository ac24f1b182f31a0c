// Shapes: sizes in elements, outermost dimension first, row-major.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

using Shape = std::vector<int64_t>;

// Product of the sizes; 1 for a scalar (empty shape).
inline int64_t numel(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

// The most elements of one tensor: what an address space of 2^47 bytes could hold. Sums and
// products of a few sizes below it do not overflow.
inline constexpr int64_t kMaxElements = int64_t{1} << 47;

// False if numel(shape) exceeds kMaxElements (it may not even fit 64 bits). Sizes must be >= 0.
inline bool fits(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape)
    if (d == 0) return true;
  for (int64_t d : shape)
    if (__builtin_mul_overflow(n, d, &n) || n > kMaxElements) return false;
  return true;
}

// Row-major strides in elements.
inline Shape row_major_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// "[2, 3]"; "[]" for a scalar.
FUSEC_API std::string str(const Shape& shape);

}  // namespace fusec
