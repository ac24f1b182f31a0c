// The DSL functions of ops.h: normalise axes, insert the broadcasts, append the node.
#include "fusec/ops/ops.h"

#include <cmath>
#include <cstdio>

#include <algorithm>

#include "record_hook.h"

namespace fusec {
namespace {

Shape broadcast_shape(const Shape& a, const Shape& b, const std::string& op, SourceLoc loc) {
  Shape out(std::max(a.size(), b.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t x = i < a.size() ? a[a.size() - 1 - i] : 1;
    int64_t y = i < b.size() ? b[b.size() - 1 - i] : 1;
    if (x != y && x != 1 && y != 1)
      fail_user(op + ": shapes " + str(a) + " and " + str(b) +
                    " do not broadcast: expected equal sizes or 1, found " + std::to_string(x) +
                    " and " + std::to_string(y) + " (counted from the right, axis " +
                    std::to_string(i) + ")",
                loc);
    out[out.size() - 1 - i] = x == 1 ? y : x;
  }
  return out;
}

std::vector<int64_t> normal_axes(std::vector<int64_t> axes, int64_t rank, const std::string& op,
                                 SourceLoc loc) {
  for (int64_t& a : axes) {
    if (a < -rank || a >= rank)
      fail_user(op + ": axis " + std::to_string(a) + " of a tensor of rank " + std::to_string(rank),
                loc);
    if (a < 0) a += rank;
  }
  std::sort(axes.begin(), axes.end());
  auto twice = std::adjacent_find(axes.begin(), axes.end());
  if (twice != axes.end())
    fail_user(op + ": axis " + std::to_string(*twice) + " of a tensor of rank " +
                  std::to_string(rank) + " is named twice",
              loc);
  return axes;
}

int64_t normal_axis(int64_t axis, int64_t rank, const std::string& op, SourceLoc loc) {
  return normal_axes({axis}, rank, op, loc)[0];
}

Tensor view(const At& x, ViewAttr attr) {
  return x.tensor.graph().append(OpKind::view, std::move(attr), {x.tensor.value()}, x.loc);
}

Tensor broadcast(const At& x, const Shape& shape, const std::string& op) {
  if (x.tensor.shape() == shape) return x.tensor;
  const Shape& s = x.tensor.shape();
  if (broadcast_shape(s, shape, op, x.loc) != shape)
    fail_user(op + ": cannot broadcast " + str(s) + " to " + str(shape), x.loc);
  std::vector<int64_t> dims(shape.size(), -1);
  for (size_t i = 0; i < s.size(); ++i) dims[shape.size() - s.size() + i] = static_cast<int64_t>(i);
  return view(x, {ViewKind::broadcast, shape, std::move(dims), {}, {}});
}

Tensor reduce(ReduceKind kind, const At& x, std::vector<int64_t> axes, bool keep_dims) {
  std::string name(name_of(kind));
  axes = normal_axes(std::move(axes), x.tensor.rank(), name, x.loc);
  Shape kept = x.tensor.shape();
  for (int64_t a : axes) kept[a] = 1;
  Tensor y = axes.empty() ? x.tensor
                          : x.tensor.graph().append(OpKind::reduce, ReduceAttr{kind, axes},
                                                    {x.tensor.value()}, x.loc);
  return keep_dims ? reshape(At(y, x.loc), kept) : y;
}

void same_graph(const std::vector<Tensor>& operands, const std::string& op, SourceLoc loc) {
  for (const Tensor& t : operands) {
    if (!t.defined()) fail_user(op + ": an operand is an undefined Tensor", loc);
    if (&t.graph() != &operands[0].graph())
      fail_user(op + ": operands belong to two graphs; record them in one", loc);
  }
}

}  // namespace

Tensor pointwise(Pointwise op, std::vector<Tensor> operands, SourceLoc loc) {
  std::string name(name_of(op));
  same_graph(operands, name, loc);
  Shape shape = operands[0].shape();
  for (size_t i = 1; i < operands.size(); ++i)
    shape = broadcast_shape(shape, operands[i].shape(), name, loc);
  std::vector<Value> values;
  for (const Tensor& t : operands) values.push_back(broadcast(At(t, loc), shape, name).value());
  return operands[0].graph().append(OpKind::map, MapAttr{op}, std::move(values), loc);
}

// Powers that need no pow: numbers with a simpler op. An undefined Tensor for all others.
static Tensor simple_power(const At& x, double exponent) {
  auto unary = [&](Pointwise op) { return pointwise(op, {x.tensor}, x.loc); };
  if (exponent == 1) return x.tensor;
  if (exponent == 2) return unary(Pointwise::square);
  if (exponent == 3) return At(unary(Pointwise::square), x.loc) * x.tensor;
  if (exponent == -1) return unary(Pointwise::reciprocal);
  if (exponent == 0.5) return unary(Pointwise::sqrt);
  if (exponent == -0.5) return unary(Pointwise::rsqrt);
  return {};
}

// The number as a scalar of type `t`, if that holds it.
static Tensor number_beside(Pointwise op, double v, Graph& graph, DType t, SourceLoc loc) {
  double low = 0, high = 1;  // b8
  if (t == DType::u8) high = 255;
  if (t == DType::i32) low = -0x1p31, high = 0x1p31 - 1;
  if (t == DType::i64) low = -0x1p63, high = 0x1p63;
  if (!holds_floats(t) && !(std::trunc(v) == v && v >= low && v <= high)) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", v);
    fail_user(std::string(name_of(op)) + ": the number " + text + " is no " +
                  std::string(name_of(t)) + ", the type of the tensor beside it; cast() that first",
              loc);
  }
  return graph.splat(v, {}, t, loc);
}

Tensor pointwise(Pointwise op, const At& a, const Operand& b) {
  if (!a.tensor.defined())
    fail_user(std::string(name_of(op)) + ": the left operand is an undefined Tensor", a.loc);
  if (!b.is_number) {
    if (!b.tensor.defined())
      fail_user(std::string(name_of(op)) + ": the right operand is an undefined Tensor", a.loc);
    return pointwise(op, {a.tensor, b.tensor}, a.loc);
  }
  if (op == Pointwise::pow)
    if (Tensor simple = simple_power(a, b.number); simple.defined()) return simple;
  Tensor rhs = number_beside(op, b.number, a.tensor.graph(), a.tensor.dtype(), a.loc);
  return pointwise(op, {a.tensor, rhs}, a.loc);
}

Tensor pointwise(Pointwise op, const At& a, const Operand& b, const Operand& c) {
  if (!a.tensor.defined())
    fail_user(std::string(name_of(op)) + ": the first operand is an undefined Tensor", a.loc);
  for (const Operand* x : {&b, &c})
    if (!x->is_number && !x->tensor.defined())
      fail_user(std::string(name_of(op)) + ": an operand is an undefined Tensor", a.loc);
  DType t = !b.is_number ? b.tensor.dtype() : !c.is_number ? c.tensor.dtype() : DType::f32;
  auto tensor = [&](const Operand& x) {
    return x.is_number ? number_beside(op, x.number, a.tensor.graph(), t, a.loc) : x.tensor;
  };
  return pointwise(op, {a.tensor, tensor(b), tensor(c)}, a.loc);
}

Tensor pointwise(Pointwise op, double a, const At& b) {
  if (!b.tensor.defined())
    fail_user(std::string(name_of(op)) + ": the right operand is an undefined Tensor", b.loc);
  Tensor lhs = number_beside(op, a, b.tensor.graph(), b.tensor.dtype(), b.loc);
  return pointwise(op, {lhs, b.tensor}, b.loc);
}

Tensor cast(At x, DType to) {
  if (x.tensor.dtype() == to) return x.tensor;
  return x.tensor.graph().append(OpKind::cast, CastAttr{to}, {x.tensor.value()}, x.loc);
}

Tensor stop_gradient(At x) {
  return x.tensor.graph().append(OpKind::cast, CastAttr{x.tensor.dtype(), true}, {x.tensor.value()},
                                 x.loc);
}

Tensor reshape(At x, Shape shape) {
  int64_t known = 1, hole = -1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1 && hole < 0)
      hole = static_cast<int64_t>(i);
    else
      known *= shape[i];
  }
  if (hole >= 0) {
    if (known == 0 || numel(x.tensor.shape()) % known != 0)
      fail_user("reshape: " + x.tensor.type().str() + " does not divide into " + str(shape), x.loc);
    shape[hole] = numel(x.tensor.shape()) / known;
  }
  if (shape == x.tensor.shape()) return x.tensor;
  return view(x, {ViewKind::reshape, std::move(shape), {}, {}, {}});
}

Tensor permute(At x, std::vector<int64_t> axes) {
  Shape shape;
  for (int64_t& a : axes) {
    a = normal_axis(a, x.tensor.rank(), "permute", x.loc);
    shape.push_back(x.tensor.shape()[a]);
  }
  return view(x, {ViewKind::permute, std::move(shape), std::move(axes), {}, {}});
}

Tensor transpose(At x, int64_t a, int64_t b) {
  a = normal_axis(a, x.tensor.rank(), "transpose", x.loc);
  b = normal_axis(b, x.tensor.rank(), "transpose", x.loc);
  std::vector<int64_t> axes(x.tensor.rank());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  std::swap(axes[a], axes[b]);
  return permute(x, std::move(axes));
}

Tensor broadcast_to(At x, Shape shape) { return broadcast(x, shape, "broadcast_to"); }

Tensor unsqueeze(At x, int64_t axis) {
  axis = normal_axis(axis, x.tensor.rank() + 1, "unsqueeze", x.loc);
  Shape shape = x.tensor.shape();
  shape.insert(shape.begin() + axis, 1);
  return reshape(x, std::move(shape));
}

Tensor slice(At x, int64_t axis, int64_t start, int64_t count, int64_t step) {
  axis = normal_axis(axis, x.tensor.rank(), "slice", x.loc);
  if (start < 0) start += x.tensor.shape()[axis];
  ViewAttr a{ViewKind::slice, x.tensor.shape(), {}, {}, {}};
  a.start.assign(a.shape.size(), 0);
  a.step.assign(a.shape.size(), 1);
  a.shape[axis] = count;
  a.start[axis] = start;
  a.step[axis] = step;
  return view(x, std::move(a));
}

Tensor flip(At x, int64_t axis) {
  axis = normal_axis(axis, x.tensor.rank(), "flip", x.loc);
  int64_t n = x.tensor.shape()[axis];
  return n == 0 ? x.tensor : slice(x, axis, n - 1, n, -1);
}

Tensor concat(std::vector<Tensor> parts, int64_t axis, const std::source_location& where) {
  if (parts.empty()) fail_user("concat: expected at least one part, found none", where);
  SourceLoc loc = user_place(where);
  same_graph(parts, "concat", loc);
  axis = normal_axis(axis, parts[0].rank(), "concat", loc);
  if (parts.size() == 1) return parts[0];
  std::vector<Value> values;
  for (const Tensor& t : parts) values.push_back(t.value());
  return parts[0].graph().append(OpKind::concat, ConcatAttr{axis}, std::move(values), loc);
}

Tensor sum(At x, const Axes& axes, bool keep) {
  return reduce(ReduceKind::sum, x, axes.list(), keep);
}
Tensor max(At x, const Axes& axes, bool keep) {
  return reduce(ReduceKind::max, x, axes.list(), keep);
}
Tensor min(At x, const Axes& axes, bool keep) {
  return reduce(ReduceKind::min, x, axes.list(), keep);
}

static std::vector<int64_t> all_axes(const At& x) {
  std::vector<int64_t> axes(x.tensor.rank());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  return axes;
}

Tensor sum(At x) { return reduce(ReduceKind::sum, x, all_axes(x), false); }
Tensor max(At x) { return reduce(ReduceKind::max, x, all_axes(x), false); }
Tensor min(At x) { return reduce(ReduceKind::min, x, all_axes(x), false); }
Tensor mean(At x) { return mean(x, all_axes(x), false); }

Tensor mean(At x, const Axes& axes, bool keep) {
  if (!is_float(x.tensor.dtype()))
    fail_user("mean: expected float, found " + x.tensor.type().str() + "; cast() it first", x.loc);
  int64_t before = numel(x.tensor.shape());
  Tensor s = reduce(ReduceKind::sum, x, axes.list(), keep);
  int64_t after = numel(s.shape());
  if (before == 0)
    fail_user("mean: expected a non-empty range, found " + x.tensor.type().str(), x.loc);
  return At(s, x.loc) * (static_cast<double>(after) / static_cast<double>(before));
}

Tensor einsum(std::string_view labels, At a, const Tensor& b) {
  size_t comma = labels.find(','), arrow = labels.find("->");
  if (comma == std::string_view::npos || arrow == std::string_view::npos || comma > arrow)
    fail_user("einsum: expected labels like \"mk,nk->mn\", found \"" + std::string(labels) + "\"",
              a.loc);
  same_graph({a.tensor, b}, "einsum", a.loc);
  ContractAttr attr{std::string(labels.substr(0, comma)),
                    std::string(labels.substr(comma + 1, arrow - comma - 1)),
                    std::string(labels.substr(arrow + 2))};
  return a.tensor.graph().append(OpKind::contract, attr, {a.tensor.value(), b.value()}, a.loc);
}

Tensor linear(At x, const Tensor& weight, const std::optional<Tensor>& bias) {
  const Shape& s = x.tensor.shape();
  if (s.empty() || weight.rank() != 2 || weight.size(1) != s.back())
    fail_user("linear: expected x [..., in] and weight [out, in], found " + x.tensor.type().str() +
                  " and " + weight.type().str(),
              x.loc);
  Tensor rows = reshape(x, {-1, s.back()});
  Tensor y = einsum("mk,nk->mn", At(rows, x.loc), weight);
  Shape out = s;
  out.back() = weight.size(0);
  y = reshape(At(y, x.loc), out);
  return bias && bias->defined() ? At(y, x.loc) + *bias : y;
}

Tensor matmul(At a, const Tensor& b) {
  int64_t r = a.tensor.rank();
  if (r < 2 || b.rank() != r || r > 20)
    fail_user("matmul: expected a [..., m, k] and b [..., k, n] of one rank >= 2, found " +
                  a.tensor.type().str() + " and " + b.type().str(),
              a.loc);
  if (a.tensor.size(-1) != b.size(-2))
    fail_user("matmul: the inner sizes of " + a.tensor.type().str() + " and " + b.type().str() +
                  " differ: expected a [..., m, k] x b [..., k, n]; transpose() the second?",
              a.loc);
  std::string lead;
  for (int64_t i = 0; i + 2 < r; ++i) lead += static_cast<char>('a' + i);
  return einsum(lead + "xy," + lead + "yz->" + lead + "xz", a, b);
}

Tensor gather(At table, const Tensor& index) {
  same_graph({table.tensor, index}, "gather", table.loc);
  return table.tensor.graph().append(OpKind::gather, {}, {table.tensor.value(), index.value()},
                                     table.loc);
}

static Tensor scatter_rows(At base, const Tensor& index, const Tensor& updates, ScatterMode mode) {
  same_graph({base.tensor, index, updates}, "scatter", base.loc);
  return base.tensor.graph().append(OpKind::scatter, ScatterAttr{mode},
                                    {base.tensor.value(), index.value(), updates.value()},
                                    base.loc);
}

Tensor scatter(At base, const Tensor& index, const Tensor& updates) {
  return scatter_rows(base, index, updates, ScatterMode::set);
}
Tensor scatter_add(At base, const Tensor& index, const Tensor& updates) {
  return scatter_rows(base, index, updates, ScatterMode::add);
}

Tensor flat_index(At index, const Shape& shape, int64_t axis) {
  CallSite here(index);
  int64_t rank = static_cast<int64_t>(shape.size());
  axis = normal_axis(axis, rank, "flat_index", index.loc);
  Shape expected = shape;
  if (index.tensor.rank() == rank) expected[axis] = index.tensor.shape()[axis];
  if (index.tensor.shape() != expected ||
      (index.tensor.dtype() != DType::i32 && index.tensor.dtype() != DType::i64))
    fail_user("index along axis " + std::to_string(axis) + ": expected i32 or i64 " +
                  str(expected) + " (free along that axis), found " + index.tensor.type().str(),
              index.loc);
  Graph& g = index.tensor.graph();
  DType type = numel(shape) < (int64_t{1} << 31) ? DType::i32 : DType::i64;
  Shape strides = row_major_strides(shape);
  Tensor picked = cast(index, type);
  Tensor flat = picked * static_cast<double>(strides[axis]);
  for (int64_t d = 0; d < rank; ++d)
    if (d != axis && shape[d] > 1)
      flat = flat + g.iota(expected, d, type) * static_cast<double>(strides[d]);
  double end = static_cast<double>(numel(shape)), n = static_cast<double>(shape[axis]);
  return select(index.tensor < 0.0, -1.0, select(index.tensor >= n, end, flat));
}

Tensor cumsum(At x, int64_t axis, bool reverse) {
  axis = normal_axis(axis, x.tensor.rank(), "cumsum", x.loc);
  return x.tensor.graph().append(OpKind::cumsum, CumsumAttr{axis, reverse}, {x.tensor.value()},
                                 x.loc);
}

TopK top_k(At x, int64_t k) {
  Tensor values =
      x.tensor.graph().append(OpKind::top_k, TopKAttr{k}, {x.tensor.value()}, x.loc);
  return {values, Tensor(&x.tensor.graph(), {values.value().node, 1})};
}

Tensor attention(At q, const Tensor& k, const Tensor& v, AttentionOptions o) {
  std::vector<Tensor> operands = {q.tensor, k, v};
  if (o.cu_seqlens.defined()) operands.push_back(o.cu_seqlens);
  if (o.prefix.defined()) operands.push_back(o.prefix);
  if (o.sinks.defined()) operands.push_back(o.sinks);
  same_graph(operands, "attention", q.loc);
  RecordedHook hook;
  if (o.score || o.mask) hook = record_hook(o, q.tensor.graph(), q.loc);
  operands.insert(operands.end(), hook.captured.begin(), hook.captured.end());
  std::vector<Value> values;
  for (const Tensor& t : operands) values.push_back(t.value());
  double scale = o.scale;
  if (scale == 0) {
    if (q.tensor.rank() != 4)
      fail_user("attention: expected q [B, T, H, d], found " + q.tensor.type().str(), q.loc);
    scale = 1.0 / std::sqrt(static_cast<double>(q.tensor.size(3)));
  }
  AttentionAttr attr;
  attr.causal = o.causal, attr.scale = scale, attr.softcap = o.softcap;
  attr.top_left = o.align == Align::top_left, attr.window = o.window;
  attr.prefix = o.prefix.defined(), attr.sinks = o.sinks.defined();
  attr.hook = std::move(hook.text);
  return q.tensor.graph().append(OpKind::attention, attr, std::move(values), q.loc);
}

Tensor paged_attention(At q, const Tensor& k_pages, const Tensor& v_pages, const Tensor& page_table,
                       const Tensor& lengths, const PagedAttentionOptions& o) {
  if (o.k_scale.defined() != o.v_scale.defined())
    fail_user("paged_attention: expected both k_scale and v_scale, or neither", q.loc);
  std::vector<Tensor> operands = {q.tensor, k_pages, v_pages, page_table, lengths};
  if (o.cu_q.defined()) operands.push_back(o.cu_q);
  if (o.k_scale.defined()) operands.insert(operands.end(), {o.k_scale, o.v_scale});
  same_graph(operands, "paged_attention", q.loc);
  std::vector<Value> values;
  for (const Tensor& t : operands) values.push_back(t.value());
  PagedAttentionAttr attr{o.scale, o.softcap, o.window, o.cu_q.defined(), o.k_scale.defined()};
  if (attr.scale == 0)  // of a q without elements of a head, which is refused, any
    attr.scale =
        q.tensor.rank() > 0 ? 1.0 / std::sqrt(static_cast<double>(q.tensor.shape().back())) : 1;
  return q.tensor.graph().append(OpKind::paged_attention, attr, std::move(values), q.loc);
}

}  // namespace fusec
