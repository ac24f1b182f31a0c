// Composite ops: header-only functions built from ops.h. They get gradients and fusion from their
// parts; nothing else in the project knows their names.
#pragma once

#include <cmath>
#include <vector>

#include "fusec/ops/ops.h"

namespace fusec {

// softmax over `axis`, shifted by the maximum for range.
inline Tensor softmax(At x, int64_t axis = -1) {
  Tensor m = stop_gradient(At(max(x, {axis}, true), x.loc));
  Tensor e = exp(At(pointwise(Pointwise::sub, x, m), x.loc));
  return pointwise(Pointwise::div, At(e, x.loc), sum(At(e, x.loc), {axis}, true));
}

// x / sqrt(mean(x^2) + eps) over the last axis (Zhang and Sennrich 2019), without weights unless
// `weight` [last] is given.
inline Tensor rms_norm(At x, double eps = 1e-6, const Tensor& weight = {}) {
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  Tensor inv = rsqrt(at(at(mean(at(square(x)), {-1}, true)) + eps));
  Tensor y = at(x.tensor) * inv;
  return weight.defined() ? at(y) * weight : y;
}

// (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016); weight and
// bias [last] may be undefined.
inline Tensor layer_norm(At x, const Tensor& weight = {}, const Tensor& bias = {},
                         double eps = 1e-5) {
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  Tensor centred = at(x.tensor) - mean(x, {-1}, true);
  Tensor inv = rsqrt(at(at(mean(at(square(at(centred))), {-1}, true)) + eps));
  Tensor y = at(centred) * inv;
  if (weight.defined()) y = at(y) * weight;
  if (bias.defined()) y = at(y) + bias;
  return y;
}

// cap * tanh(x / cap).
inline Tensor softcap(At x, double cap) {
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  return at(tanh(at(x * (1.0 / cap)))) * cap;
}

// Token losses of logits [N, V] (f32) against target [N] (i32): logsumexp(z) - z[target], and 0
// where target < 0. The caller divides the sum by the number of supervised tokens. With smoothing s
// the target distribution is 1 - s on the target plus s spread evenly (Szegedy et al. 2016).
inline Tensor cross_entropy(At logits, const Tensor& target, double smoothing = 0) {
  auto at = [&](const Tensor& t) { return At(t, logits.loc); };
  const Tensor& z = logits.tensor;
  Tensor m = stop_gradient(at(max(logits, {-1}, true)));  // cancels in the gradient
  Tensor lse = at(log(at(sum(at(exp(at(at(z) - m))), {-1}, true)))) + m;
  Tensor column = z.graph().iota(z.shape(), 1, target.dtype());
  Tensor t = reshape(at(target), {z.size(0), 1});
  Tensor zero = z.graph().constant(0.0, {}, z.dtype());
  Tensor picked = sum(at(select(at(at(column) == t), z, zero)), {-1}, true);
  if (smoothing > 0)
    picked = at(at(picked) * (1 - smoothing)) + at(mean(logits, {-1}, true)) * smoothing;
  Tensor loss = reshape(at(at(lse) - picked), {z.size(0)});
  return select(at(at(target) >= 0.0), loss, zero);
}

// Rotary position embedding of x [B, T, H, d], half rotation with Hugging Face's sign (Su et al.
// 2021): out = x * cos + rotate_half(x) * sin, rotate_half((a, b)) = (-b, a). cos and sin are
// [T, d/2] or [B, T, d/2]. The rotation is a flip of two halves, a view, so the whole op (and its
// gradient) is one pointwise chain.
inline Tensor rope(At x, const Tensor& cos_table, const Tensor& sin_table) {
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  const Shape& s = x.tensor.shape();
  if (s.size() != 4 || s[3] % 2 != 0)
    fail_user("rope: expected x [B, T, H, d] with even d, found " + x.tensor.type().str(), x.loc);
  int64_t half = s[3] / 2;
  Tensor halves = reshape(x, {s[0], s[1], s[2], 2, half});
  auto table = [&](const Tensor& t) {
    int64_t b = t.rank() == 3 ? t.size(0) : 1;
    return reshape(at(t), {b, s[1], 1, 1, half});
  };
  Tensor sign = x.tensor.graph().constant(std::vector<float>{-1, 1}, {1, 1, 1, 2, 1});
  if (x.tensor.dtype() != DType::f32) sign = cast(at(sign), x.tensor.dtype());
  Tensor rotated = at(flip(at(halves), 3)) * sign;
  Tensor y = at(at(halves) * table(cos_table)) + at(rotated) * table(sin_table);
  return reshape(at(y), s);
}

// attention() spelled with contractions and softmax: O(T * S) memory, for tests and for reading.
// The same shapes; no cu_seqlens. A query that sees no key gets the mean of all values here, and
// zeros from attention().
inline Tensor naive_attention(At q, const Tensor& k, const Tensor& v, AttentionOptions o = {}) {
  auto at = [&](const Tensor& t) { return At(t, q.loc); };
  if (q.tensor.rank() != 4 || k.rank() != 4 || o.cu_seqlens.defined())
    fail_user(
        "naive_attention: expected q [B, T, H, d], k and v [B, S, KV, d], no cu_seqlens; found " +
            q.tensor.type().str() + ", " + k.type().str(),
        q.loc);
  int64_t b = q.tensor.size(0), t = q.tensor.size(1), h = q.tensor.size(2), d = q.tensor.size(3);
  int64_t s = k.size(1), kv = k.size(2), group = h / kv;
  double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(d));
  Tensor grouped = reshape(q, {b, t, kv, group, d});
  Tensor scores = at(einsum("btgrd,bsgd->bgrts", at(grouped), k)) * scale;
  if (o.softcap > 0) scores = softcap(at(scores), o.softcap);
  if (o.causal) {
    Graph& g = q.tensor.graph();
    Tensor newest = at(g.iota({t, s}, 0)) + static_cast<double>(s - t);
    Tensor seen = at(g.iota({t, s}, 1)) <= newest;
    scores = select(at(seen), scores, g.constant(-1e30, {}, scores.dtype()));
  }
  Tensor mixed = einsum("bgrts,bsgd->btgrd", at(softmax(at(scores))), v);
  return reshape(at(mixed), q.tensor.shape());
}

// silu(gate) * up (Shazeer 2020).
inline Tensor swiglu(At gate, const Tensor& up) { return At(silu(gate), gate.loc) * up; }

}  // namespace fusec
