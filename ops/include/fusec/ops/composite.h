// Composite ops of transformers: header-only functions built from ops.h. They get gradients and
// fusion from their parts; nothing else in the project knows their names. Each opens a CallSite, so
// that every op in it, and every error, carries the line of the user's call.
#pragma once

#include <cmath>
#include <vector>

#include "fusec/ops/ops.h"
#include "fusec/ops/reductions.h"

namespace fusec {

// softmax over `axis`, shifted by the maximum for range. Float.
inline Tensor softmax(At x, int64_t axis = -1) {
  CallSite here(x);
  Tensor e = exp(x.tensor - stop_gradient(max(x, {axis}, true)));
  return e * reciprocal(sum(e, {axis}, true));  // one division a row
}

// log of softmax(x), without ever leaving the logarithm. Float.
inline Tensor log_softmax(At x, int64_t axis = -1) {
  CallSite here(x);
  return x.tensor - logsumexp(x, {axis}, true);
}

// x / sqrt(mean(x^2) + eps) over the last axis (Zhang and Sennrich 2019), without weights unless
// `weight` [last] is given.
inline Tensor rms_norm(At x, double eps = 1e-6, const Tensor& weight = {}) {
  CallSite here(x);
  Tensor y = x.tensor * rsqrt(mean(square(x), {-1}, true) + eps);
  return weight.defined() ? y * weight : y;
}

// (x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016); weight and
// bias [last] may be undefined.
inline Tensor layer_norm(At x, const Tensor& weight = {}, const Tensor& bias = {},
                         double eps = 1e-5) {
  CallSite here(x);
  Tensor centred = x.tensor - mean(x, {-1}, true);
  Tensor y = centred * rsqrt(mean(square(centred), {-1}, true) + eps);
  if (weight.defined()) y = y * weight;
  if (bias.defined()) y = y + bias;
  return y;
}

// cap * tanh(x / cap): x where it is small, never beyond +-cap.
inline Tensor softcap(At x, double cap) {
  CallSite here(x);
  return tanh(x.tensor * (1.0 / cap)) * cap;
}

// Which elements of a head RoPE turns together: i and i + d/2 (Hugging Face, Llama), or 2i and
// 2i + 1 (the paper, GPT-J).
enum class Rope : uint8_t { half, interleaved };

// Rotary position embedding of x [B, T, H, d] (Su et al. 2021): each pair (a, b) becomes
// (a cos - b sin, b cos + a sin). cos and sin are [T, d/2] or [B, T, d/2], of the type of x.
// Turning is a flip of two halves, a view, so the whole op (and its gradient) is one pointwise
// chain.
inline Tensor rope(At x, const Tensor& cos_table, const Tensor& sin_table,
                   Rope style = Rope::half) {
  CallSite here(x);
  const Shape& s = x.tensor.shape();
  if (s.size() != 4 || s[3] % 2 != 0)
    fail_user("rope: expected x [B, T, H, d] with even d, found " + x.tensor.type().str(), x.loc);
  bool half = style == Rope::half;
  int64_t pairs = s[3] / 2, turned = half ? 3 : 4;
  Tensor split = reshape(x, half ? Shape{s[0], s[1], s[2], 2, pairs}
                                 : Shape{s[0], s[1], s[2], pairs, 2});
  auto table = [&](const Tensor& t) {
    int64_t b = t.rank() == 3 ? t.size(0) : 1;
    return reshape(t, half ? Shape{b, s[1], 1, 1, pairs} : Shape{b, s[1], 1, pairs, 1});
  };
  Tensor sign = x.tensor.graph().constant(std::vector<float>{-1, 1},
                                          half ? Shape{1, 1, 1, 2, 1} : Shape{1, 1, 1, 1, 2});
  Tensor rotated = flip(split, turned) * cast(sign, x.tensor.dtype());
  return reshape(split * table(cos_table) + rotated * table(sin_table), s);
}

// attention() spelled with contractions and softmax: O(T * S) memory, for tests and for reading.
// The same shapes; no cu_seqlens, prefix, sinks or hooks. A query that sees no key gets the mean of
// all values here, and zeros from attention(). `bias` broadcasts to the scores [B, H, T, S] (ALiBi,
// masks).
inline Tensor naive_attention(At q, const Tensor& k, const Tensor& v, AttentionOptions o = {},
                              const Tensor& bias = {}) {
  CallSite here(q);
  bool plain = !o.cu_seqlens.defined() && !o.prefix.defined() && !o.sinks.defined() && !o.score &&
               !o.mask;
  if (q.tensor.rank() != 4 || k.rank() != 4 || v.shape() != k.shape() || !plain ||
      k.size(2) == 0 || q.tensor.size(2) % k.size(2) != 0)
    fail_user("naive_attention: expected q [B, T, H, d], k and v [B, S, KV, d], H a multiple of KV, "
              "no cu_seqlens, prefix, sinks or hooks; found " +
                  q.tensor.type().str() + ", " + k.type().str() + ", " + v.type().str(),
              q.loc);
  int64_t b = q.tensor.size(0), t = q.tensor.size(1), h = q.tensor.size(2), d = q.tensor.size(3);
  int64_t s = k.size(1), kv = k.size(2), group = h / kv;
  double scale = o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(d));
  Tensor grouped = reshape(q, {b, t, kv, group, d});
  Tensor scores = einsum("btgrd,bsgd->bgrts", grouped, k) * scale;
  if (o.softcap > 0) scores = softcap(scores, o.softcap);
  if (bias.defined())
    scores = scores + reshape(broadcast_to(bias, {b, h, t, s}), {b, kv, group, t, s});
  if (o.causal || o.window > 0) {
    Graph& g = q.tensor.graph();
    double shift = o.align == Align::top_left ? 0.0 : static_cast<double>(s - t);
    Tensor ahead = g.iota({t, s}, 1) - (g.iota({t, s}, 0) + shift);  // of the query's own place
    Tensor seen = o.causal ? ahead <= 0.0 : ahead < static_cast<double>(o.window);
    // Below every real score, and within the range of the narrowest float.
    Tensor hidden = g.constant(-3e4, {}, scores.dtype());
    scores = select(seen, scores, hidden);
    if (o.window > 0)
      scores = select(ahead > -static_cast<double>(o.window), scores, hidden);
  }
  return reshape(einsum("bgrts,bsgd->btgrd", softmax(scores), v), q.tensor.shape());
}

// The pages of a cache for paged_attention(): keys, values, and for 8-bit pages (u8, f8e4m3) the
// scales of both.
struct PagedKv {
  Tensor k, v;              // [pages, page_size, KV, d]
  Tensor k_scale, v_scale;  // f32 [pages, page_size, KV], or undefined
};

// Number of the row of [pages * page_size] that holds token positions[i] of sequence sequences[i];
// -1, no row, for a negative position. positions and sequences (without: i itself) are i32
// [tokens]; a position must lie within max_pages * page_size.
inline Tensor paged_rows(At positions, const Tensor& page_table, int64_t page_size,
                         const Tensor& sequences = {}) {
  CallSite here(positions);
  const Tensor& at = positions.tensor;
  if (at.dtype() != i32 || at.rank() != 1 || page_table.dtype() != i32 || page_table.rank() != 2 ||
      (sequences.defined() ? sequences.type() != at.type() : at.size(0) != page_table.size(0)))
    fail_user(
        "paged_rows: expected positions i32 [tokens], page_table i32 [B, max_pages] and "
        "sequences i32 [tokens] (or tokens = B), found " +
            at.type().str() + ", " + page_table.type().str() +
            (sequences.defined() ? ", " + sequences.type().str() : ""),
        positions.loc);
  int64_t max_pages = page_table.size(1);
  double size = static_cast<double>(page_size);
  Tensor sequence = sequences.defined() ? sequences : at.graph().iota(at.shape(), 0);
  Tensor none = at < 0.0, page = select(none, 0.0, at) / size;  // whole numbers: rounds down
  Tensor entry = select(none, -1.0, sequence * static_cast<double>(max_pages) + page);
  Tensor found = gather(reshape(page_table, {-1}), entry);
  return select(none, -1.0, found * size + (at - page * size));
}

// What the pages become when k_new and v_new [tokens, KV, d] are written to `rows` (paged_rows;
// none twice): the new tokens of some sequences. For 8-bit pages each head of a token is rounded to
// them by its largest element: e = round(x / scale) + 128, scale = max |x| / 127 for u8, and
// e = cast(x / scale), scale = max |x| / 448 for f8e4m3; a head of no more than 2^-100 becomes
// zeros, as scales that small would be. Where the pages are states that take what comes back
// (assign), and all who want the new tokens read what comes back, only the new rows are written: no
// copy of the cache is made. Not under a guard.
inline PagedKv append_kv(At k_new, const Tensor& v_new, const PagedKv& pages, const Tensor& rows) {
  CallSite here(k_new);
  bool narrow = pages.k_scale.defined();
  if (pages.k.rank() != 4 || pages.v.type() != pages.k.type() ||
      v_new.type() != k_new.tensor.type() || narrow != pages.v_scale.defined() ||
      narrow != (pages.k.dtype() == u8 || pages.k.dtype() == f8e4m3))
    fail_user(
        "append_kv: expected k_new and v_new of one type, pages [pages, page_size, KV, d] of "
        "one type, with scales if they are u8 or f8e4m3, found " +
            k_new.tensor.type().str() + ", " + v_new.type().str() + ", " + pages.k.type().str() +
            ", " + pages.v.type().str(),
        k_new.loc);
  auto written = [&](const Tensor& to, const Tensor& updates) {
    Shape flat = to.shape();
    flat[1] *= flat[0];
    flat.erase(flat.begin());
    return reshape(scatter(reshape(to, flat), rows, cast(updates, to.dtype())), to.shape());
  };
  if (!narrow) return {written(pages.k, k_new.tensor), written(pages.v, v_new), {}, {}};
  PagedKv out;
  auto narrowed = [&](const Tensor& x, const Tensor& to, const Tensor& scales, Tensor& out_pages,
                      Tensor& out_scales) {
    Tensor wide = cast(x, f32), largest = max(abs(wide), {-1}, true);
    bool floats = to.dtype() == f8e4m3;
    Tensor scale = select(largest > 0x1p-100, largest * (floats ? 1.0 / 448 : 1.0 / 127), 1.0);
    Tensor e = wide / scale;
    out_pages = written(to, floats ? e : clamp(round(e), -127, 127) + 128.0);
    Shape heads = scale.shape();
    heads.pop_back();
    out_scales = written(scales, reshape(scale, heads));
  };
  narrowed(k_new.tensor, pages.k, pages.k_scale, out.k, out.k_scale);
  narrowed(v_new, pages.v, pages.v_scale, out.v, out.v_scale);
  return out;
}

// silu(gate) * up (Shazeer 2020), and the same with GELU.
inline Tensor swiglu(At gate, const Tensor& up) {
  CallSite here(gate);
  return silu(gate) * up;
}
inline Tensor geglu(At gate, const Tensor& up) {
  CallSite here(gate);
  return gelu(gate) * up;
}

// Feed-forward blocks on x [..., c]; gate and up are [f, c], down is [c, f].
inline Tensor swiglu_mlp(At x, const Tensor& gate, const Tensor& up, const Tensor& down) {
  CallSite here(x);
  return linear(swiglu(linear(x, gate), linear(x, up)), down);
}
inline Tensor geglu_mlp(At x, const Tensor& gate, const Tensor& up, const Tensor& down) {
  CallSite here(x);
  return linear(geglu(linear(x, gate), linear(x, up)), down);
}
inline Tensor relu_squared_mlp(At x, const Tensor& up, const Tensor& down) {
  CallSite here(x);
  return linear(relu_squared(linear(x, up)), down);
}

// Mean over the tokens of x [B, T, C] that mask [B, T] (b8) marks, or over all without a mask ->
// [B, C]. A row with no marked token gives zeros.
inline Tensor mean_pool(At x, const Tensor& mask = {}) {
  CallSite here(x);
  if (x.tensor.rank() != 3)
    fail_user("mean_pool: expected x [B, T, C], found " + x.tensor.type().str(), x.loc);
  if (!mask.defined()) return mean(x, {1});
  Tensor weight = unsqueeze(cast(mask, x.tensor.dtype()), -1);
  return sum(x.tensor * weight, {1}) / maximum(sum(weight, {1}), 1.0);
}

// x / |x| over `axis`, the norm at least eps.
inline Tensor normalize(At x, int64_t axis = -1, double eps = 1e-8) {
  CallSite here(x);
  return x.tensor * rsqrt(maximum(sum(square(x), {axis}, true), eps * eps));
}

// a . b / (|a| |b|) over `axis`, each norm at least eps, so that zero vectors give 0 and a finite
// gradient.
inline Tensor cosine_similarity(At a, const Tensor& b, int64_t axis = -1, double eps = 1e-8) {
  CallSite here(a);
  auto inverse_norm = [&](const Tensor& t) {
    return rsqrt(maximum(sum(square(t), {axis}), eps * eps));
  };
  return sum(a.tensor * b, {axis}) * inverse_norm(a.tensor) * inverse_norm(b);
}

}  // namespace fusec
