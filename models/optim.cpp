// Parameters and gradients to update arithmetic; see optim.h.
#include "fusec/models/optim.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/nearest.h"
#include "fusec/models/nn.h"

namespace fusec::models {

std::string_view name_of(ParamGroup group) {
  switch (group) {
    case ParamGroup::matrix: return "matrix";
    case ParamGroup::embedding: return "embedding";
    case ParamGroup::unembedding: return "unembedding";
    case ParamGroup::vision: return "vision";
  }
  return "";
}

ParamGroup group_of(const std::string& parameter) {
  std::string module = parameter.substr(0, parameter.find('.'));
  if (module == "embedding") return ParamGroup::embedding;
  if (module == "head") return ParamGroup::unembedding;
  if (module == "vision" || module == "resampler" || module == "projector") {
    return ParamGroup::vision;
  }
  return ParamGroup::matrix;
}

Tensor adamw(Graph& graph, const std::vector<Tensor>& params, const std::vector<Tensor>& grads,
             const AdamWOptions& options) {
  if (params.empty()) fail_user("adamw: expected at least one parameter to train, found none");
  if (params.size() != grads.size()) {
    fail_user("adamw: expected one gradient a parameter, found " + std::to_string(params.size()) +
              " parameters and " + std::to_string(grads.size()) + " gradients");
  }
  std::vector<Tensor> first, second;
  for (const Tensor& p : params) {
    first.push_back(graph.state(name_of_leaf(p) + ".m", p.shape()));
    second.push_back(graph.state(name_of_leaf(p) + ".v", p.shape()));
  }
  ScopeGuard scope(graph, "optimizer");
  Tensor lr = graph.input("lr", {}), bias1 = graph.input("bias1", {});
  Tensor bias2 = graph.input("bias2", {});

  std::vector<Tensor> exact;  // gradients in f32
  Tensor squares;
  for (const Tensor& g : grads) {
    exact.push_back(cast(g, f32));
    Tensor part = sum(square(exact.back()));
    squares = squares.defined() ? squares + part : part;
  }
  Tensor norm = sqrt(squares);
  graph.guard(norm);
  Tensor clip;
  if (options.clip > 0) clip = minimum(options.clip / (norm + 1e-6), 1.0);

  for (size_t i = 0; i < params.size(); ++i) {
    const GroupOptions& group = options[group_of(name_of_leaf(params[i]))];
    Tensor g = clip.defined() ? exact[i] * clip : exact[i];
    Tensor m = first[i] * options.beta1 + g * (1 - options.beta1);
    Tensor v = second[i] * options.beta2 + square(g) * (1 - options.beta2);
    Tensor p = cast(params[i], f32);
    Tensor move = (m * bias1) / (sqrt(v * bias2) + options.eps);
    if (params[i].rank() >= 2 && group.decay != 0) move = move + p * group.decay;
    Tensor rate = group.lr_scale == 1 ? lr : lr * group.lr_scale;
    graph.assign(first[i], m);
    graph.assign(second[i], v);
    graph.assign(params[i], cast(p - move * rate, params[i].dtype()));
  }
  return norm;
}

void set_adamw_inputs(Executable& exe, const AdamWOptions& options, double lr, int64_t step) {
  auto scalar = [&](const char* name, double value) {
    exe.set(name, std::vector<float>{static_cast<float>(value)});
  };
  scalar("lr", lr);
  scalar("bias1", 1 / (1 - std::pow(options.beta1, static_cast<double>(step))));
  scalar("bias2", 1 / (1 - std::pow(options.beta2, static_cast<double>(step))));
}

double Schedule::factor(double progress) const {
  progress = std::clamp(progress, 0.0, 1.0);
  if (progress < warmup) return progress / warmup;
  double rest = warmup < 1 ? (progress - warmup) / (1 - warmup) : 1;
  switch (kind) {
    case Kind::cosine: return floor + (1 - floor) * 0.5 * (1 + std::cos(3.141592653589793 * rest));
    case Kind::linear: return 1 - (1 - floor) * rest;
    case Kind::constant: return 1;
  }
  return 1;
}

const std::vector<std::string>& Schedule::kind_names() {
  static const std::vector<std::string> names = {"cosine", "linear", "constant"};
  return names;
}

Schedule::Kind Schedule::parse_kind(const std::string& name) {
  const auto& names = kind_names();
  auto it = std::find(names.begin(), names.end(), name);
  if (it == names.end()) fail_user("unknown schedule \"" + name + "\"" + suggest(name, names));
  return static_cast<Kind>(it - names.begin());
}

}  // namespace fusec::models
