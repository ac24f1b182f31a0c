// Attention and its gradient from the formulas, every score on its own, no blocks, no autodiff:
//   z = scale * q.k,  s = cap * tanh(z / cap) (or z),  p = softmax over the visible keys,  o = p v
//   delta = do . o,  ds = p (do . v - delta),  dz = ds (1 - (s / cap)^2),
//   dq = scale * sum dz k,  dk = scale * sum dz q,  dv = sum p do.
// A query that sees no key has o = 0, lse = -inf and no gradient.
#include <algorithm>
#include <cmath>

#include "oracle_attention.h"

namespace fusec::oracle {

namespace {

struct Problem : AttentionProblem {
  const Data *q, *k, *v;

  Problem(const Call& call, size_t first, size_t masks_at)
      : AttentionProblem(call.node, call.types, first, masks_at,
                         [&](size_t i) -> const Data& { return *call.in[i]; }),
        q(call.in[first]),
        k(call.in[first + 1]),
        v(call.in[first + 2]) {}

  double score(int64_t qo, int64_t ko) const {
    double z = 0;
    for (int64_t c = 0; c < d; ++c) z += (*q)[qo + c] * (*k)[ko + c];
    z *= attr.scale;
    return attr.softcap != 0 ? attr.softcap * std::tanh(z / attr.softcap) : z;
  }
};

}  // namespace

std::vector<Data> attention(const Call& call) {
  Problem p(call, 0, 3);
  Data o(p.b * p.t * p.h * p.d, 0.0), lse(p.b * p.h * p.t, -INFINITY);
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    Data scores(p.s, -INFINITY);
    for (int64_t is = 0; is < p.s; ++is)
      if (p.visible(ib, it, is)) scores[is] = p.score(qo, p.key(ib, is, ih));
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
      if (!p.visible(ib, it, is)) continue;
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
