// The rule of each op class for reverse mode: from the gradient of a node's result to the
// gradients of its operands. Private to autodiff.
#pragma once

#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

// One node being differentiated, and what its rule needs.
struct GradientCall {
  Graph& graph;
  const Node& node;             // a copy: rules append nodes, which moves the originals
  Value result;                 // its first result
  Tensor g;                     // gradient of that result
  const std::vector<bool>& want;  // operands whose gradient is needed
  Tensor operand(size_t i) const { return Tensor(&graph, node.inputs[i]); }
};

// One Tensor an operand, defined where call.want is set. Every op it records carries the node's
// location. Throws a user Error at that location for an op without a gradient.
std::vector<Tensor> operand_gradients(const GradientCall& call);
// The same for map nodes, from the gradient column of pointwise.def.
std::vector<Tensor> map_gradients(const GradientCall& call);

[[noreturn]] void fail_no_gradient(const Node& node);

}  // namespace fusec
