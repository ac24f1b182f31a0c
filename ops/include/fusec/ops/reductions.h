// Reductions built from sum, max and min: all with one pass over their operand, fused by the
// compiler like the three they are made of.
#pragma once

#include <vector>

#include "fusec/ops/ops.h"

namespace fusec {

// NaN / finite, as b8. Integers are always finite.
inline Tensor isnan(At x) { return pointwise(Pointwise::ne, {x.tensor, x.tensor}, x.loc); }
inline Tensor isfinite(At x) {
  CallSite here(x);
  return x.tensor - x.tensor == 0.0;  // infinities and NaN give NaN
}
inline Tensor logical_not(At x) {
  CallSite here(x);
  return x.tensor == 0.0;
}
// Of two b8 operands.
inline Tensor logical_and(At a, const Tensor& b) {
  CallSite here(a);
  return select(a, b, a.tensor.graph().constant(0, {}, DType::b8));
}
inline Tensor logical_or(At a, const Tensor& b) {
  CallSite here(a);
  return select(a, a.tensor.graph().constant(1, {}, DType::b8), b);
}

// x limited to [lo, hi]; NaN stays. The gradient is 0 outside.
inline Tensor clamp(At x, double lo, double hi) {
  CallSite here(x);
  return minimum(maximum(x, lo), hi);
}

// Whether any (every) element of b8 operand x along `axes` is true; false (true) for none.
inline Tensor any(At x, const Axes& axes, bool keep_dims = false) {
  CallSite here(x);
  return sum(cast(cast(x, DType::b8), DType::i32), axes, keep_dims) > 0.0;
}
inline Tensor all(At x, const Axes& axes, bool keep_dims = false) {
  CallSite here(x);
  return sum(cast(logical_not(cast(x, DType::b8)), DType::i32), axes, keep_dims) == 0.0;
}

// Index (i32) of the largest (smallest) element along `axis`, the first of several; NaN counts as
// both. An empty axis is a user error.
inline Tensor argmax(At x, int64_t axis = -1, bool keep_dims = false) {
  CallSite here(x);
  Tensor hit = x.tensor == max(x, {axis}, true);
  if (is_float(x.tensor.dtype())) hit = logical_or(hit, isnan(x));
  Graph& g = x.tensor.graph();
  Tensor place = g.iota(x.tensor.shape(), axis);
  Tensor last = g.constant(static_cast<double>(x.tensor.size(axis)), {}, DType::i32);
  return min(select(hit, place, last), {axis}, keep_dims);
}
inline Tensor argmin(At x, int64_t axis = -1, bool keep_dims = false) {
  CallSite here(x);
  return argmax(-x.tensor, axis, keep_dims);
}

// log(sum(exp(x))), shifted by the maximum for range; -inf where all of x is. Float.
inline Tensor logsumexp(At x, const Axes& axes, bool keep_dims = false) {
  CallSite here(x);
  Tensor top = stop_gradient(max(x, axes, true));
  top = select(isfinite(top), top, x.tensor.graph().constant(0, {}, x.tensor.dtype()));
  Tensor lse = log(sum(exp(x.tensor - top), axes, true)) + top;
  return keep_dims ? lse : reshape(lse, sum(x, axes).shape());
}

// mean((x - mean(x))^2) along `axes` (the population variance).
inline Tensor variance(At x, const Axes& axes, bool keep_dims = false) {
  CallSite here(x);
  return mean(square(x.tensor - mean(x, axes, true)), axes, keep_dims);
}

}  // namespace fusec
