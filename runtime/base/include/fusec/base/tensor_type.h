// What a tensor is, apart from where it comes from: shape and element type.
#pragma once

#include <string>

#include "fusec/base/dtype.h"
#include "fusec/base/shape.h"

namespace fusec {

struct TensorType {
  Shape shape;
  DType dtype = DType::f32;
  bool operator==(const TensorType&) const = default;
  int64_t bytes() const { return numel(shape) * size_of(dtype); }
  std::string str() const { return std::string(name_of(dtype)) + fusec::str(shape); }
};

}  // namespace fusec
