// The definitions behind the oracle, one function an op class. Private to the oracle.
#pragma once

#include <vector>

#include "fusec/ops/graph.h"

namespace fusec::oracle {

using Data = std::vector<double>;

// One node with its evaluated operands.
struct Call {
  const Node& node;
  std::vector<const Data*> in;
  std::vector<TensorType> types;  // of the operands
};

// Values of all results of a node that is not a leaf.
std::vector<Data> compute(const Call& call);

std::vector<Data> attention(const Call& call);       // (o, lse)
std::vector<Data> attention_grad(const Call& call);  // (dq, dk, dv)
Data paged_attention(const Call& call);

}  // namespace fusec::oracle
