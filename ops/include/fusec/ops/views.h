// Views and pickings built from ops.h. An axis may be negative everywhere.
#pragma once

#include <string>
#include <vector>

#include "fusec/ops/ops.h"

namespace fusec {

// x without its axis of size 1.
inline Tensor squeeze(At x, int64_t axis) {
  CallSite here(x);
  if (x.tensor.size(axis) != 1)
    fail_user("squeeze: expected an axis of size 1, found axis " + std::to_string(axis) + " of " +
                  x.tensor.type().str(),
              x.loc);
  Shape shape = x.tensor.shape();
  shape.erase(shape.begin() + (axis < 0 ? axis + x.tensor.rank() : axis));
  return reshape(x, shape);
}

// Element i of `axis` (negative: from the end); the axis disappears.
inline Tensor pick(At x, int64_t axis, int64_t i) {
  CallSite here(x);
  return squeeze(slice(x, axis, i, 1), axis);
}

// x in `parts` equal pieces along `axis`; a size that does not divide is a user error.
inline std::vector<Tensor> split(At x, int64_t parts, int64_t axis) {
  CallSite here(x);
  int64_t n = x.tensor.size(axis);
  if (parts < 1 || n % parts != 0)
    fail_user("split: axis " + std::to_string(axis) + " of " + x.tensor.type().str() +
                  " does not divide into " + std::to_string(parts) + " equal parts",
              x.loc);
  std::vector<Tensor> out;
  for (int64_t i = 0; i < parts; ++i) out.push_back(slice(x, axis, i * (n / parts), n / parts));
  return out;
}

// Tensors of one type side by side along a new axis before `axis`.
inline Tensor stack(const std::vector<Tensor>& parts, int64_t axis,
                    const std::source_location& loc = std::source_location::current()) {
  std::vector<Tensor> wide;
  for (const Tensor& t : parts) wide.push_back(unsqueeze(At(t, loc), axis));
  return concat(wide, axis < 0 && !parts.empty() ? axis + parts[0].rank() + 1 : axis, loc);
}

// x with `before` and `after` elements of `value` added along `axis`.
inline Tensor pad(At x, int64_t axis, int64_t before, int64_t after, double value = 0) {
  CallSite here(x);
  if (before < 0 || after < 0)
    fail_user("pad: expected sizes >= 0, found " + std::to_string(before) + " and " +
                  std::to_string(after) + "; slice() makes a tensor smaller",
              x.loc);
  (void)x.tensor.size(axis);  // an axis out of range is an error here
  auto fill = [&](int64_t n) {
    Shape shape = x.tensor.shape();
    shape[axis < 0 ? axis + x.tensor.rank() : axis] = n;
    return x.tensor.graph().constant(value, shape, x.tensor.dtype());
  };
  std::vector<Tensor> parts;
  if (before > 0) parts.push_back(fill(before));
  parts.push_back(x.tensor);
  if (after > 0) parts.push_back(fill(after));
  return concat(parts, axis);
}

// out[.., i, ..] = x[.., index[.., i, ..], ..] along `axis`; index (i32 or i64) has the sizes of x
// along all other axes. A negative index gives 0; one past the end is a user error at run time.
inline Tensor take_along(At x, const Tensor& index, int64_t axis) {
  CallSite here(x);
  Tensor flat = flat_index(index, x.tensor.shape(), axis);
  return gather(reshape(x, {numel(x.tensor.shape())}), flat);
}

// 1 where the new last axis of size n equals index (i32 or i64), else 0; a row of zeros for an
// index outside.
inline Tensor one_hot(At index, int64_t n, DType dtype = DType::f32) {
  CallSite here(index);
  Shape shape = index.tensor.shape();
  shape.push_back(n);
  Tensor column = index.tensor.graph().iota(shape, -1, index.tensor.dtype());
  return cast(column == unsqueeze(index, -1), dtype);
}

struct Conv2dOptions {
  int64_t stride = 1, padding = 0;  // of both axes, in pixels; padding is zeros on all sides
};
// Cross-correlation of x [B, C, H, W] with weight [O, C, kh, kw] plus bias [O] (optional) ->
// [B, O, (H + 2p - kh) / s + 1, (W + 2p - kw) / s + 1]. Patches (stride = kernel, no padding) are a
// view and one GEMM; other kernels gather their kh * kw shifted images first.
inline Tensor conv2d(At x, const Tensor& weight, const Tensor& bias = {}, Conv2dOptions o = {}) {
  CallSite here(x);
  std::string found = x.tensor.type().str() + " with weight " + weight.type().str();
  if (x.tensor.rank() != 4 || weight.rank() != 4 || x.tensor.size(1) != weight.size(1))
    fail_user("conv2d: expected x [B, C, H, W] and weight [O, C, kh, kw], found " + found, x.loc);
  if (o.stride < 1 || o.padding < 0)
    fail_user("conv2d: expected stride >= 1 and padding >= 0, found " + std::to_string(o.stride) +
                  " and " + std::to_string(o.padding),
              x.loc);
  int64_t kh = weight.size(2), kw = weight.size(3), s = o.stride;
  Tensor image = pad(pad(x, 2, o.padding, o.padding), 3, o.padding, o.padding);
  int64_t b = image.size(0), c = image.size(1), h = image.size(2), w = image.size(3);
  if (kh < 1 || kw < 1 || h < kh || w < kw)
    fail_user("conv2d: the kernel is larger than the padded image: " + found, x.loc);
  int64_t oh = (h - kh) / s + 1, ow = (w - kw) / s + 1;
  Tensor y;
  if (kh == s && kw == s) {
    Tensor whole = slice(slice(image, 2, 0, oh * s), 3, 0, ow * s);
    Tensor patches = reshape(whole, {b, c, oh, s, ow, s});
    y = einsum("bchiwj,ocij->bohw", patches, weight);
  } else {
    std::vector<Tensor> shifted;
    for (int64_t i = 0; i < kh; ++i)
      for (int64_t j = 0; j < kw; ++j)
        shifted.push_back(slice(slice(image, 2, i, oh, s), 3, j, ow, s));
    y = einsum("bckhw,ock->bohw", stack(shifted, 2),
               reshape(weight, {weight.size(0), c, kh * kw}));
  }
  return bias.defined() ? y + reshape(bias, {1, bias.size(0), 1, 1}) : y;
}

}  // namespace fusec
