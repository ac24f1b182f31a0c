// Memory of a kernel's parameters in tests, with bytes around it that must not change.
#pragma once

#include <cstddef>
#include <vector>

#include "fusec/base/dtype.h"

namespace fusec::test {

// Memory of one parameter: `guard` elements of known bytes, `count` elements, 64 elements of
// padding, `guard` elements again.
class Buffer {
 public:
  Buffer(DType type, int64_t count);
  // Element values in [lo, hi], from a fixed sequence; integers for integer types, 0 or 1 for b8.
  void fill(double lo, double hi, uint64_t seed);
  void set(int64_t i, double v);
  double get(int64_t i) const;
  void* data() { return bytes_.data() + first_; }
  DType type() const { return type_; }
  int64_t count() const { return count_; }
  // True if no byte outside the elements changed; `padding`: the 64 elements after them may.
  bool intact(bool padding) const;

 private:
  DType type_;
  int64_t count_;
  size_t first_;
  std::vector<char> bytes_;
};

}  // namespace fusec::test
