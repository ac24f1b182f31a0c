#include "builder.h"

#include <algorithm>
#include <cmath>

namespace fusec::fuzz {
namespace {

// A small set, so that kernels come again and compile once.
const std::vector<Shape>& base_shapes() {
  static const std::vector<Shape> shapes = {
      {},        {1},        {7},          {33},         {128},           {1, 1},
      {4, 6},    {3, 33},    {17, 64},     {1, 40},      {5, 128},        {9, 130},
      {2, 3, 5}, {4, 1, 16}, {2, 3, 4, 5}, {1, 2, 1, 8}, {2, 1, 3, 2, 4}, {0},
      {0, 5},    {3, 0, 2},  {6, 8}};
  return shapes;
}

constexpr DType kFloats[] = {f32, f32, f32, f32, f32, bf16, bf16, f16, f64};

}  // namespace

Builder::Builder(Graph& g, uint64_t seed) : graph(g), dice(seed) {
  base_ = dice.chance(60) ? Shape{150, 120} : dice.of(base_shapes());
  if (numel(base_) == 0 && !dice.chance(3)) base_ = dice.of(base_shapes());
  main_ = kFloats[dice.below(9)];
  for (int64_t i = 0, n = 1 + dice.below(3); i < n; ++i)
    pool.push_back({dice.chance(3) ? parameter(some_shape(), main_) : input(some_shape(), main_)});
  pool.push_back({input(base_, main_)});
  if (dice.chance(3)) {
    DType t = dice.chance(3) ? i64 : dice.chance(3) ? u8 : i32;
    pool.push_back({input(some_shape(), t), t == u8 ? 0.0 : -8, t == u8 ? 16.0 : 8});
  }
  if (dice.chance(6)) pool.push_back({input(some_shape(), f8e4m3)});
}

Shape Builder::some_shape() {
  Shape s = base_;
  if (dice.chance(3)) return s;
  if (!s.empty() && dice.chance(3)) s.erase(s.begin());
  for (int64_t& d : s)
    if (dice.chance(6)) d = 1;
  return s;
}

Item Builder::any() {
  int64_t n = static_cast<int64_t>(pool.size());
  return dice.chance(2) ? pool[n - 1 - dice.below(std::min<int64_t>(3, n))] : dice.of(pool);
}

Item Builder::any_float() {
  for (int i = 0; i < 8; ++i)
    if (Item x = any(); is_float(x.t.dtype())) return x;
  return {input(base_, main_)};
}

Item Builder::any_integer() {
  for (int i = 0; i < 8; ++i)
    if (Item x = any(); is_integer(x.t.dtype())) return x;
  return {input(base_, dice.chance(3) ? i64 : i32), -8, 8};
}

Item Builder::any_of(DType type) {
  for (int i = 0; i < 8; ++i)
    if (Item x = any(); x.t.dtype() == type) return x;
  Item x = any_float();
  return {cast(fit(x), type)};
}

Item Builder::of_rank(int64_t least) {
  for (int i = 0; i < 8; ++i)
    if (Item x = any_float(); x.t.rank() >= least) return x;
  Shape s = {3, 4, 5};
  while (static_cast<int64_t>(s.size()) < least) s.push_back(2);
  return {input(s, main_)};
}

Item Builder::partner(const Item& x) {
  for (int i = 0; i < 8; ++i) {
    Item y = any();
    if (y.t.dtype() != x.t.dtype() || y.t.rank() > x.t.rank()) continue;
    bool fits = true;
    for (int64_t d = 1; d <= y.t.rank(); ++d)
      fits = fits && (y.t.size(-d) == x.t.size(-d) || y.t.size(-d) == 1);
    if (fits) return y;
  }
  if (dice.chance(2)) return x;
  DType t = x.t.dtype();
  Shape s = x.t.shape();
  if (!s.empty() && dice.chance(2)) s = {s.back()};
  bool whole = t == u8;
  return {input(s, t), whole ? 0.0 : is_float(t) ? -2 : -8, whole ? 16.0 : is_float(t) ? 2 : 8};
}

Tensor Builder::fit(const Item& x, double lo, double hi) {
  if (x.lo >= lo && x.hi <= hi) return x.t;
  if (!is_float(x.t.dtype())) return minimum(maximum(x.t, lo), hi);
  double size = std::max(std::fabs(x.lo), std::fabs(x.hi)), room = std::min(-lo, hi);
  switch (dice.below(4)) {
    case 0:
      if (room > 0 && size < 1e6) return x.t * std::exp2(-std::ceil(std::log2(size / room)));
      break;
    case 1:
      if (room > 0) return tanh(x.t) * room;
      return sigmoid(x.t) * (hi - lo) + lo;
    default: break;
  }
  return minimum(maximum(x.t, lo), hi);
}

Tensor Builder::input(Shape shape, DType type) {
  return graph.input("x" + std::to_string(next_++), std::move(shape), type);
}
Tensor Builder::parameter(Shape shape, DType type) {
  return graph.parameter("p" + std::to_string(next_++), std::move(shape), type);
}
Tensor Builder::state(Shape shape, DType type) {
  return graph.state("s" + std::to_string(next_++), std::move(shape), type);
}

std::vector<int64_t> Builder::some_axes(const Tensor& t) {
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < t.rank(); ++i)
    if (dice.chance(2)) axes.push_back(i);
  if (axes.empty() && t.rank() > 0) axes.push_back(axis(t));
  return axes;
}

}  // namespace fusec::fuzz
