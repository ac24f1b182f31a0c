// Attention and its gradient from the formulas, every score on its own, no blocks, no autodiff:
//   z = scale * q.k,  s = cap * tanh(z / cap) (or z),  p = softmax over the visible keys,  o = p v
//   delta = do . o,  ds = p (do . v - delta),  dz = ds (1 - (s / cap)^2),
//   dq = scale * sum dz k,  dk = scale * sum dz q,  dv = sum p do.
// A query that sees no key has o = 0, lse = -inf and no gradient.
#include <algorithm>
#include <cmath>

#include "oracle_ops.h"

namespace fusec::oracle {

namespace {

struct Problem {
  int64_t b, t, s, h, kv, d;
  AttentionAttr attr;
  const Data *q, *k, *v;
  const Data* cu = nullptr;

  Problem(const Call& call, size_t first, size_t cu_at) : attr(call.node.as<AttentionAttr>()) {
    const Shape& qs = call.types[first].shape;
    const Shape& ks = call.types[first + 1].shape;
    b = qs[0], t = qs[1], h = qs[2], d = qs[3], s = ks[1], kv = ks[2];
    q = call.in[first], k = call.in[first + 1], v = call.in[first + 2];
    if (call.in.size() > cu_at) cu = call.in[cu_at];
  }

  int64_t query(int64_t ib, int64_t it, int64_t ih) const { return ((ib * t + it) * h + ih) * d; }
  int64_t key(int64_t ib, int64_t is, int64_t ih) const {
    return ((ib * s + is) * kv + ih / (h / kv)) * d;  // head ih shares key head ih / (H / KV)
  }
  int64_t row(int64_t ib, int64_t ih, int64_t it) const { return (ib * h + ih) * t + it; }

  // Document of a token, or -1 outside all of them.
  int64_t document(int64_t token) const {
    if (static_cast<double>(token) < cu->front() || static_cast<double>(token) >= cu->back())
      return -1;
    return std::upper_bound(cu->begin(), cu->end(), static_cast<double>(token)) - cu->begin();
  }
  bool visible(int64_t it, int64_t is) const {
    if (attr.causal && is > it + (s - t)) return false;
    return !cu || (document(it) >= 0 && document(it) == document(is));
  }
  double score(int64_t qo, int64_t ko) const {
    double z = 0;
    for (int64_t c = 0; c < d; ++c) z += (*q)[qo + c] * (*k)[ko + c];
    z *= attr.scale;
    return attr.softcap != 0 ? attr.softcap * std::tanh(z / attr.softcap) : z;
  }
};

template <class F>
void for_each_query(const Problem& p, F f) {
  for (int64_t ib = 0; ib < p.b; ++ib)
    for (int64_t ih = 0; ih < p.h; ++ih)
      for (int64_t it = 0; it < p.t; ++it) f(ib, ih, it);
}

}  // namespace

std::vector<Data> attention(const Call& call) {
  Problem p(call, 0, 3);
  Data o(p.b * p.t * p.h * p.d, 0.0), lse(p.b * p.h * p.t, -INFINITY);
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    Data scores(p.s, -INFINITY);
    for (int64_t is = 0; is < p.s; ++is)
      if (p.visible(it, is)) scores[is] = p.score(qo, p.key(ib, is, ih));
    double top = -INFINITY, total = 0;
    for (double x : scores) top = std::max(top, x);
    if (top == -INFINITY) return;
    for (double x : scores) total += std::exp(x - top);
    double log_sum = top + std::log(total);
    lse[p.row(ib, ih, it)] = log_sum;
    for (int64_t is = 0; is < p.s; ++is)
      for (int64_t c = 0; c < p.d; ++c)
        o[qo + c] += std::exp(scores[is] - log_sum) * (*p.v)[p.key(ib, is, ih) + c];
  });
  return {std::move(o), std::move(lse)};
}

std::vector<Data> attention_grad(const Call& call) {
  Problem p(call, 1, 6);
  const Data &grad_o = *call.in[0], &o = *call.in[4], &lse = *call.in[5];
  Data dq(p.q->size(), 0.0), dk(p.k->size(), 0.0), dv(p.v->size(), 0.0);
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    double log_sum = lse[p.row(ib, ih, it)], delta = 0;
    if (log_sum == -INFINITY) return;
    for (int64_t c = 0; c < p.d; ++c) delta += grad_o[qo + c] * o[qo + c];
    for (int64_t is = 0; is < p.s; ++is) {
      if (!p.visible(it, is)) continue;
      int64_t ko = p.key(ib, is, ih);
      double s = p.score(qo, ko), prob = std::exp(s - log_sum), dp = 0;
      for (int64_t c = 0; c < p.d; ++c) dp += grad_o[qo + c] * (*p.v)[ko + c];
      double dz = prob * (dp - delta);
      if (p.attr.softcap != 0) dz *= 1 - (s / p.attr.softcap) * (s / p.attr.softcap);
      for (int64_t c = 0; c < p.d; ++c) {
        dq[qo + c] += p.attr.scale * dz * (*p.k)[ko + c];
        dk[ko + c] += p.attr.scale * dz * (*p.q)[qo + c];
        dv[ko + c] += prob * grad_o[qo + c];
      }
    }
  });
  return {std::move(dq), std::move(dk), std::move(dv)};
}

}  // namespace fusec::oracle
