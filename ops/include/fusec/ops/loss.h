// Losses.
#pragma once

#include <string>

#include "fusec/ops/composite.h"

namespace fusec {

enum class Reduction : uint8_t {
  none,  // one loss a token
  sum,
  mean,  // over the supervised tokens; 0 where there are none
};

struct CrossEntropyOptions {
  double softcap = 0;        // > 0: the logits are cap * tanh(z / cap) first (Gemma 2, 2024)
  double smoothing = 0;      // this much of the target spread evenly (Szegedy et al. 2016)
  int64_t ignore_index = -1; // targets equal to it, or negative, are not supervised
  Reduction reduction = Reduction::none;
};

// -log softmax(logits)[target] of logits [..., V] (float; bf16 and f16 are computed in f32) against
// target [...] (i32 or i64), f32; 0 for a token that is not supervised. A target >= V is the
// caller's mistake and gives the loss of no class.
inline Tensor cross_entropy(At logits, const Tensor& target, CrossEntropyOptions o = {}) {
  CallSite here(logits);
  const Shape& s = logits.tensor.shape();
  if (s.empty() || target.shape() != Shape(s.begin(), s.end() - 1) || !is_integer(target.dtype()))
    fail_user("cross_entropy: expected logits [..., V] and an integer target [...], found " +
                  logits.tensor.type().str() + " and " + target.type().str(),
              logits.loc);
  Tensor z = logits.tensor.dtype() == DType::f64 ? logits.tensor : cast(logits, DType::f32);
  if (o.softcap > 0) z = softcap(z, o.softcap);
  Graph& g = z.graph();
  Tensor zero = g.constant(0.0, {}, z.dtype());
  Tensor top = stop_gradient(max(z, {-1}, true));  // cancels in the gradient
  Tensor lse = log(sum(exp(z - top), {-1}, true)) + top;
  Tensor hit = g.iota(z.shape(), -1, target.dtype()) == unsqueeze(target, -1);
  Tensor picked = sum(select(hit, z, zero), {-1}, true);
  if (o.smoothing > 0) picked = picked * (1 - o.smoothing) + mean(z, {-1}, true) * o.smoothing;
  Tensor loss = reshape(lse - picked, target.shape());
  Tensor supervised = target >= 0.0;
  if (o.ignore_index >= 0)
    supervised = logical_and(supervised, target != static_cast<double>(o.ignore_index));
  loss = select(supervised, loss, zero);
  if (o.reduction == Reduction::none) return loss;
  Tensor total = sum(loss);
  if (o.reduction == Reduction::sum) return total;
  return total / maximum(sum(cast(supervised, loss.dtype())), 1.0);
}

}  // namespace fusec
