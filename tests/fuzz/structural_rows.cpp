// Rows of the op table that are not pointwise: views, casts, reductions, contractions, rows by
// index, constants, composites; attention is in attention_rows.cpp. A new op class or composite is one row here.
#include <algorithm>
#include <cmath>

#include "builder.h"

namespace fusec::fuzz {
namespace {

using Made = std::optional<Item>;

double size_of_range(const Item& x) { return std::max(std::fabs(x.lo), std::fabs(x.hi)); }

Item like(const Item& x, Tensor t) { return {std::move(t), x.lo, x.hi}; }
Item with_zero(const Item& x, Tensor t) {
  return {std::move(t), std::min(x.lo, 0.0), std::max(x.hi, 0.0)};
}

// --- types ---------------------------------------------------------------------------------------

Made cast_float(Builder& b) {
  Item x = b.any_float();
  static const std::vector<DType> to = {f32, bf16, f16, f64, f32};
  return like(x, cast(b.fit(x, -1000, 1000), b.dice.of(to)));
}
Made cast_to_f8(Builder& b) {
  Item x = b.dice.chance(4) ? b.any_integer() : b.any_float();
  double most = std::min(448.0, size_of_range(x) * 17 / 16);  // rounding may reach past x
  return Item{cast(x.t, f8e4m3), -most, most};
}
Made cast_from_f8(Builder& b) {
  static const std::vector<DType> to = {f32, bf16, f16, f64, i32};
  Item x = b.any_of(f8e4m3);
  return like(x, cast(x.t, b.dice.of(to)));
}
Made cast_to_integer(Builder& b) {
  Item x = b.any_float();
  static const std::vector<DType> to = {i32, i64, u8, b8};
  DType t = b.dice.of(to);
  if (t == b8) return Item{cast(x.t, b8), 0, 1};
  if (t == u8) return Item{cast(b.fit(x, 0, 16), u8), 0, 16};
  return Item{cast(b.fit(x, -16, 16), t), -16, 16};
}
Made cast_from_integer(Builder& b) {
  Item x = b.any_integer();
  static const std::vector<DType> to = {f32, bf16, f16, f64, i32, i64, b8};
  DType t = b.dice.of(to);
  if (t == b8) return Item{cast(x.t, b8), 0, 1};
  return Item{cast(b.fit(x, x.t.dtype() == u8 ? 0 : -100, 100), t), -100, 100};
}
Made cast_from_truth(Builder& b) {
  for (int i = 0; i < 6; ++i)
    if (Item x = b.any(); x.t.dtype() == b8) {
      static const std::vector<DType> to = {f32, bf16, i32, i64, u8};
      return Item{cast(x.t, b.dice.of(to)), 0, 1};
    }
  return {};
}

// --- views ---------------------------------------------------------------------------------------

Made do_reshape(Builder& b) {
  Item x = b.any();
  Shape s = x.t.shape();
  if (s.empty()) return like(x, reshape(x.t, {1}));
  size_t at = b.dice.below(static_cast<int64_t>(s.size()));
  if (b.dice.chance(2) && at + 1 < s.size()) {  // join two axes
    s[at] *= s[at + 1];
    s.erase(s.begin() + static_cast<ptrdiff_t>(at) + 1);
  } else {  // split one
    for (int64_t f : {2, 3, 5})
      if (s[at] % f == 0 && s[at] > f && s.size() < 6) {
        s[at] /= f;
        s.insert(s.begin() + static_cast<ptrdiff_t>(at) + 1, f);
        return like(x, reshape(x.t, s));
      }
    if (numel(s) > 0) s = {-1, s.back()};
  }
  return like(x, reshape(x.t, s));
}
Made do_permute(Builder& b) {
  Item x = b.any();
  std::vector<int64_t> axes;
  for (int64_t i = 0; i < x.t.rank(); ++i) axes.push_back(i);
  for (size_t i = axes.size(); i-- > 1;)
    std::swap(axes[i], axes[b.dice.below(static_cast<int64_t>(i) + 1)]);
  return like(x, permute(x.t, axes));
}
Made do_slice(Builder& b) {
  Item x = b.any();
  if (x.t.rank() == 0) return {};
  int64_t a = b.axis(x.t), n = x.t.size(a);
  if (n == 0) return like(x, slice(x.t, a, 0, 0));
  int64_t step = b.small(3), count = (n + step - 1) / step;
  if (b.dice.chance(2)) return like(x, slice(x.t, a, (count - 1) * step, count, -step));
  int64_t start = b.dice.below(n), most = (n - 1 - start) / step + 1;
  return like(x, slice(x.t, a, start, b.dice.below(most + 1), step));
}
Made do_flip(Builder& b) {
  Item x = b.any();
  if (x.t.rank() == 0) return {};
  return like(x, flip(x.t, b.axis(x.t)));
}
Made do_broadcast(Builder& b) {
  Item x = b.any();
  Shape s = x.t.shape();
  for (int64_t& d : s)
    if (d == 1 && b.dice.chance(2)) d = b.small(5);
  if (b.dice.chance(2)) s.insert(s.begin(), b.small(3));
  return like(x, broadcast_to(x.t, s));
}
Made do_unsqueeze(Builder& b) {
  Item x = b.any();
  if (x.t.rank() > 4) return {};
  return like(x, unsqueeze(x.t, b.dice.below(x.t.rank() + 1)));
}
Made do_concat(Builder& b) {
  Item x = b.any(), y = x;
  if (x.t.rank() == 0) return {};
  int64_t a = b.axis(x.t);
  for (int i = 0; i < 6; ++i) {
    Item z = b.any();
    bool fits = z.t.dtype() == x.t.dtype() && z.t.rank() == x.t.rank();
    for (int64_t d = 0; fits && d < x.t.rank(); ++d) fits = d == a || z.t.size(d) == x.t.size(d);
    if (fits) y = z;
  }
  std::vector<Tensor> parts = {x.t, y.t};
  if (b.dice.chance(3)) parts.push_back(x.t);
  return Item{concat(parts, a), std::min(x.lo, y.lo), std::max(x.hi, y.hi)};
}
Made do_stop_gradient(Builder& b) {
  Item x = b.any();
  return like(x, stop_gradient(x.t));
}

// --- leaves --------------------------------------------------------------------------------------

Made do_iota(Builder& b) {
  Shape s = b.some_shape();
  if (s.empty()) return {};
  static const std::vector<DType> types = {i32, i32, i64, f32};
  DType t = b.dice.of(types);
  int64_t axis = b.dice.below(static_cast<int64_t>(s.size()));
  return Item{b.graph.iota(s, axis, t), 0, static_cast<double>(s[axis])};
}
Made do_constant(Builder& b) {
  Shape s = b.some_shape();
  if (b.dice.chance(2)) {
    DType t = b.dice.chance(2) ? b.main_type() : i32;
    return Item{
        b.graph.constant(static_cast<double>(b.dice.below(9)) / (is_float(t) ? 2 : 1) - 2, s, t)};
  }
  std::vector<float> data;
  for (int64_t i = 0; i < numel(s); ++i)
    data.push_back(static_cast<float>(b.dice.below(33)) / 8 - 2);
  return Item{b.graph.constant(std::move(data), s)};
}

// --- reductions ----------------------------------------------------------------------------------

Made do_sum(Builder& b) {
  Item x = b.dice.chance(5) ? b.any_integer() : b.any_float();
  if (x.t.dtype() == u8) return {};
  Tensor y = sum(x.t, b.some_axes(x.t), b.dice.chance(2));
  double n = static_cast<double>(numel(x.t.shape())) /
             static_cast<double>(std::max<int64_t>(1, numel(y.shape())));
  double most = size_of_range(x) * std::max(n, 1.0);
  if (most > (x.t.dtype() == f16 ? 3e4 : 1e6)) return {};
  return Item{y, -most, most};
}
Made do_mean(Builder& b) {
  Item x = b.any_float();
  if (numel(x.t.shape()) == 0) return {};
  return like(x, mean(b.fit(x, -8, 8), b.some_axes(x.t), b.dice.chance(2)));
}
template <Tensor (*reduce)(At, const Axes&, bool)>
Made do_extreme(Builder& b) {
  Item x = b.dice.chance(5) ? b.any_integer() : b.any_float();
  std::vector<int64_t> axes = b.some_axes(x.t);
  if (x.t.dtype() == u8) return {};
  for (int64_t a : axes)
    if (x.t.size(a) == 0) return {};
  return like(x, reduce(x.t, axes, b.dice.chance(2)));
}

// --- contractions --------------------------------------------------------------------------------

Tensor gemm_operand(Builder& b, int64_t rank) { return b.fit(b.of_rank(rank)); }
Item product(Tensor y, int64_t k) {
  double most = 4.0 * static_cast<double>(std::max<int64_t>(1, k));
  return {std::move(y), -most, most};
}

Made do_linear(Builder& b) {
  Tensor x = gemm_operand(b, 1);
  static const std::vector<int64_t> widths = {1, 3, 8, 16, 33};
  int64_t k = x.size(-1), n = b.dice.of(widths);
  if (numel(x.shape()) == 0) return {};
  Tensor w = b.parameter({n, k}, x.dtype());
  if (b.dice.chance(2)) return product(linear(x, w, b.parameter({n}, x.dtype())), k);
  return product(linear(x, w), k);
}
// Products of several activations in one sum: a chain of GEMMs.
Made do_sum_of_products(Builder& b) {
  Tensor x = gemm_operand(b, 2);
  x = reshape(x, {-1, std::max<int64_t>(1, x.size(-1))});
  static const std::vector<int64_t> widths = {1, 5, 8, 16};
  int64_t k = x.size(1), n = b.dice.of(widths), count = 2 + b.dice.below(2);
  if (numel(x.shape()) == 0 || numel(x.shape()) > 4096) return {};
  Tensor sum = linear(x, b.parameter({n, k}, x.dtype()));
  for (int64_t i = 1; i < count; ++i) {
    Tensor y = linear(b.dice.chance(2) ? tanh(x * (0.5 * static_cast<double>(i))) : x,
                      b.parameter({n, k}, x.dtype()));
    sum = b.dice.chance(2) ? sum + y : y + sum;
  }
  if (b.dice.chance(2)) return product(sum, count * k);
  return product(linear(sum, b.parameter({4, n}, x.dtype())), 4 * count * k * n);
}
// A GELU, tanh form, between two products with biases: what its gradient needs is stored.
Made do_gelu_mlp(Builder& b) {
  Tensor x = gemm_operand(b, 1);
  static const std::vector<int64_t> widths = {3, 8, 16, 24};
  int64_t k = x.size(-1), n = b.dice.of(widths), out = b.dice.of(widths);
  if (numel(x.shape()) == 0) return {};
  DType t = x.dtype();
  auto layer = [&](const Tensor& y, int64_t from, int64_t to) {
    Tensor w = b.parameter({to, from}, t);
    return b.dice.chance(2) ? linear(y, w, b.parameter({to}, t)) : linear(y, w);
  };
  return product(layer(gelu(layer(x, k, n)), n, out), 4 * k * n);
}
Made do_matmul(Builder& b) {
  Tensor x = gemm_operand(b, 2);
  if (x.rank() > 4) return {};
  return product(matmul(x, transpose(b.dice.chance(2) ? x : x * 0.5, -1, -2)), x.size(-1));
}
Made do_einsum(Builder& b) {
  Tensor x = gemm_operand(b, 2);
  x = reshape(x, {-1, std::max<int64_t>(1, x.size(-1))});
  int64_t m = x.size(0), k = x.size(1);
  if (m == 0 || m * k > 2048) return {};
  DType t = x.dtype();
  switch (b.dice.below(6)) {
    case 0: return product(einsum("mk,nk->nm", x, b.parameter({5, k}, t)), k);
    case 1: return product(einsum("mk,kn->mn", x, b.parameter({k, 3}, t)), k);
    case 2: return product(einsum("km,kn->mn", x, b.input({m, 4}, t)), m);
    case 3: return product(einsum("mk,bnk->bmn", x, b.parameter({2, 3, k}, t)), k);
    case 4: return product(einsum("mk,mk->m", x, b.input({m, k}, t)), k);
    default: return product(einsum("mk,nj->mn", x, b.input({2, 3}, t)), 3 * k);  // lonely labels
  }
}

// --- rows by index -------------------------------------------------------------------------------

Made do_gather(Builder& b) {
  Item x = b.any();
  if (x.t.rank() == 0 || x.t.rank() > 4) return {};
  static const std::vector<Shape> shapes = {{5}, {1}, {2, 3}, {}, {0}, {9}};
  return with_zero(x, gather(x.t, b.index(b.dice.of(shapes))));
}
// An index that is computed: clamped into the table.
Made do_gather_computed(Builder& b) {
  Item x = b.any();
  if (x.t.rank() == 0 || x.t.rank() > 3 || x.t.size(0) == 0) return {};
  Item f = b.any_float();
  if (numel(f.t.shape()) * numel(x.t.shape()) > 4096) return {};
  Tensor i = cast(b.fit(f, -1, static_cast<double>(x.t.size(0)) - 1 + 0.5), i32);
  i = minimum(i, static_cast<double>(x.t.size(0) - 1));
  if (i.rank() + x.t.rank() > 6) return {};
  return with_zero(x, gather(x.t, i));
}
Made do_scatter(Builder& b) {
  Item x = b.any();
  DType t = x.t.dtype();
  if (x.t.rank() == 0 || x.t.rank() > 4) return {};
  bool add = b.dice.chance(2) && t != b8 && t != f8e4m3;
  static const std::vector<int64_t> counts = {1, 3, 6};
  Tensor i = b.index({b.dice.of(counts)});
  Shape s = x.t.shape();
  s[0] = i.size(0);
  Item u = {b.input(s, t),
            t == u8       ? 0.0
            : is_float(t) ? -2
                          : -8,
            t == u8       ? 16.0
            : is_float(t) ? 2
                          : 8};
  Tensor updates = is_float(t) && b.dice.chance(2) ? sin(u.t) : u.t;
  if (!add) return Item{scatter(x.t, i, updates), std::min(x.lo, u.lo), std::max(x.hi, u.hi)};
  Tensor base = t == u8 ? b.fit(x, 0, 16) : b.fit(x, -100, 100);
  return Item{scatter_add(base, i, updates), -200, 200};
}

// --- composites ----------------------------------------------------------------------------------

Made do_softmax(Builder& b) {
  Item x = b.of_rank(1);
  int64_t a = b.axis(x.t);
  if (x.t.size(a) == 0) return {};
  return Item{softmax(b.fit(x, -8, 8), a), 0, 1};
}
Made do_rms_norm(Builder& b) {
  Item x = b.of_rank(1);
  if (x.t.size(-1) == 0) return {};
  Tensor y = b.fit(x);
  return Item{b.dice.chance(2) ? rms_norm(y, 1e-2)
                               : rms_norm(y, 1e-2, b.parameter({y.size(-1)}, y.dtype())),
              -8, 8};
}
Made do_layer_norm(Builder& b) {
  Item x = b.of_rank(1);
  if (x.t.size(-1) == 0) return {};
  Tensor y = b.fit(x);
  return Item{layer_norm(y, b.parameter({y.size(-1)}, y.dtype()),
                         b.parameter({y.size(-1)}, y.dtype()), 1e-2),
              -8, 8};
}
Made do_cross_entropy(Builder& b) {
  Item x = b.of_rank(2);
  Tensor z = reshape(cast(b.fit(x, -8, 8), f32), {-1, std::max<int64_t>(1, x.t.size(-1))});
  if (numel(z.shape()) == 0) return {};
  CrossEntropyOptions o;
  if (b.dice.chance(2)) o.smoothing = 0.1;
  if (b.dice.chance(3)) o.softcap = 3;
  if (b.dice.chance(3)) o.reduction = Reduction::mean;
  return Item{cross_entropy(z, b.input({z.size(0)}, i32), o), -20, 20};
}
Made do_rope(Builder& b) {
  int64_t t = b.small(7), d = 2 * b.small(4);
  Tensor x = b.input({2, t, b.small(3), d}, b.main_type());
  Tensor c = b.input({t, d / 2}, b.main_type()), s = b.input({t, d / 2}, b.main_type());
  return Item{rope(x, c, s, b.dice.chance(2) ? Rope::half : Rope::interleaved), -8, 8};
}
Made do_swiglu(Builder& b) {
  Item x = b.any_float();
  Tensor a = b.fit(x);
  return Item{swiglu(a, b.fit(b.partner({a}))), -4, 4};
}
Made do_softcap(Builder& b) {
  Item x = b.any_float();
  return Item{softcap(x.t, 1.5), -1.5, 1.5};
}

// --- ordered and picking ops ---------------------------------------------------------------------

Made do_cumsum(Builder& b) {
  Item x = b.dice.chance(4) ? b.any_integer() : b.any_float();
  if (x.t.rank() == 0 || x.t.dtype() == u8) return {};
  int64_t a = b.axis(x.t);
  double most = size_of_range(x) * static_cast<double>(std::max<int64_t>(1, x.t.size(a)));
  if (most > (x.t.dtype() == f16 ? 3e4 : 1e6)) return {};
  return Item{cumsum(x.t, a, b.dice.chance(2)), -most, most};
}
Made do_top_k(Builder& b) {
  Item x = b.dice.chance(4) ? b.any_integer() : b.of_rank(1);
  if (x.t.rank() == 0 || x.t.size(-1) == 0 || x.t.dtype() == u8) return {};
  int64_t n = x.t.size(-1);
  TopK k = top_k(x.t, 1 + b.dice.below(std::min<int64_t>(n, 5)));
  if (b.dice.chance(2)) return like(x, k.values);
  return Item{k.indices, 0, static_cast<double>(n)};
}
Made do_argmax(Builder& b) {
  Item x = b.dice.chance(3) ? b.any_integer() : b.of_rank(1);
  if (x.t.rank() == 0 || x.t.dtype() == u8) return {};
  int64_t a = b.axis(x.t), n = x.t.size(a);
  if (n == 0) return {};
  Tensor y = b.dice.chance(2) ? argmax(x.t, a, b.dice.chance(2)) : argmin(x.t, a);
  return Item{y, 0, static_cast<double>(n)};
}
Made do_take_along(Builder& b) {
  Item x = b.of_rank(1);
  int64_t a = b.axis(x.t);
  if (x.t.size(a) == 0) return {};
  Shape s = x.t.shape();
  s[a] = b.small(4);
  Tensor i = b.dice.chance(2) ? minimum(b.input(s, i32), static_cast<double>(x.t.size(a) - 1))
                              : b.graph.iota(s, a) - 1.0;
  i = minimum(i, static_cast<double>(x.t.size(a) - 1));
  return with_zero(x, take_along(x.t, i, a));
}
Made do_one_hot(Builder& b) {
  Item x = b.any_integer();
  if (x.t.dtype() == u8 || x.t.rank() > 4) return {};
  return Item{one_hot(x.t, b.small(9), b.main_type()), 0, 1};
}
Made do_pad(Builder& b) {
  Item x = b.any();
  if (x.t.rank() == 0 || x.t.dtype() == b8) return {};
  return with_zero(x, pad(x.t, b.axis(x.t), b.dice.below(3), b.dice.below(4), 0));
}
Made do_stack(Builder& b) {
  Item x = b.any();
  if (x.t.rank() > 4) return {};
  return like(x, stack({x.t, x.t, x.t}, b.dice.below(x.t.rank() + 1)));
}
Made do_split(Builder& b) {
  Item x = b.any();
  for (int64_t a = 0; a < x.t.rank(); ++a)
    for (int64_t n : {3, 2})
      if (x.t.size(a) > 0 && x.t.size(a) % n == 0) {
        std::vector<Tensor> parts = split(x.t, n, a);
        if (!is_float(x.t.dtype())) return like(x, parts[1]);
        double most = 2 * size_of_range(x);
        return Item{parts[1] + parts[0], -most, most};
      }
  return {};
}
Made do_conv2d(Builder& b) {
  int64_t k = b.small(3), size = k + b.dice.below(6), channels = b.small(3);
  DType t = b.main_type();
  Tensor x = b.input({b.small(2), channels, size, size + 1}, t);
  Conv2dOptions o;
  o.stride = b.dice.chance(2) ? k : 1 + b.dice.below(2);
  o.padding = b.dice.below(2);
  Tensor w = b.parameter({b.small(4), channels, k, k}, t);
  double most = 4.0 * static_cast<double>(channels * k * k) + 2;
  return Item{conv2d(x, w, b.dice.chance(2) ? b.parameter({w.size(0)}, t) : Tensor(), o), -most,
              most};
}

// --- more composites -----------------------------------------------------------------------------

Made do_truth(Builder& b) {
  Item x = b.any();
  switch (b.dice.below(5)) {
    case 0: return Item{any(x.t, b.some_axes(x.t), b.dice.chance(2)), 0, 1};
    case 1: return Item{all(x.t, b.some_axes(x.t), b.dice.chance(2)), 0, 1};
    case 2: return Item{isnan(b.any_float().t), 0, 1};
    case 3: return Item{logical_not(x.t), 0, 1};
    default: {
      Tensor f = b.any_float().t;
      Tensor p = f > 0.0, q = f < 1.0;
      return Item{b.dice.chance(2) ? logical_and(p, q) : logical_or(p, q), 0, 1};
    }
  }
}
Made do_logsumexp(Builder& b) {
  Item x = b.of_rank(1);
  std::vector<int64_t> axes = b.some_axes(x.t);
  for (int64_t a : axes)
    if (x.t.size(a) == 0) return {};
  return Item{logsumexp(b.fit(x, -8, 8), axes, b.dice.chance(2)), -8, 18};
}
Made do_log_softmax(Builder& b) {
  Item x = b.of_rank(1);
  int64_t a = b.axis(x.t);
  if (x.t.size(a) == 0) return {};
  return Item{log_softmax(b.fit(x, -8, 8), a), -26, 0};
}
Made do_variance(Builder& b) {
  Item x = b.of_rank(1);
  if (numel(x.t.shape()) == 0) return {};
  return Item{variance(b.fit(x), b.some_axes(x.t), b.dice.chance(2)), 0, 4};
}
Made do_cosine(Builder& b) {
  Item x = b.of_rank(1);
  if (x.t.size(-1) == 0 || x.t.dtype() == f16) return {};
  return Item{cosine_similarity(b.fit(x), sin(b.fit(x)), -1, 1e-2), -1.1, 1.1};
}
Made do_mean_pool(Builder& b) {
  Tensor x = b.input({b.small(3), b.small(5), b.small(9)}, b.main_type());
  if (b.dice.chance(2)) return Item{mean_pool(x)};
  return Item{mean_pool(x, b.input({x.size(0), x.size(1)}, b8))};
}
Made do_geglu(Builder& b) {
  Tensor a = b.fit(b.any_float());
  return Item{geglu(a, b.fit(b.partner({a}))), -4, 4};
}
Made do_clamp(Builder& b) {
  Item x = b.any_float();
  return Item{clamp(x.t, -1, 0.75), -1, 0.75};
}
Made do_random(Builder& b) {
  Tensor key = b.graph.find("rng");
  if (!key.defined()) key = step_key(b.graph);
  Shape s = b.some_shape();
  switch (b.dice.below(4)) {
    case 0: return Item{uniform(key, s), 0, 1};
    case 1: return Item{normal(key, s), -7, 7};
    case 2: return Item{bernoulli(key, s, 0.25), 0, 1};
    default: {
      Item x = b.any_float();
      double most = 2 * size_of_range(x);
      return Item{dropout(x.t, 0.25, key), -most, most};
    }
  }
}
Made do_route(Builder& b) {
  Tensor z = b.input({b.small(6), b.small(3) + 2}, f32);
  Routing r = top_k_router(z, b.small(2));
  if (b.dice.chance(2)) return Item{r.balance, 0, 10};
  return Item{r.weights, 0, 1};
}

// A running average kept in a state, read before and after the graph's other uses of it.
Made do_state(Builder& b) {
  Item x = b.dice.chance(6) ? b.any_integer() : b.any_float();
  DType t = x.t.dtype();
  if (t == u8) return {};
  Tensor s = b.state(x.t.shape(), t);
  Tensor next = is_float(t) ? s * 0.5 + b.fit(x) * 0.5 : maximum(s, b.fit(x, -100, 100));
  b.graph.assign(s, next);
  double most = is_float(t) ? 2 : 100;
  return Item{b.dice.chance(2) ? next : s, -most, most};
}
// A parameter that takes a step, as an optimizer's does.
Made do_update(Builder& b) {
  Item x = b.any_float();
  Tensor p = b.parameter(x.t.shape(), x.t.dtype());
  Tensor next = p - b.fit(x) * 0.25;
  b.graph.assign(p, next);
  return Item{b.dice.chance(2) ? p : next, -3, 3};
}

}  // namespace

std::vector<OpRow> structural_rows() {
  return {
      {"cast_float", 8, cast_float},
      {"cast_to_f8", 4, cast_to_f8},
      {"cast_from_f8", 4, cast_from_f8},
      {"cast_to_integer", 5, cast_to_integer},
      {"cast_from_integer", 8, cast_from_integer},
      {"cast_from_truth", 6, cast_from_truth},
      {"reshape", 10, do_reshape},
      {"permute", 10, do_permute},
      {"slice", 8, do_slice},
      {"flip", 5, do_flip},
      {"broadcast", 6, do_broadcast},
      {"unsqueeze", 3, do_unsqueeze},
      {"concat", 8, do_concat},
      {"stop_gradient", 2, do_stop_gradient},
      {"iota", 3, do_iota},
      {"constant", 4, do_constant},
      {"sum", 10, do_sum},
      {"mean", 6, do_mean},
      {"max", 6, do_extreme<max>},
      {"min", 4, do_extreme<min>},
      {"linear", 5, do_linear},
      {"sum_of_products", 4, do_sum_of_products},
      {"gelu_mlp", 4, do_gelu_mlp},
      {"matmul", 3, do_matmul},
      {"einsum", 4, do_einsum},
      {"gather", 5, do_gather},
      {"gather_computed", 2, do_gather_computed},
      {"scatter", 5, do_scatter},
      {"softmax", 4, do_softmax},
      {"rms_norm", 4, do_rms_norm},
      {"layer_norm", 3, do_layer_norm},
      {"cross_entropy", 2, do_cross_entropy},
      {"rope", 2, do_rope},
      {"swiglu", 3, do_swiglu},
      {"softcap", 3, do_softcap},
      {"cumsum", 5, do_cumsum},
      {"top_k", 5, do_top_k},
      {"argmax", 4, do_argmax},
      {"take_along", 4, do_take_along},
      {"one_hot", 3, do_one_hot},
      {"pad", 5, do_pad},
      {"stack", 3, do_stack},
      {"split", 4, do_split},
      {"conv2d", 3, do_conv2d},
      {"truth", 6, do_truth},
      {"logsumexp", 3, do_logsumexp},
      {"log_softmax", 3, do_log_softmax},
      {"variance", 3, do_variance},
      {"cosine", 2, do_cosine},
      {"mean_pool", 2, do_mean_pool},
      {"geglu", 2, do_geglu},
      {"clamp", 3, do_clamp},
      {"random", 5, do_random},
      {"route", 2, do_route},
      {"state", 6, do_state},
      {"update", 4, do_update},
  };
}

const std::vector<OpRow>& op_table() {
  static const std::vector<OpRow> rows = [] {
    std::vector<OpRow> all = pointwise_rows();
    for (OpRow& r : structural_rows()) all.push_back(std::move(r));
    for (OpRow& r : attention_rows()) all.push_back(std::move(r));
    return all;
  }();
  return rows;
}

}  // namespace fusec::fuzz
