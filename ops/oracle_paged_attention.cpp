// paged_attention from its formulas, every score on its own: its values, and the bounds of what a
// device may compute. Bounds follow oracle_attention_bounds.cpp: a score is a dot product with its
// own error, a weight exp(s - lse) has the relative error that its score and the sum leave, and is
// rounded to 16 bits before the second product where q is. Parts of the keys that are joined later
// rescale once more.
//
// 8-bit pages beside 16-bit q: both products may run in f16, exact for the elements of the pages.
// Then a head of q is scaled by a power of two that puts its largest element into [2^15, 2^16), so
// that half a unit of f16's least numbers, 2^-25, is at most 2^-40 of it. Weights times v_scale are
// scaled to at most 2^13 for the largest scale that a warp has met, 1 to 2 of whose power of two:
// 2^-25 is at most 2^-38 of that scale.
#include <algorithm>
#include <cmath>

#include "fusec/ops/tolerance.h"
#include "oracle_bounds.h"

namespace fusec::oracle {
namespace {

using tolerance::Bounded;
using tolerance::reduction_growth;

// Where queries and keys lie. `operand(i)`: the value of operand i.
struct Pages {
  PagedAttentionAttr attr;
  int64_t tokens, h, d, pages, page_size, kv, b, max_pages;
  const Data &table, &lengths;
  const Data* cu_q = nullptr;
  SourceLoc loc;

  template <class Operand>
  Pages(const Node& node, const std::vector<TensorType>& types, Operand operand)
      : attr(node.as<PagedAttentionAttr>()), table(operand(3)), lengths(operand(4)), loc(node.loc) {
    const Shape &q = types[0].shape, &k = types[1].shape;
    tokens = q[0], h = q[1], d = q[2], pages = k[0], page_size = k[1], kv = k[2];
    b = types[3].shape[0], max_pages = types[3].shape[1];
    if (attr.cu_q) cu_q = &operand(5);
    for (int64_t i = 0; i < b; ++i)
      need(lengths[i] >= 0 && length(i) <= max_pages * page_size,
           "lengths[" + std::to_string(i) + "]", lengths[i],
           "0 to " + std::to_string(max_pages * page_size));
    for (int64_t i = 0; cu_q && i <= b; ++i)
      need((*cu_q)[i] >= (i ? (*cu_q)[i - 1] : 0) && (*cu_q)[i] <= static_cast<double>(tokens) &&
               (i > 0 || cu_q->front() == 0),
           "cu_q[" + std::to_string(i) + "]", (*cu_q)[i],
           "values that start at 0, never fall and stay within the " + std::to_string(tokens) +
               " tokens");
  }

  int64_t length(int64_t i) const { return static_cast<int64_t>(lengths[i]); }
  int64_t start(int64_t i) const { return cu_q ? static_cast<int64_t>((*cu_q)[i]) : i; }

  // f(sequence, token, first key, one past the last key), of every query that sees a key.
  template <class F>
  void for_each_query(F f) const {
    for (int64_t i = 0; i < b; ++i)
      for (int64_t t = start(i); t < start(i + 1); ++t) {
        int64_t end = length(i) - start(i + 1) + t + 1;
        int64_t first = attr.window > 0 ? std::max<int64_t>(0, end - attr.window) : 0;
        if (first < end) f(i, t, first, end);
      }
  }
  // Number of a key's row among the rows of all pages.
  int64_t row(int64_t sequence, int64_t key) const {
    double page = table[sequence * max_pages + key / page_size];
    need(page >= 0 && page < static_cast<double>(pages),
         "page_table[" + std::to_string(sequence) + ", " + std::to_string(key / page_size) + "]",
         page, "0 to " + std::to_string(pages - 1) + ", a page");
    return static_cast<int64_t>(page) * page_size + key % page_size;
  }
  int64_t key(int64_t row, int64_t head) const { return (row * kv + head / (h / kv)) * d; }

 private:
  void need(bool ok, const std::string& what, double found, const std::string& expected) const {
    if (ok) return;
    fail_user("paged_attention: " + what + " is " + std::to_string(static_cast<int64_t>(found)) +
                  "; expected " + expected,
              loc);
  }
};

constexpr double kQueryLoss = 0x1p-40, kWeightLoss = 0x1p-38;  // of f16 beside 8-bit pages

double zero_of(DType pages) { return pages == DType::u8 ? 128 : 0; }

// What an element of the pages stands for.
Data widened(const Data& pages, const Data& scale, int64_t d, double zero) {
  Data out(pages.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = (pages[i] - zero) * scale[i / static_cast<size_t>(d)];
  return out;
}
BoundedData widened(const BoundedData& pages, const BoundedData& scale, int64_t d, double zero,
                    double u) {
  BoundedData out{Data(pages.value.size()), Data(pages.value.size())};
  for (size_t i = 0; i < out.value.size(); ++i) {
    size_t at = i / static_cast<size_t>(d);
    Bounded x = (Bounded(pages.value[i], pages.error[i], u) - Bounded(zero)) *
                Bounded(scale.value[at], scale.error[at], u);
    out.value[i] = x.v, out.error[i] = x.e;
  }
  return out;
}

}  // namespace

Data paged_attention(const Call& call) {
  Pages p(call.node, call.types, [&](size_t i) -> const Data& { return *call.in[i]; });
  Data wide[2];
  if (p.attr.scales)
    for (size_t i : {0, 1})
      wide[i] = widened(*call.in[1 + i], *call.in[5 + p.attr.cu_q + i], p.d,
                        zero_of(call.types[1].dtype));
  const Data &q = *call.in[0], &k = p.attr.scales ? wide[0] : *call.in[1];
  const Data& v = p.attr.scales ? wide[1] : *call.in[2];
  Data o(q.size(), 0.0);
  p.for_each_query([&](int64_t i, int64_t t, int64_t first, int64_t end) {
    std::vector<int64_t> rows;
    for (int64_t j = first; j < end; ++j) rows.push_back(p.row(i, j));
    for (int64_t head = 0; head < p.h; ++head) {
      int64_t at = (t * p.h + head) * p.d;
      Data score;
      for (int64_t row : rows) {
        double z = 0;
        for (int64_t c = 0; c < p.d; ++c) z += q[at + c] * k[p.key(row, head) + c];
        z *= p.attr.scale;
        score.push_back(p.attr.softcap != 0 ? p.attr.softcap * std::tanh(z / p.attr.softcap) : z);
      }
      double top = *std::max_element(score.begin(), score.end()), total = 0;
      for (double s : score) total += std::exp(s - top);
      for (size_t j = 0; j < rows.size(); ++j)
        for (int64_t c = 0; c < p.d; ++c)
          o[at + c] += std::exp(score[j] - top) / total * v[p.key(rows[j], head) + c];
    }
  });
  return o;
}

BoundedData paged_attention_bounded(const BoundedCall& call) {
  Pages p(call.node, call.types, [&](size_t i) -> const Data& { return call.in[i]->value; });
  const BoundedData& q = *call.in[0];
  BoundedData o{Data(q.value.size(), 0.0), Data(q.value.size(), 0.0)};
  for (size_t i = 3; i < size_t{5} + p.attr.cu_q; ++i)
    for (double e : call.in[i]->error)
      if (e != 0) {  // which keys are seen is in doubt
        o.error.assign(o.error.size(), tolerance::kInf);
        return o;
      }
  DType type = call.types[0].dtype;
  double u = tolerance::unit_roundoff(type);
  double stored = type == DType::f32 ? 0 : tolerance::storage_roundoff(type);
  double least = stored > 0 ? tolerance::storage_underflow(type) : tolerance::kSmallestNormal;
  BoundedData wide[2];
  if (p.attr.scales)
    for (size_t i : {0, 1})
      wide[i] = widened(*call.in[1 + i], *call.in[5 + p.attr.cu_q + i], p.d,
                        zero_of(call.types[1].dtype), u);
  const BoundedData& k = p.attr.scales ? wide[0] : *call.in[1];
  const BoundedData& v = p.attr.scales ? wide[1] : *call.in[2];
  const bool halves = p.attr.scales && type != DType::f32;
  const Data* v_scale = halves ? &call.in[6 + p.attr.cu_q]->value : nullptr;
  p.for_each_query([&](int64_t i, int64_t t, int64_t first, int64_t end) {
    std::vector<int64_t> rows;
    for (int64_t j = first; j < end; ++j) rows.push_back(p.row(i, j));
    double keys = reduction_growth(static_cast<double>(rows.size() + 1));
    double products = (reduction_growth(static_cast<double>(p.d) + 1) + 2) * u;
    for (int64_t head = 0; head < p.h; ++head) {
      int64_t at = (t * p.h + head) * p.d;
      double lost = 0, scale = 0x1p-100;  // of an element of q; the largest v_scale
      for (int64_t c = 0; halves && c < p.d; ++c)
        lost = std::max(lost, kQueryLoss * (std::fabs(q.value[at + c]) + q.error[at + c]));
      for (int64_t j = 0; halves && j < p.length(i); ++j)
        if (double page = p.table[i * p.max_pages + j / p.page_size];
            page >= 0 && page < static_cast<double>(p.pages))
          scale = std::max(scale, std::fabs((*v_scale)[p.key(p.row(i, j), head) / p.d]));
      std::vector<Bounded> score;
      double top = -INFINITY, worst = 0, total = 0;
      for (int64_t row : rows) {
        double value = 0, most = 0, narrow = 0;
        for (int64_t c = 0, ko = p.key(row, head); c < p.d; ++c) {
          double x = q.value[at + c], y = k.value[ko + c];
          value += x * y;
          narrow += std::fabs(x * y);
          most += (std::fabs(x) + q.error[at + c] + lost) * (std::fabs(y) + k.error[ko + c]);
        }
        Bounded z =
            Bounded(value, or_inf(most - narrow + products * most), u) * Bounded(p.attr.scale);
        if (p.attr.softcap != 0) z = Bounded(p.attr.softcap) * tanh(z / Bounded(p.attr.softcap));
        score.push_back(z);
        top = std::max(top, z.v), worst = std::max(worst, z.e);
      }
      for (const Bounded& s : score) total += std::exp(s.v - top);
      double log_sum = top + std::log(total);
      double lse_error = or_inf(worst + u * (keys + 32 + std::fabs(top) + std::fabs(log_sum)));
      Data most(p.d, 0.0);
      for (size_t j = 0; j < rows.size(); ++j) {
        double gap = score[j].v - log_sum, weight = std::exp(gap);
        double r = std::expm1(score[j].e + lse_error + u * (std::fabs(gap) + keys + 32)) + stored;
        double e = or_inf(weight * r) + least;
        for (int64_t c = 0, vo = p.key(rows[j], head); c < p.d; ++c) {
          double x = v.value[vo + c], larger = (weight + e) * (std::fabs(x) + v.error[vo + c]);
          if (halves)
            larger += kWeightLoss * scale *
                      std::fabs(call.in[2]->value[vo + c] - zero_of(call.types[1].dtype));
          o.value[at + c] += weight * x;
          o.error[at + c] += or_inf(larger - std::fabs(weight * x));
          most[c] += larger;
        }
      }
      for (int64_t c = 0; c < p.d; ++c)
        o.error[at + c] = or_inf(o.error[at + c] + (keys + 16) * u * most[c]);
    }
  });
  return o;
}

}  // namespace fusec::oracle
