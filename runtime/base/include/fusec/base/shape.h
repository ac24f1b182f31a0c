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

// Row-major strides in elements.
inline Shape row_major_strides(const Shape& shape) {
  Shape strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = strides[i] * shape[i];
  return strides;
}

// "[2, 3]"; "[]" for a scalar.
FUSEC_API std::string str(const Shape& shape);

}  // namespace fusec
