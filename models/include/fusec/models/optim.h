// AdamW recorded in the DSL, and learning-rate schedules. The update is ordinary graph arithmetic,
// so the compiler fuses it like anything else; nothing here is a kernel.
//
//   norm  = sqrt(sum over all gradients of g^2)        before clipping
//   g'    = g * min(1, clip / (norm + 1e-6))
//   m     = beta1 m + (1 - beta1) g',   v = beta2 v + (1 - beta2) g'^2
//   p    -= lr * lr_scale * (m bias1 / (sqrt(v bias2) + eps) + decay p)
//
// (Loshchilov and Hutter 2019). bias1 = 1 / (1 - beta1^step), bias2 likewise, and lr are run-time
// inputs: a new step or rate never recompiles.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "fusec/fusec.h"

namespace fusec::models {

// embedding: the token table; unembedding: the head; vision: encoder, resampler and projector;
// matrix: all else.
enum class ParamGroup : uint8_t { matrix, embedding, unembedding, vision };
inline constexpr int kParamGroups = 4;
std::string_view name_of(ParamGroup group);
// By the first part of the parameter's name.
ParamGroup group_of(const std::string& parameter);

struct GroupOptions {
  double lr_scale = 1;
  double decay = 0.01;  // never applied to parameters with fewer than two dimensions
};

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8;
  double clip = 1;                                // global norm; 0: no clipping
  std::array<GroupOptions, kParamGroups> groups;  // by ParamGroup
  GroupOptions& operator[](ParamGroup g) { return groups[static_cast<size_t>(g)]; }
  const GroupOptions& operator[](ParamGroup g) const { return groups[static_cast<size_t>(g)]; }
};

// Adds the update of `params` (graph parameters) by `grads` (same order and shapes) to the graph:
// inputs "lr", "bias1", "bias2" (f32 scalars), states "<parameter>.m" and "<parameter>.v" (f32),
// and an assign for each. Guards the norm (Graph::guard): a gradient that is not finite, or so
// large that its square is not, updates nothing. Returns the global gradient norm before clipping,
// an f32 scalar. Call once a graph, outside any scope. Empty `params` is a user Error.
Tensor adamw(Graph& graph, const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
             const AdamWOptions& options);

// Writes the run-time inputs of step number `step` (1 is the first).
void set_adamw_inputs(Executable& exe, const AdamWOptions& options, double lr, int64_t step);

// Factor on the peak learning rate as a function of progress through the whole run, 0..1 (steps,
// or seconds of a time budget): rises linearly to 1 during the first `warmup` of it, then falls to
// `floor`, along half a cosine or a line. Progress outside 0..1 is clamped.
struct Schedule {
  enum class Kind : uint8_t { cosine, linear, constant } kind = Kind::cosine;
  double warmup = 0.05;
  double floor = 0.02;
  double factor(double progress) const;

  static const std::vector<std::string>& kind_names();  // in the order of Kind
  // A wrong name is a user Error with the nearest one.
  static Kind parse_kind(const std::string& name);
};

}  // namespace fusec::models
