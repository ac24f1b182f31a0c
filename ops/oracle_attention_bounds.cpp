// Error bounds of attention and its gradient. Values are the oracle's; the errors follow its
// formulas (oracle_attention.cpp) line by line:
//   scores        a dot product, scaled, capped and hooked: e_s
//   p = exp(s - lse)   relative error r = expm1(e_s + e_lse + u (|s - lse| + growth(S) + 16)): the
//                 subtraction rounds, the online softmax rescales once a block of keys
//   o, dq, dk, dv dot products of p (or dz) with operands that carry errors
// Probabilities and dz may be rounded to the operands' stored type before the second product, as
// every device with bf16 matrix units does; f32 operands allow none of that. In f16 a probability
// or dz below 2^-14 loses up to 2^-25 whatever its size (a row's largest probability, before the
// division by a total of at least 1, is 1).
#include <algorithm>
#include <cmath>

#include "fusec/ops/tolerance.h"
#include "oracle_attention.h"
#include "oracle_bounds.h"
#include "oracle_hook.h"

namespace fusec::oracle {

namespace {

using tolerance::Bounded;
using tolerance::reduction_growth;

struct Heads : AttentionProblem {
  const BoundedData *q, *k, *v, *sinks = nullptr;
  std::optional<HookRow<BoundedData, BoundedCall>> hooked;
  double u, stored, least;

  Heads(const BoundedCall& call, size_t q_at, size_t first)
      : AttentionProblem(call.node, call.types, q_at, first,
                         [&](size_t i) -> const Data& { return call.in[i]->value; }),
        q(call.in[q_at]),
        k(call.in[q_at + 1]),
        v(call.in[q_at + 2]) {
    DType type = call.types[q_at].dtype;
    u = tolerance::unit_roundoff(type);
    stored = type == DType::bf16 || type == DType::f16 ? tolerance::storage_roundoff(type) : 0;
    least = stored > 0 ? tolerance::storage_underflow(type) : tolerance::kSmallestNormal;
    if (at.sinks) sinks = call.in[at.sinks];
    std::vector<Shape> shapes;
    for (size_t i = at.captured; i < call.types.size(); ++i) shapes.push_back(call.types[i].shape);
    if (hook)
      hooked.emplace(
          *hook, std::vector<const BoundedData*>(call.in.begin() + at.captured, call.in.end()),
          shapes);
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
  Bounded capped(int64_t qo, int64_t ko) const {
    Bounded z = dot(*q, qo, *k, ko) * Bounded(attr.scale);
    return attr.softcap != 0 ? Bounded(attr.softcap) * tanh(z / Bounded(attr.softcap)) : z;
  }
  Bounded element(const BoundedData& x, int64_t i) const { return {x.value[i], x.error[i], u}; }

  // Scores of one query over all keys: before the hook, after it, and whether a key is seen. Where
  // the mask itself is in doubt, a score may be anything.
  struct Row {
    std::vector<Bounded> given, score;
    std::vector<bool> seen;
    bool doubt = false;
  };
  Row scores(int64_t ib, int64_t ih, int64_t it) {
    Row r;
    BoundedData given;
    for (int64_t is = 0; is < s; ++is) {
      r.given.push_back(capped(query(ib, it, ih), key(ib, is, ih)));
      given.value.push_back(r.given.back().v);
      given.error.push_back(r.given.back().e);
      r.seen.push_back(visible(ib, it, is));
    }
    r.score = r.given;
    if (!hook) return r;
    hooked->begin({ib, ih, it, 0}, std::move(given), s);
    const BoundedData score = hooked->row(hook->score);
    for (int64_t is = 0; is < s; ++is) {
      r.score[is] = element(score, is);
      bool doubt = false, hidden = score.value[is] == -INFINITY && score.error[is] == 0;
      if (hook->has_mask()) {
        const BoundedData& mask = hooked->row(hook->mask);
        doubt = mask.error[is] != 0, hidden = hidden || (mask.value[is] == 0 && !doubt);
      }
      if (hidden) r.seen[is] = false;
      if (doubt && r.seen[is]) r.score[is].e = tolerance::kInf, r.doubt = true;
    }
    return r;
  }
  // exp(s - lse)
  Bounded probability(const Bounded& score, double lse, double lse_error) const {
    double gap = score.v - lse, v = std::exp(gap);
    double r = std::expm1(score.e + lse_error +
                          u * (std::fabs(gap) + reduction_growth(static_cast<double>(s)) + 16)) +
               stored;
    return {v, or_inf(v * r) + least, u};
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
  double growth = reduction_growth(static_cast<double>(p.s + 1));
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih), row = p.row(ib, ih, it);
    Heads::Row r = p.scores(ib, ih, it);
    double sink = p.sinks ? p.sinks->value[ih] : -INFINITY;
    double top = sink, total = 0, worst = p.sinks ? p.sinks->error[ih] : 0;
    for (int64_t is = 0; is < p.s; ++is)
      if (r.seen[is]) top = std::max(top, r.score[is].v), worst = std::max(worst, r.score[is].e);
    if (r.doubt) lse.error[row] = tolerance::kInf;
    if (top == -INFINITY) return;
    if (p.sinks) total = std::exp(sink - top);
    for (int64_t is = 0; is < p.s; ++is)
      if (r.seen[is]) total += std::exp(r.score[is].v - top);
    double log_sum = top + std::log(total);
    lse.value[row] = log_sum;
    lse.error[row] =
        or_inf(worst + p.u * (growth + 16 + std::fabs(top) + std::fabs(log_sum)));
    for (int64_t is = 0; is < p.s; ++is) {
      if (!r.seen[is]) continue;
      Bounded prob = p.probability(r.score[is], log_sum, lse.error[row]);
      int64_t ko = p.key(ib, is, ih);
      for (int64_t c = 0; c < p.d; ++c)
        o.add(qo + c, prob, p.v->value[ko + c], p.v->error[ko + c], 1);
    }
  });
  return {o.finish((growth + 4) * p.u), std::move(lse)};
}

std::vector<BoundedData> attention_grad_bounded(const BoundedCall& call) {
  Heads p(call, 1, 6);
  const BoundedData &grad_o = *call.in[0], &o = *call.in[4], &lse = *call.in[5];
  Sums dq(p.q->value.size()), dk(p.k->value.size()), dv(p.v->value.size()), dsinks(p.h);
  std::vector<Sums> captured;
  for (size_t i = p.at.captured; i < call.in.size(); ++i)
    captured.emplace_back(call.in[i]->value.size());
  for_each_query(p, [&](int64_t ib, int64_t ih, int64_t it) {
    int64_t qo = p.query(ib, it, ih), row = p.row(ib, ih, it);
    if (lse.value[row] == -INFINITY && lse.error[row] == 0) return;
    Bounded delta = p.dot(grad_o, qo, o, qo);
    if (p.sinks) {
      Bounded sink = p.element(*p.sinks, ih);
      dsinks.add(ih, p.probability(sink, lse.value[row], lse.error[row]), delta.v, delta.e, -1);
    }
    Heads::Row r = p.scores(ib, ih, it);
    for (int64_t is = 0; is < p.s; ++is) {
      if (!r.seen[is]) continue;
      int64_t ko = p.key(ib, is, ih);
      Bounded prob = p.probability(r.score[is], lse.value[row], lse.error[row]);
      Bounded ds = prob * (p.dot(grad_o, qo, *p.v, ko) - delta), dz = ds;
      if (p.attr.softcap != 0) {
        Bounded ratio = r.given[is] / Bounded(p.attr.softcap);
        dz = dz * (Bounded(1.0) - ratio * ratio);
      }
      if (p.hook) {
        Value by = p.by.by_given;
        dz = dz * (by.node < 0 ? Bounded(0.0) : p.element(p.hooked->row(by), is));
        for (size_t i = 0; i < p.hook->loads.size(); ++i) {
          const HookLoad& l = p.hook->loads[i];
          if (p.by.by_load[i].node < 0) continue;
          const BoundedData& slope = p.hooked->row(p.by.by_load[i]);
          captured[l.captured].add(p.hooked->element(l, is), ds, slope.value[is], slope.error[is],
                                   1);
        }
      }
      dz.e += p.stored * std::fabs(dz.v) + p.least;
      for (int64_t c = 0; c < p.d; ++c) {
        dq.add(qo + c, dz, p.k->value[ko + c], p.k->error[ko + c], p.attr.scale);
        dk.add(ko + c, dz, p.q->value[qo + c], p.q->error[qo + c], p.attr.scale);
        dv.add(ko + c, prob, grad_o.value[qo + c], grad_o.error[qo + c], 1);
      }
    }
  });
  double keys = reduction_growth(static_cast<double>(p.s));
  double queries = reduction_growth(static_cast<double>(p.t * (p.h / p.kv)));
  std::vector<BoundedData> out = {dq.finish((keys + 4) * p.u), dk.finish((queries + 4) * p.u),
                                  dv.finish((queries + 4) * p.u)};
  if (p.sinks)
    out.push_back(dsinks.finish((reduction_growth(static_cast<double>(p.b * p.t)) + 4) * p.u));
  double scores = reduction_growth(static_cast<double>(p.b * p.h * p.t) * static_cast<double>(p.s));
  for (size_t i = 0; i < captured.size(); ++i)
    if (p.attr.captured_grads >> i & 1) out.push_back(captured[i].finish((scores + 4) * p.u));
  return out;
}

}  // namespace fusec::oracle
