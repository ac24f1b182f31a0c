// Mixture of experts with dense dispatch: every expert runs on every token and the router's weights
// pick, so shapes are static and nothing is dropped. Right for few experts; sparse dispatch belongs
// to a library call.
#pragma once

#include <string>

#include "fusec/ops/composite.h"
#include "fusec/ops/views.h"

namespace fusec {

struct Routing {
  Tensor weights;  // [N, E]: softmax over the k chosen logits, 0 for the others
  Tensor chosen;   // [N, E], b8: exactly k a row
  Tensor balance;  // scalar: E * sum(share of tokens * mean probability); 1 when even
};

// Top-k routing (Shazeer et al. 2017) of logits [N, E] (float), with the load-balancing loss of
// Switch Transformers (Fedus et al. 2021).
inline Routing top_k_router(At logits, int64_t k) {
  CallSite here(logits);
  if (logits.tensor.rank() != 2 || k < 1 || k > logits.tensor.size(1))
    fail_user("top_k_router: expected logits [N, E] and 1 <= k <= E, found " +
                  logits.tensor.type().str() + " and k = " + std::to_string(k),
              logits.loc);
  const Tensor& z = logits.tensor;
  int64_t experts = z.size(1);
  Tensor count = sum(one_hot(top_k(z, k).indices, experts, z.dtype()), {1});
  Tensor chosen = count > 0.0;
  Tensor masked = select(chosen, z, z.graph().constant(-3e4, {}, z.dtype()));
  Tensor weights = select(chosen, softmax(masked), z.graph().constant(0, {}, z.dtype()));
  Tensor share = mean(stop_gradient(count), {0}) * (1.0 / static_cast<double>(k));
  Tensor balance = sum(share * mean(softmax(z), {0})) * static_cast<double>(experts);
  return {weights, chosen, balance};
}

// sum over experts e of weights[:, e] * swiglu_mlp(x; gate[e], up[e], down[e]): x [N, c], weights
// [N, E], gate and up [E, f, c], down [E, c, f] -> [N, c].
inline Tensor moe_swiglu(At x, const Tensor& weights, const Tensor& gate, const Tensor& up,
                         const Tensor& down) {
  CallSite here(x);
  Tensor hidden = swiglu(einsum("nc,efc->enf", x, gate), einsum("nc,efc->enf", x, up));
  Tensor weighted = hidden * unsqueeze(transpose(weights, 0, 1), -1);
  return einsum("enf,ecf->nc", weighted, down);
}

}  // namespace fusec
