// Formulas of attention and its gradients in double, with bounds that follow from what a kernel may
// round: weights and score gradients to the stored type before the second product, results to the
// stored type, everything else in f32; and a check of the CUDA texts, run on the host, against
// them.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "operands.h"

namespace fusec::test {

constexpr double kInf = std::numeric_limits<double>::infinity();

struct Place {
  int64_t item, head, query, key;
};

// What the texts of shape.hook do, and what the tensors hold that they read.
struct HookFormulas {
  HookText text;
  std::vector<Values> captured;
  std::function<bool(const Place&)> seen = [](const Place&) { return true; };
  // Of the scaled, capped product, and its derivative by that.
  std::function<double(const Place&, double)> score = [](const Place&, double z) { return z; };
  std::function<double(const Place&, double)> slope = [](const Place&, double) { return 1.0; };
  // Of captured tensors that have a gradient: the element that is read, the derivative by it.
  struct Load {
    size_t captured;
    std::function<int64_t(const Place&)> element;
    std::function<double(const Place&, double)> slope;
  };
  std::vector<Load> loads = {};
};

struct Case {
  AttentionShape shape;
  std::vector<int> cu = {}, prefix = {};
  const HookFormulas* hook = nullptr;

  // A score a head beside those of the keys.
  double sink(int64_t head) const { return 0.5 * static_cast<double>(head) - 0.25; }
  int document(int64_t token) const {
    for (size_t i = 0; i + 1 < cu.size(); ++i)
      if (cu[i] <= token && token < cu[i + 1]) return static_cast<int>(i);
    return -1;
  }
  bool visible(int64_t item, int64_t head, int64_t i, int64_t j) const {
    return in_range(item, i, j) && (!hook || hook->seen({item, head, i, j}));
  }
  bool in_range(int64_t item, int64_t i, int64_t j) const {
    if (shape.prefix) {
      int doc = cu.empty() ? 0 : document(i);
      if (doc < 0 || (!cu.empty() && doc != document(j))) return false;
      if (cu.empty() ? j < prefix[item] : j - cu[doc] < prefix[doc]) return true;
    }
    int64_t place = shape.top_left ? i : i + shape.s - shape.t;
    if (shape.causal && j > place) return false;
    if (shape.window && (j <= place - shape.window || j >= place + shape.window)) return false;
    return cu.empty() || (document(i) >= 0 && document(i) == document(j));
  }
};

struct Sum {
  Values value, bound;
  explicit Sum(int64_t n) : value(n), bound(n) {}
  // A term that errs by the fraction r.
  void add(int64_t at, double term, double r) {
    value[at] += term;
    bound[at] += r * std::fabs(term);
  }
  // Rounded to u, or to half the distance of the type's smallest numbers.
  void store(double u, double least = 1e-30) {
    for (size_t i = 0; i < value.size(); ++i)
      bound[i] += u * (std::fabs(value[i]) + bound[i]) + least;
  }
};

struct Expected {
  Sum o, lse, dq, dk, dv, dsinks;
  std::vector<Sum> captured;
};

inline double stored_roundoff(DType t) { return t == bf16 ? 0x1p-8 : t == f16 ? 0x1p-11 : 0x1p-24; }

// o_given and lse_given: what attention_grad reads.
inline Expected formulas(const Case& c, const Values& q, const Values& k, const Values& v,
                         const Values& d_out, const Values& o_given, const Values& lse_given) {
  const AttentionShape& x = c.shape;
  int64_t n = x.b * x.t * x.h * x.d, m = x.b * x.s * x.kv * x.d, rows = x.b * x.h * x.t;
  Expected r{Sum(n), Sum(rows), Sum(n), Sum(m), Sum(m), Sum(x.h), {}};
  if (c.hook)
    for (const Values& v : c.hook->captured) r.captured.emplace_back(v.size());
  double scale = static_cast<float>(1 / std::sqrt(static_cast<double>(x.d)));
  double u = 0x1p-24, stored = x.type == f32 ? 0 : stored_roundoff(x.type);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t b = row / x.t / x.h, h = row / x.t % x.h, i = row % x.t;
    int64_t qi = ((b * x.t + i) * x.h + h) * x.d;
    auto kj = [&](int64_t j) { return ((b * x.s + j) * x.kv + h / (x.h / x.kv)) * x.d; };
    Values given_score(x.s), score(x.s), dp(x.s), dp_size(x.s);
    double sink = x.sinks ? c.sink(h) : -kInf;
    double total = std::exp(sink), top = 0, size = 0, delta = 0, delta_size = 0;
    if (x.sinks) top = std::fabs(sink);
    for (int64_t e = 0; e < x.d; ++e) {
      delta += d_out[qi + e] * o_given[qi + e];
      delta_size += std::fabs(d_out[qi + e] * o_given[qi + e]);
    }
    for (int64_t j = 0; j < x.s; ++j) {
      if (!c.visible(b, h, i, j)) continue;
      double products = 0;
      for (int64_t e = 0; e < x.d; ++e) {
        score[j] += q[qi + e] * k[kj(j) + e] * scale;
        products += std::fabs(q[qi + e] * k[kj(j) + e]) * scale;
        dp[j] += d_out[qi + e] * v[kj(j) + e];
        dp_size[j] += std::fabs(d_out[qi + e] * v[kj(j) + e]);
      }
      if (x.softcap) score[j] = x.softcap * std::tanh(score[j] / x.softcap);
      given_score[j] = score[j];
      if (c.hook) {
        const Place at = {b, h, i, j};
        score[j] = c.hook->score(at, score[j]);
        // What is added may cancel.
        top = std::max(top, std::fabs(score[j] - given_score[j]) + std::fabs(given_score[j]));
        products *= std::max(1.0, std::fabs(c.hook->slope(at, given_score[j])));
      }
      total += std::exp(score[j]);
      top = std::max(top, std::fabs(score[j])), size = std::max(size, products);
    }
    if (total == 0) {
      r.lse.value[row] = -kInf;
      continue;
    }
    double lse = std::log(total);
    // Of a weight: its score (d products, the cap's tanh), the maximum, exp2 and the sum.
    double weight = u * ((static_cast<double>(x.d) + 4) * size + 8 * x.softcap + 4 * top + 64);
    r.lse.value[row] = lse;
    r.lse.bound[row] = 2 * weight;
    if (x.sinks) {
      double share = std::exp(sink - lse_given[row]);
      double rows_sum = u * (static_cast<double>(x.b * x.t) + 8);
      r.dsinks.add(h, -share * delta, 2 * weight + rows_sum);
      r.dsinks.bound[h] += share * u * (static_cast<double>(x.d) + 8) * delta_size;
    }
    for (int64_t j = 0; j < x.s; ++j) {
      if (!c.visible(b, h, i, j)) continue;
      double p = std::exp(score[j] - lse), given = std::exp(score[j] - lse_given[row]);
      double cap = x.softcap ? 1 - std::pow(given_score[j] / x.softcap, 2) : 1;
      const Place at = {b, h, i, j};
      double hooked = c.hook ? c.hook->slope(at, given_score[j]) : 1;
      double d_score = given * (dp[j] - delta), ds = d_score * scale * cap * hooked;
      double d_noise = given * u * (static_cast<double>(x.d) + 8) * (dp_size[j] + delta_size);
      double noise = d_noise * scale * std::fabs(hooked);
      if (c.hook)
        for (const HookFormulas::Load& l : c.hook->loads) {
          double by = l.slope(at, given_score[j]);
          Sum& sum = r.captured[l.captured];
          sum.add(l.element(at), d_score * by, 2 * weight + 16 * u);
          sum.bound[l.element(at)] += d_noise * std::fabs(by) + 8 * u * std::fabs(d_score);
        }
      for (int64_t e = 0; e < x.d; ++e) {
        double f32_sum = u * (static_cast<double>(x.s) + 8);
        r.o.add(qi + e, p * v[kj(j) + e], stored + 2 * weight + f32_sum);
        r.dv.add(kj(j) + e, given * d_out[qi + e], stored + 2 * weight + f32_sum);
        r.dq.add(qi + e, ds * k[kj(j) + e], stored + 2 * weight + f32_sum);
        r.dk.add(kj(j) + e, ds * q[qi + e], stored + 2 * weight + f32_sum);
        // Near the cap 1 - tanh^2 cancels.
        double slope = x.softcap ? given * scale * std::fabs((dp[j] - delta) * hooked) * 64 * u : 0;
        // Small weights and gradients lose bits of f16, below its normal numbers.
        if (x.type == f16) {
          r.o.bound[qi + e] += 0x1p-25 * std::fabs(v[kj(j) + e]);
          r.dv.bound[kj(j) + e] += 0x1p-25 * std::fabs(d_out[qi + e]);
          r.dq.bound[qi + e] += 0x1p-25 * scale * std::fabs(k[kj(j) + e]);
          r.dk.bound[kj(j) + e] += 0x1p-25 * scale * std::fabs(q[qi + e]);
        }
        r.dq.bound[qi + e] += (noise + slope) * std::fabs(k[kj(j) + e]);
        r.dk.bound[kj(j) + e] += (noise + slope) * std::fabs(q[qi + e]);
      }
    }
  }
  for (Sum* s : {&r.o, &r.dq, &r.dk, &r.dv})
    s->store(stored_roundoff(x.type), x.type == f16 ? 0x1p-25 : 1e-30);
  r.dsinks.store(u);
  for (Sum& s : r.captured) s.store(u);
  return r;
}

inline Values scaled(Values x, double f) {
  for (double& e : x) e *= f;
  return x;
}

inline void check_one(const Case& c, const cuda::CallTarget& target) {
  const AttentionShape& x = c.shape;
  INFO("b " << x.b << " t " << x.t << " s " << x.s << " h " << x.h << " kv " << x.kv << " d " << x.d
            << " causal " << x.causal << " type " << std::string(name_of(x.type)) << " softcap "
            << x.softcap << " documents " << x.docs);
  int64_t n = x.b * x.t * x.h * x.d, m = x.b * x.s * x.kv * x.d, rows = x.b * x.h * x.t;
  // Scores of spread about 3, so that the softmax is far from uniform.
  Values q = scaled(random_values(n, 11), 4), k = scaled(random_values(m, 12), 2);
  Values v = random_values(m, 13), d_out = random_values(n, 14), cu(c.cu.begin(), c.cu.end());
  Values nan_q(n, NAN), nan_k(m, NAN), nan_rows(rows, NAN);

  std::vector<Operand> forward = {
      {q, x.type}, {k, x.type}, {v, x.type}, {nan_q, x.type}, {nan_rows, f32}};
  std::vector<Operand> options;
  Values prefix(c.prefix.begin(), c.prefix.end()), sinks;
  for (int64_t h = 0; h < x.h; ++h) sinks.push_back(c.sink(h));
  if (x.docs) options.push_back({cu, i32});
  if (x.prefix) options.push_back({prefix, i32});
  if (x.sinks) options.push_back({sinks, f32});
  if (c.hook)
    for (size_t i = 0; i < c.hook->captured.size(); ++i)
      options.push_back({c.hook->captured[i], c.hook->text.captured[i].dtype});
  forward.insert(forward.end(), options.begin(), options.end());
  std::vector<Values> got = run_text(x.forward(), forward, nullptr, false, target);
  Expected e = formulas(c, q, k, v, d_out, got[3], got[4]);
  check_within(got[3], e.o.value, e.o.bound, "o");
  check_within(got[4], e.lse.value, e.lse.bound, "lse");

  std::vector<Operand> grad = {{d_out, x.type}, {q, x.type},      {k, x.type},
                               {v, x.type},     {got[3], x.type}, {got[4], f32},
                               {nan_q, x.type}, {nan_k, x.type},  {nan_k, x.type}};
  if (x.sinks) grad.push_back({Values(x.h, NAN), f32});
  if (c.hook)
    for (size_t i = 0; i < c.hook->captured.size(); ++i)
      if (c.hook->text.grads >> i & 1)
        grad.push_back({Values(c.hook->captured[i].size(), NAN), f32});
  grad.insert(grad.end(), options.begin(), options.end());
  std::vector<Values> grads = run_text(x.grad(), grad, nullptr, false, target);
  check_within(grads[6], e.dq.value, e.dq.bound, "dq");
  check_within(grads[7], e.dk.value, e.dk.bound, "dk");
  check_within(grads[8], e.dv.value, e.dv.bound, "dv");
  if (x.sinks) check_within(grads[9], e.dsinks.value, e.dsinks.bound, "dsinks");
  size_t at = 9 + x.sinks;
  if (c.hook)
    for (size_t i = 0; i < c.hook->captured.size(); ++i)
      if (c.hook->text.grads >> i & 1)
        check_within(grads[at++], e.captured[i].value, e.captured[i].bound, "dcaptured");
}

inline cuda::CallTarget portable(int sm_count = 132) {
  cuda::CallTarget t;
  t.portable_attention = true, t.sm_count = sm_count;
  return t;
}

struct Targeted {
  Case c;
  cuda::CallTarget target = portable();
};

inline void check(const std::vector<Targeted>& cases) {
  Checks checks;
  for (const Targeted& t : cases)
    checks.add({{t.c.shape.forward(), t.target}, {t.c.shape.grad(), t.target}},
               [t] { check_one(t.c, t.target); });
  checks.run();
}

}  // namespace fusec::test
