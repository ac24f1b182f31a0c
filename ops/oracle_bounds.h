// The rules behind evaluate_bounded. Private to the oracle.
#pragma once

#include <vector>

#include "fusec/ops/bounds.h"
#include "oracle_ops.h"

namespace fusec::oracle {

// One node with its evaluated operands.
struct BoundedCall {
  const Node& node;
  std::vector<const BoundedData*> in;
  std::vector<TensorType> types;  // of the operands
};

// All results of a node that is not a leaf, before they are stored.
std::vector<BoundedData> compute_bounded(const BoundedCall& call);
std::vector<BoundedData> attention_bounded(const BoundedCall& call);
std::vector<BoundedData> attention_grad_bounded(const BoundedCall& call);
BoundedData paged_attention_bounded(const BoundedCall& call);

// |v|, or |v| + e.
Data magnitudes(const BoundedData& x, bool with_error);
// The error, infinite for NaN.
double or_inf(double e);

}  // namespace fusec::oracle
