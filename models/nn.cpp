// Layer parameters and their arithmetic in the DSL; see nn.h.
#include "fusec/models/nn.h"

#include <algorithm>
#include <cmath>

namespace fusec::models {

Tensor stream(At x, bool narrow) {
  if (!narrow) return x.tensor;
  return cast(At(cast(x, bf16), x.loc), f32);
}

Linear::Linear(Graph& graph, std::string_view name, int64_t in, int64_t out, bool with_bias,
               const LinearOptions& options)
    : lora_scale(options.lora_scale) {
  ScopeGuard scope(graph, name);
  weight = graph.parameter("weight", {out, in}, options.weight);
  if (with_bias) bias = graph.parameter("bias", {out});
  if (options.lora_rank == 0) return;
  lora_a = graph.parameter("lora_a", {options.lora_rank, in});
  lora_b = graph.parameter("lora_b", {out, options.lora_rank});
}

Tensor Linear::operator()(At x) const {
  Tensor w = cast(At(weight, x.loc), f32);
  Tensor y = bias.defined() ? linear(x, w, bias) : linear(x, w);
  if (!lora_a.defined()) return y;
  CallSite here(x);
  return y + linear(linear(x, lora_a), lora_b) * lora_scale;
}

Embedding::Embedding(Graph& graph, std::string_view name, int64_t count, int64_t width,
                     DType dtype) {
  ScopeGuard scope(graph, name);
  weight = graph.parameter("weight", {count, width}, dtype);
}

Tensor Embedding::operator()(At ids) const {
  return cast(At(gather(At(weight, ids.loc), ids.tensor), ids.loc), f32);
}

LayerNorm::LayerNorm(Graph& graph, std::string_view name, int64_t width, double eps) : eps(eps) {
  ScopeGuard scope(graph, name);
  weight = graph.parameter("weight", {width});
  bias = graph.parameter("bias", {width});
}

Tensor LayerNorm::operator()(At x) const { return layer_norm(x, weight, bias, eps); }

RmsNorm::RmsNorm(Graph& graph, std::string_view name, int64_t width, bool weighted, double eps)
    : eps(eps) {
  if (!weighted) return;
  ScopeGuard scope(graph, name);
  weight = graph.parameter("weight", {width});
}

Tensor RmsNorm::operator()(At x) const { return rms_norm(x, eps, weight); }

GeluMlp::GeluMlp(Graph& graph, int64_t in, int64_t hidden, int64_t out, VitActivation activation)
    : up(graph, "up", in, hidden, true),
      down(graph, "down", hidden, out, true),
      activation(activation) {}

Tensor GeluMlp::operator()(At x) const {
  At wide(up(x), x.loc);
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  switch (activation) {
    case VitActivation::gelu_tanh: return down(at(gelu(wide)));
    case VitActivation::gelu_erf: return down(at(gelu_erf(wide)));
    case VitActivation::quick_gelu: break;
  }
  return down(at(wide * sigmoid(at(wide * 1.702))));
}

FullAttention::FullAttention(Graph& graph, int64_t width, int64_t heads)
    : heads(heads),
      q(graph, "q", width, width, true),
      k(graph, "k", width, width, true),
      v(graph, "v", width, width, true),
      out(graph, "out", width, width, true) {}

Tensor FullAttention::operator()(At x, const Tensor& context) const {
  auto at = [&](const Tensor& t) { return At(t, x.loc); };
  auto split = [&](const Tensor& t) {
    return reshape(at(t), {t.size(0), t.size(1), heads, t.size(2) / heads});
  };
  Tensor query = split(q(x)), key = split(k(at(context))), value = split(v(at(context)));
  AttentionOptions options;
  options.causal = false;
  Tensor mixed = attention(at(query), key, value, options);
  return out(at(reshape(at(mixed), x.tensor.shape())));
}

namespace {

// The frequency that stands for `frequency` (radians a token); RopeScaling has the rule.
double scaled_frequency(double frequency, const RopeScaling& s) {
  if (s.kind == RopeScaling::Kind::none) return frequency;
  if (s.kind == RopeScaling::Kind::linear) return frequency / s.factor;
  // Turns within the original context: wavelengths are long where they are few.
  double turns = frequency * static_cast<double>(s.original_context) / (2 * M_PI);
  double kept = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  kept = std::clamp(kept, 0.0, 1.0);
  return kept * frequency + (1 - kept) * frequency / s.factor;
}

}  // namespace

std::pair<Tensor, Tensor> rope_tables(Graph& graph, int64_t length, int64_t head_dim, double theta,
                                      const RopeScaling& scaling) {
  int64_t half = head_dim / 2;
  std::vector<float> cosines(length * half), sines(length * half);
  std::vector<double> frequencies(half);
  for (int64_t i = 0; i < half; ++i)
    frequencies[i] = scaled_frequency(std::pow(theta, -2.0 * i / head_dim), scaling);
  for (int64_t t = 0; t < length; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      double angle = t * frequencies[i];
      cosines[t * half + i] = static_cast<float>(std::cos(angle));
      sines[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return {graph.constant(std::move(cosines), {length, half}),
          graph.constant(std::move(sines), {length, half})};
}

const std::string& name_of_leaf(const Tensor& leaf) { return leaf.name(); }

}  // namespace fusec::models
