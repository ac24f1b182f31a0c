// LoRA parameters to merged weights; see lora.h.
#include "fusec/models/lora.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/nearest.h"

namespace fusec::models {
namespace {

const std::vector<std::string> kTargets = {"q", "k", "v", "out", "gate", "up", "down"};
constexpr std::string_view kWeight = ".weight", kA = ".lora_a", kB = ".lora_b";

// "trunk.0.attn.q" of "trunk.0.attn.q.weight".
std::string stem(const std::string& weight) {
  if (!weight.ends_with(kWeight)) return {};
  return weight.substr(0, weight.size() - kWeight.size());
}

bool has_parameter(const Plan& plan, const std::string& name) {
  return std::any_of(plan.buffers.begin(), plan.buffers.end(), [&](const PlanBuffer& b) {
    return b.cls == BufferClass::parameter && b.name == name;
  });
}

}  // namespace

bool LoraConfig::has(const std::string& target) const {
  return rank > 0 && std::find(targets.begin(), targets.end(), target) != targets.end();
}

void LoraConfig::check() const {
  if (rank == 0) return;
  if (rank < 0) fail_user("LoRA: rank is " + std::to_string(rank) + ", expected 1 or more");
  if (!(alpha > 0) || !std::isfinite(alpha))
    fail_user("LoRA: alpha is " + std::to_string(alpha) + ", expected a number above 0");
  if (targets.empty())
    fail_user(
        "LoRA: no layers to add to; expected some of q, k, v, out, gate, "
        "up, down");
  for (const std::string& t : targets)
    if (std::find(kTargets.begin(), kTargets.end(), t) == kTargets.end())
      fail_user("LoRA: no linear layer \"" + t + "\" in a block" + suggest(t, kTargets));
}

bool is_lora(const std::string& parameter) {
  return parameter.ends_with(kA) || parameter.ends_with(kB);
}

std::vector<std::string> lora_weights(const Plan& plan) {
  std::vector<std::string> names;
  for (const PlanBuffer& b : plan.buffers) {
    if (b.cls != BufferClass::parameter || stem(b.name).empty()) continue;
    if (has_parameter(plan, stem(b.name) + std::string(kA))) names.push_back(b.name);
  }
  return names;
}

std::vector<float> merged_weight(const LoadedPlan& model, const std::string& weight,
                                 const LoraConfig& lora) {
  std::vector<float> w = model.get<float>(weight);
  const std::string from = stem(weight), name_a = from + std::string(kA);
  if (from.empty() || !has_parameter(model.plan(), name_a)) return w;
  const std::vector<float> a = model.get<float>(name_a);
  const std::vector<float> b = model.get<float>(from + std::string(kB));
  const Shape shape = model.type(weight).shape;
  const int64_t out = shape[0], in = shape[1], rank = model.type(name_a).shape[0];
  const double scale = lora.alpha / static_cast<double>(rank);
  std::vector<double> sums(static_cast<size_t>(in));
  for (int64_t o = 0; o < out; ++o) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t r = 0; r < rank; ++r) {
      const double factor = b[o * rank + r];
      for (int64_t i = 0; i < in; ++i) sums[i] += factor * a[r * in + i];
    }
    for (int64_t i = 0; i < in; ++i)
      w[o * in + i] = static_cast<float>(w[o * in + i] + scale * sums[i]);
  }
  return w;
}

void merge_lora(LoadedPlan& model, const LoraConfig& lora) {
  for (const std::string& weight : lora_weights(model.plan())) {
    model.set(weight, merged_weight(model, weight, lora));
    const std::string b = stem(weight) + std::string(kB);
    model.set(b, std::vector<float>(static_cast<size_t>(numel(model.type(b).shape)), 0.0f));
  }
}

}  // namespace fusec::models
