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

  Tensor norm = global_norm(grads);
  graph.guard(norm);
  Tensor clip;
  if (options.clip > 0) clip = clip_factor(norm, options.clip);

  for (size_t i = 0; i < params.size(); ++i) {
    const GroupOptions& group = options[group_of(name_of_leaf(params[i]))];
    Tensor g = cast(grads[i], f32);
    if (clip.defined()) g = g * clip;
    Tensor rate = group.lr_scale == 1 ? lr : lr * group.lr_scale;
    AdamWStep next = adamw_step(cast(params[i], f32), g, first[i], second[i], rate, bias1, bias2,
                                params[i].rank() >= 2 ? group.decay : 0,
                                {options.beta1, options.beta2, options.eps});
    graph.assign(first[i], next.m);
    graph.assign(second[i], next.v);
    graph.assign(params[i], cast(next.p, params[i].dtype()));
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
