// Error bounds of attention and its gradient. Values are the oracle's; the errors follow its
// formulas (oracle_attention.cpp) line by line:
//   scores        a dot product, scaled and capped: e_s
//   p = exp(s - lse)   relative error r = expm1(e_s + e_lse + u (|s - lse| + growth(S) + 16)): the
//                 subtraction rounds, the online softmax rescales once a block of keys
//   o, dq, dk, dv dot products of p (or dz) with operands that carry errors
// Probabilities and dz may be rounded to the operands' stored type before the second product, as
// every device with bf16 matrix units does; f32 operands allow none of that.
#include <algorithm>
#include <cmath>

#include "fusec/ops/tolerance.h"
#include "oracle_attention.h"
#include "oracle_bounds.h"

namespace fusec::oracle {

namespace {

using tolerance::Bounded;
using tolerance::reduction_growth;

struct Heads : AttentionProblem {
  const BoundedData *q, *k, *v;
  double u, stored;

  Heads(const BoundedCall& call, size_t first, size_t masks_at)
      : AttentionProblem(call.node, call.types, first, masks_at,
                         [&](size_t i) -> const Data& { return call.in[i]->value; }),
        q(call.in[first]),
        k(call.in[first + 1]),
        v(call.in[first + 2]) {
    DType type = call.types[first].dtype;
    u = tolerance::unit_roundoff(type);
    stored = type == DType::bf16 || type == DType::f16 ? tolerance::storage_roundoff(type) : 0;
  }
  // x[xo ..] . y[yo ..] over d elements.
  Bounded dot(const BoundedData& x, int64_t xo, const BoundedData& y, int64_t yo) const {
    double value = 0, wide = 0, narrow = 0;
    for (int64_t c = 0; c < d; ++c) {
      double a = x.value[xo + c], w = y.value[yo + c];
      value += a * w;
      narrow += std::fabs(a * w);
      wide += (std::fabs(a) + x.error[xo + c]) * (std::fabs(w) + y.error[yo + c]);
    }
    double growth = reduction_growth(static_cast<double>(d) + 1);
    return {value, or_inf(wide - narrow + growth * u * wide), u};
  }
  Bounded score(int64_t qo, int64_t ko) const {
    Bounded z = dot(*q, qo, *k, ko) * Bounded(attr.scale);
    return attr.softcap != 0 ? Bounded(attr.softcap) * tanh(z / Bounded(attr.softcap)) : z;
  }
  // exp(s - lse)
  Bounded probability(const Bounded& score, double lse, double lse_error) const {
    double gap = score.v - lse, v = std::exp(gap);
    double r = std::expm1(score.e + lse_error +
                          u * (std::fabs(gap) + reduction_growth(static_cast<double>(s)) + 16)) +
               stored;
    return {v, or_inf(v * r) + tolerance::kSmallestNormal, u};
  }
};

// Adds scale * w * x to a sum, with what it may err.
struct Sums {
  Data value, carried, most;
  explicit Sums(size_t n) : value(n, 0.0), carried(n, 0.0), most(n, 0.0) {}
  void add(int64_t at, const Bounded& w, double x, double x_error, double scale) {
    value[at] += scale * w.v * x;
    double wide = (std::fabs(w.v) + w.e) * (std::fabs(x) + x_error);
    carried[at] += std::fabs(scale) * or_inf(wide - std::fabs(w.v * x));
    most[at] += std::fabs(scale) * wide;
  }
  BoundedData finish(double roundings) {
    BoundedData out{std::move(value), std::move(carried)};
    for (size_t i = 0; i < out.error.size(); ++i)
      out.error[i] = or_inf(out.error[i] + roundings * most[i]);
    return out;
  }
};

}  // namespace

std::vector<BoundedData> attention_bounded(const BoundedCall& call) {
  Heads p(call, 0, 3);
  Sums o(p.q->value.size());
  BoundedData lse{Data(p.b * p.h * p.t, -INFINITY), Data(p.b * p.h * p.t, 0.0)};
  double growth = reduction_growth(static_cast<double>(p.s));
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih);
    std::vector<Bounded> scores;
    std::vector<int64_t> keys;
    double top = -INFINITY, total = 0, worst = 0;
    for (int64_t is = 0; is < p.s; ++is) {
      if (!p.visible(ib, it, is)) continue;
      keys.push_back(p.key(ib, is, ih));
      scores.push_back(p.score(qo, keys.back()));
      top = std::max(top, scores.back().v), worst = std::max(worst, scores.back().e);
    }
    if (keys.empty()) return;
    for (const Bounded& s : scores) total += std::exp(s.v - top);
    double log_sum = top + std::log(total);
    int64_t row = p.row(ib, ih, it);
    lse.value[row] = log_sum;
    lse.error[row] = worst + p.u * (growth + 16 + std::fabs(top) + std::fabs(log_sum));
    for (size_t i = 0; i < keys.size(); ++i) {
      Bounded prob = p.probability(scores[i], log_sum, lse.error[row]);
      for (int64_t c = 0; c < p.d; ++c)
        o.add(qo + c, prob, p.v->value[keys[i] + c], p.v->error[keys[i] + c], 1);
    }
  });
  return {o.finish((growth + 4) * p.u), std::move(lse)};
}

std::vector<BoundedData> attention_grad_bounded(const BoundedCall& call) {
  Heads p(call, 1, 6);
  const BoundedData &grad_o = *call.in[0], &o = *call.in[4], &lse = *call.in[5];
  Sums dq(p.q->value.size()), dk(p.k->value.size()), dv(p.v->value.size());
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih), row = p.row(ib, ih, it);
    if (lse.value[row] == -INFINITY) return;
    Bounded delta = p.dot(grad_o, qo, o, qo);
    for (int64_t is = 0; is < p.s; ++is) {
      if (!p.visible(ib, it, is)) continue;
      int64_t ko = p.key(ib, is, ih);
      Bounded s = p.score(qo, ko), prob = p.probability(s, lse.value[row], lse.error[row]);
      Bounded dz = prob * (p.dot(grad_o, qo, *p.v, ko) - delta);
      if (p.attr.softcap != 0) {
        Bounded ratio = s / Bounded(p.attr.softcap);
        dz = dz * (Bounded(1.0) - ratio * ratio);
      }
      dz.e += p.stored * std::fabs(dz.v);
      for (int64_t c = 0; c < p.d; ++c) {
        dq.add(qo + c, dz, p.k->value[ko + c], p.k->error[ko + c], p.attr.scale);
        dk.add(ko + c, dz, p.q->value[qo + c], p.q->error[qo + c], p.attr.scale);
        dv.add(ko + c, prob, grad_o.value[qo + c], grad_o.error[qo + c], 1);
      }
    }
  });
  double keys = reduction_growth(static_cast<double>(p.s));
  double queries = reduction_growth(static_cast<double>(p.t * (p.h / p.kv)));
  return {dq.finish((keys + 4) * p.u), dk.finish((queries + 4) * p.u),
          dv.finish((queries + 4) * p.u)};
}

}  // namespace fusec::oracle
