// Attention and its gradient from the formulas, every score on its own, no blocks, no autodiff (but
// for the derivatives of a hook, which the recorder makes):
//   z = scale * q.k,  c = cap * tanh(z / cap) (or z),  s = hook(c) (or c),
//   p = softmax over the visible keys and the head's sink,  o = p v
//   delta = do . o,  ds = p (do . v - delta),  dz = ds hook'(c) (1 - (c / cap)^2),
//   dq = scale * sum dz k,  dk = scale * sum dz q,  dv = sum p do,  dsink = sum p_sink (0 - delta),
//   d captured = sum ds (d hook / d element)
// A query that sees no key has o = 0, lse = -inf (or its sink) and no gradient.
#include <algorithm>
#include <cmath>

#include "oracle_attention.h"
#include "oracle_hook.h"

namespace fusec::oracle {

namespace {

struct Problem : AttentionProblem {
  const Data *q, *k, *v, *sinks = nullptr;
  std::optional<HookRow<Data, Call>> hooked;

  Problem(const Call& call, size_t q_at, size_t first)
      : AttentionProblem(call.node, call.types, q_at, first,
                         [&](size_t i) -> const Data& { return *call.in[i]; }),
        q(call.in[q_at]),
        k(call.in[q_at + 1]),
        v(call.in[q_at + 2]) {
    if (at.sinks) sinks = call.in[at.sinks];
    std::vector<Shape> shapes;
    for (size_t i = at.captured; i < call.types.size(); ++i) shapes.push_back(call.types[i].shape);
    if (hook)
      hooked.emplace(*hook, std::vector<const Data*>(call.in.begin() + at.captured, call.in.end()),
                     shapes);
  }

  // Scores of one query before the hook.
  Data capped(int64_t ib, int64_t ih, int64_t it) const {
    Data out(s);
    for (int64_t is = 0; is < s; ++is) {
      double z = 0;
      int64_t qo = query(ib, it, ih), ko = key(ib, is, ih);
      for (int64_t c = 0; c < d; ++c) z += (*q)[qo + c] * (*k)[ko + c];
      z *= attr.scale;
      out[is] = attr.softcap != 0 ? attr.softcap * std::tanh(z / attr.softcap) : z;
    }
    return out;
  }
  // After it; -inf where the query sees no key. Begins a row of the hook.
  Data scores(int64_t ib, int64_t ih, int64_t it, const Data& given) {
    Data out = given;
    if (hook) {
      hooked->begin({ib, ih, it, 0}, given, s);
      out = hooked->row(hook->score);
    }
    for (int64_t is = 0; is < s; ++is)
      if (!visible(ib, it, is) || (hook && hook->has_mask() && hooked->row(hook->mask)[is] == 0))
        out[is] = -INFINITY;
    return out;
  }
};

}  // namespace

std::vector<Data> attention(const Call& call) {
  Problem p(call, 0, 3);
  Data o(p.b * p.t * p.h * p.d, 0.0), lse(p.b * p.h * p.t, -INFINITY);
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    Data scores = p.scores(ib, ih, it, p.capped(ib, ih, it));
    double sink = p.sinks ? (*p.sinks)[ih] : -INFINITY, top = sink;
    for (double x : scores) top = std::max(top, x);
    if (top == -INFINITY) return;
    double total = std::exp(sink - top);
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
  Data dq(p.q->size(), 0.0), dk(p.k->size(), 0.0), dv(p.v->size(), 0.0), dsinks(p.h, 0.0);
  std::vector<Data> captured;
  for (size_t i = p.at.captured; i < call.in.size(); ++i)
    captured.emplace_back(call.in[i]->size(), 0.0);
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    double log_sum = lse[p.row(ib, ih, it)], delta = 0;
    if (log_sum == -INFINITY) return;
    for (int64_t c = 0; c < p.d; ++c) delta += grad_o[qo + c] * o[qo + c];
    if (p.sinks) dsinks[ih] -= std::exp((*p.sinks)[ih] - log_sum) * delta;
    Data given = p.capped(ib, ih, it), scores = p.scores(ib, ih, it, given);
    for (int64_t is = 0; is < p.s; ++is) {
      if (scores[is] == -INFINITY) continue;
      int64_t ko = p.key(ib, is, ih);
      double prob = std::exp(scores[is] - log_sum), dp = 0;
      for (int64_t c = 0; c < p.d; ++c) dp += grad_o[qo + c] * (*p.v)[ko + c];
      double ds = prob * (dp - delta), dz = ds, cap = p.attr.softcap;
      if (cap != 0) dz *= 1 - (given[is] / cap) * (given[is] / cap);
      if (p.hook) {
        dz *= p.by.by_given.node < 0 ? 0 : p.hooked->row(p.by.by_given)[is];
        for (size_t i = 0; i < p.hook->loads.size(); ++i) {
          const HookLoad& l = p.hook->loads[i];
          Value by = p.by.by_load[i];
          if (by.node >= 0)
            captured[l.captured][p.hooked->element(l, is)] += ds * p.hooked->row(by)[is];
        }
      }
      for (int64_t c = 0; c < p.d; ++c) {
        dq[qo + c] += p.attr.scale * dz * (*p.k)[ko + c];
        dk[ko + c] += p.attr.scale * dz * (*p.q)[qo + c];
        dv[ko + c] += prob * grad_o[qo + c];
      }
    }
  });
  std::vector<Data> out = {std::move(dq), std::move(dk), std::move(dv)};
  if (p.sinks) out.push_back(std::move(dsinks));
  for (size_t i = 0; i < captured.size(); ++i)
    if (p.attr.captured_grads >> i & 1) out.push_back(std::move(captured[i]));
  return out;
}

}  // namespace fusec::oracle
