// Gradients of the structural op classes. Before: C = einsum("mk,nk->mn", A, B) and g = dC.
// After: dA = einsum("mn,nk->mk", g, B), dB = einsum("mn,mk->nk", g, A). Refuses op classes with no
// gradient (attention_grad; attention through its log-sum-exp is refused by autodiff.cpp).
#include "gradient_rules.h"

#include <algorithm>

#include "fusec/ops/hook.h"
#include "fusec/ops/ops.h"

namespace fusec {

namespace {

using Axes = std::vector<int64_t>;

int64_t rank_of(const Shape& s) { return static_cast<int64_t>(s.size()); }

Tensor zeros_like(const GradientCall& call, const TensorType& type) {
  return call.graph.splat(0.0, type.shape, type.dtype, call.node.loc);
}

// x broadcast to `shape`, source axis dims[i] (or -1) behind result axis i.
Tensor broadcast_along(const Tensor& x, const Shape& shape, Axes dims, SourceLoc loc) {
  if (x.shape() == shape) return x;
  ViewAttr attr{ViewKind::broadcast, shape, std::move(dims), {}, {}};
  return x.graph().append(OpKind::view, std::move(attr), {x.value()}, loc);
}

Tensor concat_at(const std::vector<Tensor>& parts, int64_t axis, SourceLoc loc) {
  if (parts.size() == 1) return parts[0];
  std::vector<Value> values;
  for (const Tensor& t : parts) values.push_back(t.value());
  return parts[0].graph().append(OpKind::concat, ConcatAttr{axis}, std::move(values), loc);
}

// sum: every element gets the gradient of its sum. max, min: the gradient goes to the elements
// that attain the extremum, in equal shares where several do (a subgradient; symmetric, and right
// for the mean of the one-sided derivatives).
Tensor reduce_gradient(const GradientCall& call) {
  const auto& attr = call.node.as<ReduceAttr>();
  SourceLoc loc = call.node.loc;
  Tensor x = call.operand(0);
  Axes dims(x.rank(), -1);
  int64_t next = 0;
  for (int64_t i = 0; i < x.rank(); ++i)
    if (!std::binary_search(attr.axes.begin(), attr.axes.end(), i)) dims[i] = next++;
  auto spread = [&](const Tensor& t) { return broadcast_along(t, x.shape(), dims, loc); };
  if (attr.kind == ReduceKind::sum) return spread(call.g);
  Tensor hit = At(x, loc) == spread(Tensor(&call.graph, call.result));
  Tensor ties = sum(At(cast(At(hit, loc), x.dtype()), loc), attr.axes);
  Tensor share = At(call.g, loc) / ties;
  return select(At(hit, loc), spread(share), call.graph.splat(0.0, {}, x.dtype(), loc));
}

// Gradient of one operand of a contraction: contract g with the other operand onto the labels that
// either of them has, then stretch over the labels that only this operand has.
Tensor contract_gradient(const GradientCall& call, const std::string& self,
                         const std::string& other, const Tensor& self_operand,
                         const Tensor& other_operand) {
  const std::string& out = call.node.as<ContractAttr>().out;
  std::string present;
  Axes dims;
  for (char c : self) {
    bool known = out.find(c) != std::string::npos || other.find(c) != std::string::npos;
    dims.push_back(known ? static_cast<int64_t>(present.size()) : -1);
    if (known) present += c;
  }
  Tensor d = call.graph.append(OpKind::contract, ContractAttr{out, other, present},
                               {call.g.value(), other_operand.value()}, call.node.loc);
  return broadcast_along(d, self_operand.shape(), dims, call.node.loc);
}

// The inverse of taking elements start, start + step, ... along one axis of size n: g at those
// places, zeros elsewhere. Built from views and concat: a whole flip stays a flip, a step of s > 1
// puts s - 1 zeros behind each element through a reshape.
Tensor embed(const GradientCall& call, Tensor g, int64_t axis, int64_t n, int64_t start,
             int64_t step) {
  SourceLoc loc = call.node.loc;
  int64_t count = g.shape()[axis];
  auto zeros = [&](int64_t size) {
    TensorType t = g.type();
    t.shape[axis] = size;
    return zeros_like(call, t);
  };
  if (count == 0) return zeros(n);
  if (step < 0) {
    g = flip(At(g, loc), axis);
    start += (count - 1) * step;
    step = -step;
  }
  if (step > 1 && count > 1) {
    Shape split = g.shape(), gap = split, joined = split;
    split.insert(split.begin() + axis + 1, 1);
    gap.insert(gap.begin() + axis + 1, step - 1);
    joined[axis] = count * step;
    Tensor pairs = concat_at({reshape(At(g, loc), split), zeros_like(call, {gap, g.dtype()})},
                             axis + 1, loc);
    g = reshape(At(pairs, loc), joined);
    int64_t room = std::min(n - start, joined[axis]);  // the last gap may stick out
    if (room < joined[axis]) g = slice(At(g, loc), axis, 0, room);
    count = room;
  }
  std::vector<Tensor> parts;
  if (start > 0) parts.push_back(zeros(start));
  parts.push_back(g);
  if (start + count < n) parts.push_back(zeros(n - start - count));
  return concat_at(parts, axis, loc);
}

Tensor view_gradient(const GradientCall& call) {
  const auto& attr = call.node.as<ViewAttr>();
  SourceLoc loc = call.node.loc;
  const TensorType source = call.operand(0).type();
  switch (attr.kind) {
    case ViewKind::reshape: return reshape(At(call.g, loc), source.shape);
    case ViewKind::permute: {
      Axes inverse(attr.dims.size());
      for (size_t i = 0; i < attr.dims.size(); ++i) inverse[attr.dims[i]] = static_cast<int64_t>(i);
      return permute(At(call.g, loc), inverse);
    }
    case ViewKind::broadcast: {
      Axes stretched;
      for (int64_t i = 0; i < rank_of(attr.shape); ++i)
        if (attr.dims[i] < 0 || source.shape[attr.dims[i]] != attr.shape[i]) stretched.push_back(i);
      return reshape(At(sum(At(call.g, loc), stretched), loc), source.shape);
    }
    case ViewKind::slice: {
      Tensor g = call.g;
      for (int64_t d = 0; d < rank_of(source.shape); ++d)
        if (attr.step[d] != 1 || attr.shape[d] != source.shape[d])
          g = embed(call, g, d, source.shape[d], attr.start[d], attr.step[d]);
      return g;
    }
  }
  fail_no_gradient(call.node);
}

std::vector<Tensor> concat_gradients(const GradientCall& call) {
  int64_t axis = call.node.as<ConcatAttr>().axis, start = 0;
  std::vector<Tensor> out(call.node.inputs.size());
  for (size_t i = 0; i < out.size(); ++i) {
    int64_t size = call.operand(i).shape()[axis];
    if (call.want[i]) out[i] = slice(At(call.g, call.node.loc), axis, start, size);
    start += size;
  }
  return out;
}

// add: out = base + rows. set: the base loses the rows that were replaced. Rows of index < 0 were
// skipped, and gather gives them zeros.
std::vector<Tensor> scatter_gradients(const GradientCall& call) {
  SourceLoc loc = call.node.loc;
  Tensor index = call.operand(1);
  std::vector<Tensor> out(3);
  if (call.want[0]) {
    bool set = call.node.as<ScatterAttr>().mode == ScatterMode::set;
    out[0] = set ? scatter(At(call.g, loc), index, zeros_like(call, call.operand(2).type()))
                 : call.g;
  }
  if (call.want[2]) out[2] = gather(At(call.g, loc), index);
  return out;
}

// The values came from the places that the second result names: their gradient goes back there.
Tensor top_k_gradient(const GradientCall& call) {
  SourceLoc loc = call.node.loc;
  Tensor x = call.operand(0), index(&call.graph, {call.result.node, 1});
  Tensor flat = flat_index(At(index, loc), x.shape(), x.rank() - 1);
  Tensor base = call.graph.splat(0.0, {numel(x.shape())}, x.dtype(), loc);
  return reshape(At(scatter_add(At(base, loc), flat, call.g), loc), x.shape());
}

std::vector<Tensor> attention_gradients(const GradientCall& call) {
  const std::vector<Value>& in = call.node.inputs;
  auto attr = call.node.as<AttentionAttr>();
  AttentionOperands at = attention_operands(attr, 3, in.size());
  for (size_t i = at.captured; i < in.size(); ++i)
    if (call.want[i]) attr.captured_grads |= int64_t{1} << (i - at.captured);
  Value o = call.result, lse{call.result.node, 1};
  std::vector<Value> operands = {call.g.value(), in[0], in[1], in[2], o, lse};
  operands.insert(operands.end(), in.begin() + 3, in.end());
  Value first = call.graph.append(OpKind::attention_grad, attr, std::move(operands), call.node.loc)
                    .value();
  std::vector<Tensor> out(in.size());
  int32_t result = 0;
  auto next = [&] { return Tensor(&call.graph, {first.node, result++}); };
  for (int i = 0; i < 3; ++i) out[i] = next();
  if (at.sinks) out[at.sinks] = next();
  for (size_t i = at.captured; i < in.size(); ++i)
    if (call.want[i]) out[i] = next();
  return out;
}

}  // namespace

void fail_no_gradient(const Node& node) {
  std::string op(node.kind == OpKind::map ? name_of(node.as<MapAttr>().op) : name_of(node.kind));
  fail_user("grad: op " + op + " has no gradient; expected only differentiable ops between the "
                "loss and what it is differentiated by",
            node.loc);
}

std::vector<Tensor> operand_gradients(const GradientCall& call) {
  SourceLoc loc = call.node.loc;
  switch (call.node.kind) {
    case OpKind::map: return map_gradients(call);
    case OpKind::cast: return {cast(At(call.g, loc), call.operand(0).dtype())};
    case OpKind::reduce: return {reduce_gradient(call)};
    case OpKind::contract: {
      const auto& attr = call.node.as<ContractAttr>();
      Tensor a = call.operand(0), b = call.operand(1);
      std::vector<Tensor> out(2);
      if (call.want[0]) out[0] = contract_gradient(call, attr.lhs, attr.rhs, a, b);
      if (call.want[1]) out[1] = contract_gradient(call, attr.rhs, attr.lhs, b, a);
      return out;
    }
    case OpKind::view: return {view_gradient(call)};
    case OpKind::concat: return concat_gradients(call);
    case OpKind::gather: {
      Tensor base = zeros_like(call, call.operand(0).type());
      return {scatter_add(At(base, loc), call.operand(1), call.g), Tensor()};
    }
    case OpKind::scatter: return scatter_gradients(call);
    case OpKind::cumsum: {
      auto attr = call.node.as<CumsumAttr>();
      return {cumsum(At(call.g, loc), attr.axis, !attr.reverse)};
    }
    case OpKind::top_k: return {top_k_gradient(call)};
    case OpKind::attention: return attention_gradients(call);
    case OpKind::attention_grad:
    case OpKind::paged_attention:
    case OpKind::input:
    case OpKind::parameter:
    case OpKind::state:
    case OpKind::constant:
    case OpKind::iota:
    case OpKind::assign:
    case OpKind::guard: fail_no_gradient(call.node);
  }
  fail_no_gradient(call.node);
}

}  // namespace fusec
