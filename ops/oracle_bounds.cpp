// Walks a graph like the oracle, carrying (value, error) by the rules of tolerance.h. Values come
// from the oracle's own definitions; errors from a rule an op class:
//   moves      the same index map, applied to the errors (view, concat, gather)
//   pointwise  the op table's formula in Bounded arithmetic
//   sums       the op itself on magnitudes: sum(|x| + e) - sum(|x|) carries operand errors,
//              growth(n) u sum(|x| + e) is its own rounding
// Refuses what the oracle refuses.
#include "fusec/ops/bounds.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "fusec/ops/formula.h"
#include "fusec/ops/oracle.h"
#include "fusec/ops/tolerance.h"
#include "oracle_bounds.h"

namespace fusec {
namespace oracle {

using tolerance::Bounded;
using tolerance::kInf;

Data magnitudes(const BoundedData& x, bool with_error) {
  Data out = x.value;
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = std::fabs(out[i]) + (with_error ? x.error[i] : 0);
  return out;
}

double or_inf(double e) { return e >= 0 ? e : std::isnan(e) ? kInf : 0; }

namespace {

std::vector<Data> computed(const BoundedCall& call, const std::vector<const Data*>& in) {
  return compute({call.node, in, call.types});
}

std::vector<const Data*> values_of(const BoundedCall& call) {
  std::vector<const Data*> in;
  for (const BoundedData* d : call.in) in.push_back(&d->value);
  return in;
}

bool all_exact(const BoundedCall& call) {
  for (const BoundedData* d : call.in)
    for (double e : d->error)
      if (e != 0) return false;
  return true;
}

// True if every sum and product of these numbers below `most` is exact in u: all are multiples of
// 2^-6, and `most` leaves room for `bits` bits after the point.
bool on_grid(const BoundedCall& call, const Data& most, double u, int bits) {
  double limit = (u == 0x1p-24 ? 0x1p24 : 0x1p52) * std::ldexp(1.0, -bits);
  for (double m : most)
    if (!(m < limit)) return false;
  for (const BoundedData* d : call.in)
    for (double v : d->value)
      if (v * 64 != std::trunc(v * 64)) return false;
  return true;
}

BoundedData map(const BoundedCall& call) {
  Pointwise op = call.node.as<MapAttr>().op;
  const TensorType& type = call.node.results[0];
  BoundedData out{Data(numel(type.shape)), Data(numel(type.shape))};
  size_t arity = call.in.size();
  double u[3] = {};
  for (size_t k = 0; k < arity; ++k) u[k] = tolerance::unit_roundoff(call.types[k].dtype);
  // x - x and x == x compare a value with itself: its error is the same on both sides. A finite x
  // stays finite.
  bool itself = arity == 2 && call.node.inputs[0] == call.node.inputs[1] &&
                (op == Pointwise::sub || type.dtype == DType::b8);
  for (size_t i = 0; i < out.value.size(); ++i) {
    Bounded args[3];
    for (size_t k = 0; k < arity; ++k)
      args[k] = Bounded(call.in[k]->value[i], call.in[k]->error[i], u[k]);
    if (itself && args[0].e < kInf) args[0].e = args[1].e = 0;
    Bounded y = apply_formula(op, args);
    out.value[i] = y.v, out.error[i] = or_inf(y.e);
  }
  return out;
}

BoundedData cast(const BoundedCall& call) {
  DType to = call.node.as<CastAttr>().to;
  BoundedData out = *call.in[0];
  if (holds_floats(to)) return out;  // rounding to storage follows
  double low = 0, high = 0;
  if (to == DType::u8) high = 255;
  if (to == DType::i32) low = -0x1p31, high = 0x1p31 - 1;
  if (to == DType::i64) low = -0x1p53, high = 0x1p53;
  bool from_float = holds_floats(call.types[0].dtype);
  for (size_t i = 0; i < out.value.size(); ++i) {
    double &v = out.value[i], &e = out.error[i];
    if (to == DType::b8) {
      bool certain = e == 0 || std::fabs(v) > e;
      e = certain && !std::isnan(v) ? 0 : 1;
      v = v != 0 ? 1 : 0;
      continue;
    }
    double t = std::trunc(v);
    double below = std::trunc(v - e), above = std::trunc(v + e);
    bool inside = below >= low && above <= high;
    // An integer wraps to the narrower type; a float outside its range has no defined result.
    if (!inside && !from_float && e == 0 && std::fabs(t) < 0x1p53) {
      int64_t n = static_cast<int64_t>(t);
      v = to == DType::u8 ? static_cast<double>(static_cast<uint8_t>(n))
                          : static_cast<double>(static_cast<int32_t>(n));
      continue;
    }
    e = inside ? std::max(t - below, above - t) : kInf;
    v = inside ? t : 0;
  }
  return out;
}

BoundedData reduce(const BoundedCall& call) {
  const auto& attr = call.node.as<ReduceAttr>();
  DType type = call.types[0].dtype;
  BoundedData out{computed(call, values_of(call))[0], {}};
  if (attr.kind != ReduceKind::sum) {  // |max v' - max v| <= max |v' - v|
    Node widest = call.node;
    widest.attr = ReduceAttr{ReduceKind::max, attr.axes, attr.chunk};
    out.error = compute({widest, {&call.in[0]->error}, call.types})[0];
    for (size_t i = 0; i < out.value.size(); ++i)
      if (std::isnan(out.value[i])) out.error[i] = kInf;
    return out;
  }
  Data wide = magnitudes(*call.in[0], true);
  Data most = computed(call, {&wide})[0];
  double terms = static_cast<double>(call.in[0]->value.size()) /
                 static_cast<double>(std::max<size_t>(1, most.size()));
  if (attr.chunk > 0) terms = static_cast<double>(attr.chunk);
  double u = tolerance::unit_roundoff(type);
  bool exact = all_exact(call);
  if (exact && on_grid(call, most, is_float(type) ? u : 0x1p-52, 6)) {
    out.error.assign(out.value.size(), 0.0);
    return out;
  }
  out.error = exact ? Data(most.size(), 0.0) : computed(call, {&call.in[0]->error})[0];
  for (size_t i = 0; i < most.size(); ++i)
    out.error[i] = or_inf(out.error[i] + tolerance::reduction_growth(terms) * u * most[i]);
  return out;
}

BoundedData contract(const BoundedCall& call) {
  const BoundedData &a = *call.in[0], &b = *call.in[1];
  BoundedData out{computed(call, values_of(call))[0], {}};
  Data wide_a = magnitudes(a, true), wide_b = magnitudes(b, true);
  Data most = computed(call, {&wide_a, &wide_b})[0];
  double u = tolerance::unit_roundoff(call.types[0].dtype);
  out.error.assign(most.size(), 0.0);
  bool exact = all_exact(call);
  if (exact && on_grid(call, most, u, 12)) return out;
  Data least;
  if (!exact) {
    Data narrow_a = magnitudes(a, false), narrow_b = magnitudes(b, false);
    least = computed(call, {&narrow_a, &narrow_b})[0];
  }
  double terms = 1;
  const auto& attr = call.node.as<ContractAttr>();
  for (size_t s = 0; s < 2; ++s)
    for (size_t i = 0; i < call.types[s].shape.size(); ++i) {
      char c = (s == 0 ? attr.lhs : attr.rhs)[i];
      if (attr.out.find(c) == std::string::npos &&
          (s == 0 || attr.lhs.find(c) == std::string::npos))
        terms *= static_cast<double>(call.types[s].shape[i]);
    }
  // A label of one operand only is summed before the product and stored in the operand's type.
  double stored = 0;
  for (char c : attr.lhs + attr.rhs)
    if (attr.out.find(c) == std::string::npos &&
        (attr.lhs.find(c) == std::string::npos || attr.rhs.find(c) == std::string::npos))
      stored = 2 * tolerance::storage_roundoff(call.types[0].dtype);
  double own = tolerance::reduction_growth(terms + 1) * u + stored;
  for (size_t i = 0; i < most.size(); ++i) {
    double carried = exact ? 0 : std::max(0.0, most[i] - least[i]);
    out.error[i] = or_inf(std::isfinite(most[i]) ? carried + own * most[i] : kInf);
  }
  return out;
}

// Rows by index: an undecided index spoils its row.
BoundedData gather(const BoundedCall& call) {
  BoundedData out{computed(call, values_of(call))[0], {}};
  out.error = computed(call, {&call.in[0]->error, &call.in[1]->value})[0];
  size_t rows = call.in[1]->value.size(), width = rows ? out.value.size() / rows : 0;
  for (size_t i = 0; i < rows; ++i)
    if (call.in[1]->error[i] != 0)
      std::fill_n(out.error.begin() + static_cast<ptrdiff_t>(i * width), width, kInf);
  return out;
}

// Set moves rows; add is a sum that rounds to storage after each term.
BoundedData scatter(const BoundedCall& call) {
  BoundedData out{computed(call, values_of(call))[0], {}};
  out.error = computed(call, {&call.in[0]->error, &call.in[1]->value, &call.in[2]->error})[0];
  for (double e : call.in[1]->error)
    if (e != 0) out.error.assign(out.error.size(), kInf);
  DType type = call.types[0].dtype;
  if (call.node.as<ScatterAttr>().mode == ScatterMode::set || !is_float(type)) return out;
  Data wide_base = magnitudes(*call.in[0], true), wide = magnitudes(*call.in[2], true);
  Data most = computed(call, {&wide_base, &call.in[1]->value, &wide})[0];
  Data zero(wide_base.size(), 0.0), one(wide.size(), 1.0);
  Data terms = computed(call, {&zero, &call.in[1]->value, &one})[0];
  if (all_exact(call) && type != DType::bf16 && type != DType::f16 &&
      on_grid({call.node, {call.in[0], call.in[2]}, {}}, most, tolerance::unit_roundoff(type), 6))
    return out;
  for (size_t i = 0; i < most.size(); ++i)
    out.error[i] = or_inf(out.error[i] + tolerance::reduction_growth(terms[i]) *
                                             tolerance::storage_roundoff(type) * most[i]);
  return out;
}

// Running sums: element i is a sum of up to n terms, and keeps its type's rounding at the end.
BoundedData cumsum(const BoundedCall& call) {
  const auto& attr = call.node.as<CumsumAttr>();
  DType type = call.types[0].dtype;
  BoundedData out{computed(call, values_of(call))[0], {}};
  out.error = computed(call, {&call.in[0]->error})[0];
  if (!is_float(type)) return out;
  double u = tolerance::unit_roundoff(type);
  Data wide = magnitudes(*call.in[0], true);
  Data most = computed(call, {&wide})[0];
  if (all_exact(call) && on_grid(call, most, u, 6)) return out;
  double growth = tolerance::reduction_growth(static_cast<double>(call.types[0].shape[attr.axis]));
  for (size_t i = 0; i < most.size(); ++i)
    out.error[i] = or_inf(out.error[i] + growth * u * most[i]);
  return out;
}

// Values: the j-th largest moves by at most the largest error of the row. Indices: certain where
// the element is further from its neighbours in the order than both their errors, or all is exact.
std::vector<BoundedData> top_k(const BoundedCall& call) {
  std::vector<Data> made = computed(call, values_of(call));
  int64_t n = call.types[0].shape.back(), k = call.node.as<TopKAttr>().k;
  std::vector<BoundedData> out = {{made[0], Data(made[0].size(), 0.0)},
                                  {made[1], Data(made[1].size(), 0.0)}};
  const BoundedData& x = *call.in[0];
  for (size_t row = 0; n > 0 && row < x.value.size() / static_cast<size_t>(n); ++row) {
    auto first = x.error.begin() + static_cast<ptrdiff_t>(row * n);
    double worst = *std::max_element(first, first + n);
    if (worst == 0) continue;
    Data order(x.value.begin() + static_cast<ptrdiff_t>(row * n),
               x.value.begin() + static_cast<ptrdiff_t>((row + 1) * n));
    std::sort(order.begin(), order.end(), std::greater<>());
    for (int64_t j = 0; j < k; ++j) {
      bool apart = (j == 0 || order[j - 1] - order[j] > 2 * worst) &&
                   (j + 1 == n || order[j] - order[j + 1] > 2 * worst);
      out[0].error[row * k + j] = or_inf(worst);
      if (!apart) out[1].error[row * k + j] = kInf;
    }
  }
  return out;
}

BoundedData moved(const BoundedCall& call) {
  std::vector<const Data*> errors;
  for (const BoundedData* d : call.in) errors.push_back(&d->error);
  return {computed(call, values_of(call))[0], computed(call, errors)[0]};
}

// A class without a rule of its own: its values, and no claim about them.
std::vector<BoundedData> unbounded(const BoundedCall& call) {
  std::vector<BoundedData> out;
  for (Data& value : computed(call, values_of(call))) {
    Data error(value.size(), kInf);
    out.push_back({std::move(value), std::move(error)});
  }
  return out;
}

}  // namespace

std::vector<BoundedData> compute_bounded(const BoundedCall& call) {
  switch (call.node.kind) {
    case OpKind::map: return {map(call)};
    case OpKind::cast: return {cast(call)};
    case OpKind::reduce: return {reduce(call)};
    case OpKind::contract: return {contract(call)};
    case OpKind::view:
    case OpKind::concat: return {moved(call)};
    case OpKind::gather: return {gather(call)};
    case OpKind::scatter: return {scatter(call)};
    case OpKind::cumsum: return {cumsum(call)};
    case OpKind::top_k: return top_k(call);
    case OpKind::attention: return attention_bounded(call);
    case OpKind::attention_grad: return attention_grad_bounded(call);
    case OpKind::paged_attention: return {paged_attention_bounded(call)};
    case OpKind::input:
    case OpKind::parameter:
    case OpKind::state:
    case OpKind::constant:
    case OpKind::iota:
    case OpKind::assign:
    case OpKind::guard: break;
  }
  return unbounded(call);
}

}  // namespace oracle

void round_to_storage(BoundedData& x, DType type) {
  uint64_t word = 0;
  auto round = [&](double v) {
    store_from_double(&word, type, 0, v);
    return load_as_double(&word, type, 0);
  };
  if (is_integer(type)) {  // sums and products wrap; an interval that may wrap says nothing
    double low = type == DType::u8 ? 0 : type == DType::i32 ? -0x1p31 : -0x1p53;
    double high = type == DType::u8 ? 255 : type == DType::i32 ? 0x1p31 - 1 : 0x1p53;
    for (size_t i = 0; i < x.value.size(); ++i) {
      double &v = x.value[i], &e = x.error[i];
      if (v - e >= low && v + e <= high) continue;
      if (e == 0 && std::fabs(v) < 0x1p53 && type != DType::i64)
        v = type == DType::u8 ? static_cast<double>(static_cast<uint8_t>(static_cast<int64_t>(v)))
                              : static_cast<double>(static_cast<int32_t>(static_cast<int64_t>(v)));
      else
        v = 0, e = tolerance::kInf;
    }
    return;
  }
  if (!holds_floats(type) || type == DType::f64) return;
  double largest = type == DType::f16 ? 65504 : 3.38e38;
  for (size_t i = 0; i < x.value.size(); ++i) {
    double &v = x.value[i], &e = x.error[i];
    if (std::isinf(v) && e == 0) {
      v = round(v);  // of f8e4m3 the largest number
      continue;
    }
    if (!(std::fabs(v) + e <= largest)) {
      e = tolerance::kInf;
      v = round(v);
      continue;
    }
    double r = round(v), wider = e * (1 + 0x1p-40);
    e = std::max(round(v + wider) - r, r - round(v - wider));
    if (e > 0 || std::fabs(v) < tolerance::kSmallestNormal)
      e = std::max(e, v == 0 && e == 0 ? 0.0 : tolerance::kSmallestNormal);
    v = r;
  }
}

BoundedData exactly(std::vector<double> values) {
  BoundedData out{std::move(values), {}};
  out.error.assign(out.value.size(), 0.0);
  return out;
}

std::vector<BoundedData> evaluate_bounded(const Graph& graph, const BoundedFeeds& feeds,
                                          const std::vector<Tensor>& wanted,
                                          BoundedFeeds* assigned) {
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<bool> needed(nodes.size(), false);
  for (const Tensor& t : wanted) needed[t.value().node] = true;
  for (size_t i = nodes.size(); i-- > 0;) {
    if (nodes[i].kind == OpKind::assign && assigned) needed[nodes[i].inputs[1].node] = true;
    if (!needed[i]) continue;
    for (Value v : nodes[i].inputs) needed[v.node] = true;
  }
  std::vector<std::vector<BoundedData>> values(nodes.size());
  auto value = [&](Value v) -> const BoundedData& { return values[v.node][v.result]; };
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    if (n.kind == OpKind::assign && assigned)
      (*assigned)[n.as<NameAttr>().name] = value(n.inputs[1]);
    if (!needed[i]) continue;
    if (n.kind == OpKind::input || n.kind == OpKind::parameter || n.kind == OpKind::state) {
      const std::string& name = n.as<NameAttr>().name;
      auto it = feeds.find(name);
      if (it == feeds.end() && n.kind != OpKind::state)
        fail_user("oracle: " + std::string(name_of(n.kind)) + " \"" + name + "\" was not fed",
                  n.loc);
      values[i] = {it == feeds.end() ? exactly(oracle::Data(numel(n.results[0].shape), 0.0))
                                     : it->second};
      continue;
    }
    if (n.inputs.empty()) {  // constants and iotas are what their types can hold
      Tensor leaf(const_cast<Graph*>(&graph), {static_cast<int32_t>(i), 0});
      values[i] = {exactly(evaluate(graph, {}, {leaf}, {.round_storage = true})[0])};
      continue;
    }
    oracle::BoundedCall call{n, {}, {}};
    for (Value v : n.inputs) {
      call.in.push_back(&value(v));
      call.types.push_back(graph.type(v));
    }
    values[i] = oracle::compute_bounded(call);
    for (size_t r = 0; r < values[i].size(); ++r)
      round_to_storage(values[i][r], n.results[r].dtype);
  }
  std::vector<BoundedData> out;
  for (const Tensor& t : wanted) out.push_back(value(t.value()));
  return out;
}

Agreement compare(const std::vector<double>& got, const BoundedData& expected) {
  Agreement out;
  if (got.size() != expected.value.size())
    fail_internal("compare: expected " + std::to_string(expected.value.size()) +
                  " elements, found " + std::to_string(got.size()));
  double scale = 0;
  for (size_t i = 0; i < got.size(); ++i)
    if (std::isfinite(expected.value[i]) && std::isfinite(expected.error[i]))
      scale = std::max(scale, std::fabs(expected.value[i]));
  for (size_t i = 0; i < got.size(); ++i) {
    double v = expected.value[i], e = expected.error[i];
    if (!(e < tolerance::kInf)) {
      ++out.excluded;
      continue;
    }
    ++(e > 0.25 * scale && e > 1e-30 ? out.excluded : out.elements);
    bool same = std::isnan(v)   ? std::isnan(got[i])
                : std::isinf(v) ? got[i] == v
                                : std::fabs(got[i] - v) <= e;
    if (same) continue;
    if (out.wrong++ == 0)
      out.first = static_cast<int64_t>(i), out.got = got[i], out.expected = v, out.allowed = e;
  }
  return out;
}

}  // namespace fusec
