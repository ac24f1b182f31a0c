// Which part of a model's work a step of its plan does, for reports: from the step's scope, and
// from what the step runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/plan/plan.h"

namespace fusec {

//   attention   projections, rotary positions, scores: scope parts that start with "attn" or
//               "attention", and every attention call outside a vision encoder
//   mlp         scope parts "mlp", "moe", "ffn"
//   norms       row reductions of attention and MLP scopes (a norm with the residual sum before it
//               and the gradients after it), and scope parts that start with "norm"
//   optimizer   scope "optimizer", and all that is written only once the step is known to be finite
//   loss        scopes "loss" and "head": the logits belong to the loss
//   embedding   scope "embedding"
//   vision      scopes "vision", "resampler", "projector", whatever runs there
//   data        copies and fills
//   other       the rest
enum class WorkGroup : uint8_t {
  attention,
  mlp,
  norms,
  optimizer,
  loss,
  embedding,
  vision,
  data,
  other
};
inline constexpr int kWorkGroups = 9;
FUSEC_API std::string_view name_of(WorkGroup group);

FUSEC_API WorkGroup group_of(const Plan& plan, const PlanStep& step);

// What tells one library call from another in a table: "16384x3456x1280 bf16", "b8 t2048 h10 d128
// bf16 causal"; empty for kernels and for calls without sizes.
FUSEC_API std::string shape_of(const PlanStep& step);

}  // namespace fusec
