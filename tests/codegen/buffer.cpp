// See buffer.h.
#include "buffer.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/philox.h"

namespace fusec::test {

namespace {
constexpr int64_t kGuard = 128, kPadding = 64;
constexpr char kMark = 0x3e;  // as bf16 or f32 a small number: reading it is harmless
}  // namespace

Buffer::Buffer(DType type, int64_t count)
    : type_(type),
      count_(count),
      first_(kGuard * size_of(type)),
      bytes_((2 * kGuard + kPadding + count) * size_of(type), kMark) {}

void Buffer::fill(double lo, double hi, uint64_t seed) {
  for (int64_t i = 0; i < count_; ++i) {
    double u = philox_uniform(philox(seed, i)[0]);
    double v = type_ == DType::b8 ? u > 0.5 : lo + (hi - lo) * u;
    if (is_integer(type_)) v = std::floor(v);
    set(i, type_ == DType::u8 ? std::fabs(v) : v);
  }
}

void Buffer::set(int64_t i, double v) { store_from_double(data(), type_, i, v); }
double Buffer::get(int64_t i) const { return load_as_double(bytes_.data() + first_, type_, i); }

bool Buffer::intact(bool padding) const {
  size_t end = first_ + count_ * size_of(type_);
  if (padding) end += kPadding * size_of(type_);
  auto marked = [](char c) { return c == kMark; };
  return std::all_of(bytes_.begin(), bytes_.begin() + first_, marked) &&
         std::all_of(bytes_.begin() + end, bytes_.end(), marked);
}

}  // namespace fusec::test
