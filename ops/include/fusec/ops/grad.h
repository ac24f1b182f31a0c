// Reverse-mode differentiation on the recorder. Each gradient op carries the file:line of the op
// it differentiates, so errors and reports in the backward pass lead to the user's own code.
#pragma once

#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

// Adds the backward pass of scalar `loss` to its graph and returns d loss / d wrt[i], each of the
// shape and dtype of wrt[i]. Only nodes on a path from some wrt to the loss get gradient ops, so
// frozen parts cost nothing. A wrt that the loss does not depend on is a user error naming it.
FUSEC_API std::vector<Tensor> grad(At loss, const std::vector<Tensor>& wrt);

}  // namespace fusec
