// What each op class means, as plain loops over doubles. Written for obviousness: every function
// maps result indices to operand indices the way ops.h words it.
#include "oracle_ops.h"

#include <algorithm>
#include <cmath>

#include "fusec/ops/formula.h"

namespace fusec::oracle {

namespace {

// Calls f(offset0, offset1, linear) for every index of `shape`, in row-major order; offset_i is
// sum_d strides_i[d] * index[d].
template <class F>
void for_each(const Shape& shape, const Shape& strides0, const Shape& strides1, F f) {
  int64_t count = numel(shape), offset0 = 0, offset1 = 0;
  Shape index(shape.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    f(offset0, offset1, i);
    for (size_t d = shape.size(); d-- > 0;) {
      offset0 += strides0[d];
      offset1 += strides1[d];
      if (++index[d] < shape[d]) break;
      offset0 -= strides0[d] * shape[d];
      offset1 -= strides1[d] * shape[d];
      index[d] = 0;
    }
  }
}

// Truncates as C does and wraps to the width of `t`.
double wrap_integer(double x, DType t) {
  x = std::trunc(x);
  if (!(std::fabs(x) < 0x1p62)) return x;
  if (t == DType::u8) return static_cast<double>(static_cast<uint8_t>(static_cast<int64_t>(x)));
  if (t == DType::i32) return static_cast<double>(static_cast<int32_t>(static_cast<int64_t>(x)));
  return x;
}

Data map(const Call& call) {
  Pointwise op = call.node.as<MapAttr>().op;
  const TensorType& type = call.node.results[0];
  Data out(numel(type.shape));
  for (size_t i = 0; i < out.size(); ++i) {
    formula::Real args[3];
    for (size_t k = 0; k < call.in.size(); ++k) args[k] = (*call.in[k])[i];
    out[i] = apply_formula(op, args).v;
    if (is_integer(type.dtype)) out[i] = wrap_integer(out[i], type.dtype);
  }
  return out;
}

Data cast(const Call& call) {
  DType to = call.node.as<CastAttr>().to;
  Data out = *call.in[0];
  for (double& x : out) {
    if (to == DType::b8) x = x != 0 ? 1.0 : 0.0;
    else if (is_integer(to)) x = wrap_integer(x, to);
  }
  return out;
}

Data reduce(const Call& call) {
  const auto& attr = call.node.as<ReduceAttr>();
  const Shape& shape = call.types[0].shape;
  Shape kept_strides = row_major_strides(call.node.results[0].shape);
  Shape strides(shape.size(), 0);
  size_t next = 0;
  for (size_t d = 0; d < shape.size(); ++d)
    if (!std::binary_search(attr.axes.begin(), attr.axes.end(), static_cast<int64_t>(d)))
      strides[d] = kept_strides[next++];
  double start = 0;
  if (attr.kind == ReduceKind::max) start = -INFINITY;
  if (attr.kind == ReduceKind::min) start = INFINITY;
  Data out(numel(call.node.results[0].shape), start);
  for_each(shape, strides, strides, [&](int64_t to, int64_t, int64_t from) {
    double x = (*call.in[0])[from];
    double& y = out[attr.chunk > 0 ? from / attr.chunk : to];
    switch (attr.kind) {
      case ReduceKind::sum: y += x; break;
      case ReduceKind::max: y = x > y || std::isnan(x) ? x : y; break;
      case ReduceKind::min: y = x < y || std::isnan(x) ? x : y; break;
    }
  });
  return out;
}

// out[o] = sum over the labels not in the output of a * b, the label sizes from either operand.
Data contract(const Call& call) {
  const auto& attr = call.node.as<ContractAttr>();
  Shape lhs_strides = row_major_strides(call.types[0].shape);
  Shape rhs_strides = row_major_strides(call.types[1].shape);
  auto stride = [](const std::string& labels, const Shape& strides, char c) {
    size_t at = labels.find(c);
    return at == std::string::npos ? 0 : strides[at];
  };
  auto size = [&](char c) {
    size_t at = attr.lhs.find(c);
    return at != std::string::npos ? call.types[0].shape[at]
                                   : call.types[1].shape[attr.rhs.find(c)];
  };
  std::string summed;
  for (char c : attr.lhs + attr.rhs)
    if (attr.out.find(c) == std::string::npos && summed.find(c) == std::string::npos) summed += c;
  auto strides_of = [&](const std::string& labels, bool left) {
    Shape out;
    for (char c : labels)
      out.push_back(left ? stride(attr.lhs, lhs_strides, c) : stride(attr.rhs, rhs_strides, c));
    return out;
  };
  Shape summed_shape;
  for (char c : summed) summed_shape.push_back(size(c));
  Shape inner_a = strides_of(summed, true), inner_b = strides_of(summed, false);
  const Data &a = *call.in[0], &b = *call.in[1];
  Data out(numel(call.node.results[0].shape));
  for_each(call.node.results[0].shape, strides_of(attr.out, true), strides_of(attr.out, false),
           [&](int64_t a0, int64_t b0, int64_t i) {
             double total = 0;
             for_each(summed_shape, inner_a, inner_b, [&](int64_t da, int64_t db, int64_t) {
               total += a[a0 + da] * b[b0 + db];
             });
             out[i] = total;
           });
  return out;
}

Data view(const Call& call) {
  const auto& attr = call.node.as<ViewAttr>();
  if (attr.kind == ViewKind::reshape) return *call.in[0];
  const Shape& source = call.types[0].shape;
  Shape source_strides = row_major_strides(source), strides(attr.shape.size(), 0);
  int64_t base = 0;
  for (size_t d = 0; d < attr.shape.size(); ++d) {
    if (attr.kind == ViewKind::slice) {
      strides[d] = source_strides[d] * attr.step[d];
      base += source_strides[d] * attr.start[d];
    } else if (attr.dims[d] >= 0) {
      bool stretched = attr.kind == ViewKind::broadcast && source[attr.dims[d]] == 1;
      strides[d] = stretched ? 0 : source_strides[attr.dims[d]];
    }
  }
  Data out(numel(attr.shape));
  for_each(attr.shape, strides, strides,
           [&](int64_t from, int64_t, int64_t to) { out[to] = (*call.in[0])[base + from]; });
  return out;
}

Data concat(const Call& call) {
  int64_t axis = call.node.as<ConcatAttr>().axis;
  const Shape& shape = call.node.results[0].shape;
  Shape strides = row_major_strides(shape);
  Data out(numel(shape));
  int64_t base = 0;
  for (size_t k = 0; k < call.in.size(); ++k) {
    for_each(call.types[k].shape, strides, strides, [&](int64_t to, int64_t, int64_t from) {
      out[base + to] = (*call.in[k])[from];
    });
    base += strides[axis] * call.types[k].shape[axis];
  }
  return out;
}

// Row of the index's element i, or -1 to skip; an index past the end is the feeder's mistake.
int64_t row_at(const Data& index, int64_t i, int64_t rows, const Node& node) {
  int64_t row = static_cast<int64_t>(index[i]);
  if (row >= rows)
    fail_user(std::string(name_of(node.kind)) + ": expected an index below " +
                  std::to_string(rows) + ", found " + std::to_string(row), node.loc);
  return row < 0 ? -1 : row;
}

int64_t width_of_rows(const Shape& table) {
  return numel(Shape(table.begin() + 1, table.end()));
}

Data gather(const Call& call) {
  const Shape& table = call.types[0].shape;
  int64_t width = width_of_rows(table);
  Data out(numel(call.node.results[0].shape), 0.0);
  for (int64_t i = 0; i < numel(call.types[1].shape); ++i) {
    int64_t row = row_at(*call.in[1], i, table[0], call.node);
    if (row >= 0)
      std::copy_n(call.in[0]->begin() + row * width, width, out.begin() + i * width);
  }
  return out;
}

Data scatter(const Call& call) {
  const Shape& base = call.types[0].shape;
  int64_t width = width_of_rows(base);
  bool add = call.node.as<ScatterAttr>().mode == ScatterMode::add;
  Data out = *call.in[0];
  for (int64_t i = 0; i < numel(call.types[1].shape); ++i) {
    int64_t row = row_at(*call.in[1], i, base[0], call.node);
    for (int64_t c = 0; row >= 0 && c < width; ++c) {
      double update = (*call.in[2])[i * width + c];
      double& to = out[row * width + c];
      to = add ? to + update : update;
    }
  }
  return out;
}

Data cumsum(const Call& call) {
  const auto& attr = call.node.as<CumsumAttr>();
  const Shape& shape = call.types[0].shape;
  int64_t stride = row_major_strides(shape)[attr.axis], n = shape[attr.axis];
  Data out = *call.in[0];
  int64_t count = static_cast<int64_t>(out.size());
  for (int64_t step = 0; step < count; ++step) {
    int64_t i = attr.reverse ? count - 1 - step : step;  // neighbours come before i either way
    int64_t at = i / stride % n, before = attr.reverse ? i + stride : i - stride;
    if (attr.reverse ? at + 1 < n : at > 0) out[i] += out[before];
    if (is_integer(call.types[0].dtype)) out[i] = wrap_integer(out[i], call.types[0].dtype);
  }
  return out;
}

std::vector<Data> top_k(const Call& call) {
  int64_t k = call.node.as<TopKAttr>().k, n = call.types[0].shape.back();
  const Data& x = *call.in[0];
  Data values, places;
  for (int64_t row = 0; row < static_cast<int64_t>(x.size()); row += n) {
    std::vector<int64_t> order(n);
    for (int64_t i = 0; i < n; ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      double u = x[row + a], v = x[row + b];
      return std::isnan(u) ? !std::isnan(v) : u > v;
    });
    for (int64_t i = 0; i < k; ++i) {
      values.push_back(x[row + order[i]]);
      places.push_back(static_cast<double>(order[i]));
    }
  }
  return {std::move(values), std::move(places)};
}

}  // namespace

std::vector<Data> compute(const Call& call) {
  switch (call.node.kind) {
    case OpKind::map: return {map(call)};
    case OpKind::cast: return {cast(call)};
    case OpKind::reduce: return {reduce(call)};
    case OpKind::contract: return {contract(call)};
    case OpKind::view: return {view(call)};
    case OpKind::concat: return {concat(call)};
    case OpKind::gather: return {gather(call)};
    case OpKind::scatter: return {scatter(call)};
    case OpKind::cumsum: return {cumsum(call)};
    case OpKind::top_k: return top_k(call);
    case OpKind::attention: return attention(call);
    case OpKind::attention_grad: return attention_grad(call);
    case OpKind::paged_attention: return {paged_attention(call)};
    case OpKind::input:
    case OpKind::parameter:
    case OpKind::state:
    case OpKind::constant:
    case OpKind::iota:
    case OpKind::assign:
    case OpKind::guard: break;  // leaves and effects belong to the walk
  }
  fail_internal("oracle: " + std::string(name_of(call.node.kind)) + " computes nothing",
                call.node.loc);
}

}  // namespace fusec::oracle
