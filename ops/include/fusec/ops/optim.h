// Optimizers in the DSL: the update is part of the graph, so it fuses with the rest of the step and
// all parameters are updated by a few launches.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "fusec/ops/ops.h"

namespace fusec {

// sqrt of the sum of all squares, f32.
inline Tensor global_norm(const std::vector<Tensor>& tensors,
                          const std::source_location& loc = std::source_location::current()) {
  if (tensors.empty()) fail_user("global_norm: expected at least one tensor, found none", loc);
  CallSite here(At(tensors[0], loc));
  Tensor total;
  for (const Tensor& t : tensors) {
    Tensor part = sum(square(cast(t, DType::f32)));
    total = total.defined() ? total + part : part;
  }
  return sqrt(total);
}

// What every gradient is multiplied by so that their norm is at most `most`.
inline Tensor clip_factor(At norm, double most) {
  CallSite here(norm);
  return minimum(most / (norm.tensor + 1e-6), 1.0);
}

// One tensor's AdamW (Loshchilov and Hutter 2019), all f32: moments m and v, p less lr times the
// corrected step and the decay. bias1, bias2: 1 / (1 - beta^t), scalars.
struct AdamWStep {
  Tensor p, m, v;
};
struct AdamWBetas {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
};
inline AdamWStep adamw_step(At p, const Tensor& g, const Tensor& m, const Tensor& v,
                            const Tensor& lr, const Tensor& bias1, const Tensor& bias2,
                            double decay, const AdamWBetas& betas = {}) {
  CallSite here(p);
  Tensor m1 = m * betas.beta1 + g * (1 - betas.beta1);
  Tensor v1 = v * betas.beta2 + square(g) * (1 - betas.beta2);
  Tensor move = (m1 * bias1) / (sqrt(v1 * bias2) + betas.eps);
  if (decay != 0) move = move + p.tensor * decay;
  return {p.tensor - move * lr, m1, v1};
}

struct AdamWSettings {
  AdamWBetas betas;
  double decay = 0.01;  // decoupled, of parameters of rank >= 2
  double clip = 1;      // of the gradients' global norm; 0: none
};
// Records the update of `params` (parameters) from `grads` at learning rate `lr` (f32 scalar, an
// input for a schedule), with states "<param>.m", "<param>.v" and "adamw.step" (f32, counts the
// updates). A norm that is not finite skips the update as a whole (Graph::guard). Returns the
// gradients' global norm before clipping.
inline Tensor adamw(At lr, const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
                    const AdamWSettings& s = {}) {
  CallSite here(lr);
  if (params.empty() || params.size() != grads.size())
    fail_user("adamw: expected one gradient a parameter, found " + std::to_string(params.size()) +
                  " parameters and " + std::to_string(grads.size()) + " gradients",
              lr.loc);
  Graph& g = lr.tensor.graph();
  Tensor count = g.state("adamw.step", {}), step = count + 1.0;
  g.assign(count, step);
  auto correction = [&](double beta) {
    return reciprocal(1.0 - exp(step * std::log(beta)));
  };
  Tensor bias1 = correction(s.betas.beta1), bias2 = correction(s.betas.beta2);
  Tensor norm = global_norm(grads, {});
  g.guard(norm);
  Tensor scale = s.clip > 0 ? clip_factor(norm, s.clip) : Tensor();
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    Tensor m = g.state(p.name() + ".m", p.shape()), v = g.state(p.name() + ".v", p.shape());
    Tensor grad = cast(grads[i], DType::f32);
    if (scale.defined()) grad = grad * scale;
    AdamWStep next = adamw_step(cast(p, DType::f32), grad, m, v, lr.tensor, bias1, bias2,
                                p.rank() >= 2 ? s.decay : 0, s.betas);
    g.assign(m, next.m);
    g.assign(v, next.v);
    g.assign(p, cast(next.p, p.dtype()));
  }
  return norm;
}

}  // namespace fusec
