// Layers as plain structs: a constructor names and records parameters, a call records arithmetic.
// Why structs and not one deep class tree: a model then reads as the formula it is, and a graph
// that needs only a part of a model (the decoder, the encoder) records only that part's parameters.
// Parameter names are dotted scopes: Linear(g, "q", ...) inside scope "trunk.3.attn" owns
// "trunk.3.attn.q.weight". Every call takes At, so nodes carry the line of the model that used the
// layer and not a line of this file.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "fusec/fusec.h"
#include "fusec/models/config.h"

namespace fusec::models {

// T(graph, args...) recorded inside scope `scope`; for member initialisers, where no ScopeGuard
// fits.
template <class T, class... Args>
T in_scope(Graph& graph, std::string_view scope, Args&&... args) {
  ScopeGuard guard(graph, scope);
  return T(graph, std::forward<Args>(args)...);
}

// What a block passes on: x, rounded to bf16 if `narrow`. The casts are ops of the graph, so the
// gradient is rounded there too. x [...] f32 -> the same.
Tensor stream(At x, bool narrow);

// How a Linear holds its weight, and whether it has LoRA (lora.h) beside it.
struct LinearOptions {
  DType weight = f32;  // bf16 or f16 are widened where they are read
  int64_t lora_rank = 0;
  double lora_scale = 1;
};

// y = x W^T (+ b): x [..., in] -> [..., out]; weight [out, in], bias [out], both f32 unless the
// options say otherwise of the weight.
struct Linear {
  Linear(Graph& graph, std::string_view name, int64_t in, int64_t out, bool with_bias,
         const LinearOptions& options = {});
  Tensor operator()(At x) const;

  Tensor weight, bias;    // bias is undefined without `with_bias`
  Tensor lora_a, lora_b;  // undefined without LoRA
  double lora_scale;
};

// Rows of a table [count, width] by index: ids [...] i32 -> [..., width] f32.
struct Embedding {
  Embedding(Graph& graph, std::string_view name, int64_t count, int64_t width, DType weight = f32);
  Tensor operator()(At ids) const;

  Tensor weight;
};

// Layer norm over the last axis with weight and bias [width] (Ba et al. 2016).
struct LayerNorm {
  LayerNorm(Graph& graph, std::string_view name, int64_t width, double eps = 1e-5);
  Tensor operator()(At x) const;

  Tensor weight, bias;
  double eps;
};

// RMS norm over the last axis (Zhang and Sennrich 2019); weight [width] only if `weighted`.
struct RmsNorm {
  RmsNorm(Graph& graph, std::string_view name, int64_t width, bool weighted, double eps);
  Tensor operator()(At x) const;

  Tensor weight;
  double eps;
};

// Two linear layers with biases and a GELU between them: [..., in] -> [..., out].
struct GeluMlp {
  GeluMlp(Graph& graph, int64_t in, int64_t hidden, int64_t out,
          VitActivation activation = VitActivation::gelu_tanh);
  Tensor operator()(At x) const;

  Linear up, down;
  VitActivation activation;
};

// Multi-head attention with biases and no mask, in which every query sees every key:
// x [B, T, width], context [B, S, width] -> [B, T, width]. width must be a multiple of heads.
struct FullAttention {
  FullAttention(Graph& graph, int64_t width, int64_t heads);
  Tensor operator()(At x, const Tensor& context) const;

  int64_t heads;
  Linear q, k, v, out;
};

// cos and sin tables [length, head_dim / 2] of rotary positions 0 .. length-1 as graph constants:
// angle(t, i) = t * f(i), f(i) = theta^(-2 i / head_dim) (Su et al. 2021) after `scaling`.
std::pair<Tensor, Tensor> rope_tables(Graph& graph, int64_t length, int64_t head_dim, double theta,
                                      const RopeScaling& scaling = {});

// Full name of a parameter, state or input leaf. Any other tensor is an internal Error.
const std::string& name_of_leaf(const Tensor& leaf);

}  // namespace fusec::models
