// Parameter names to random first values; see init.h.
#include "fusec/models/init.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/hash.h"
#include "fusec/core/normal_fill.h"

namespace fusec::models {
namespace {

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}
bool starts_with(const std::string& text, std::string_view start) {
  return text.compare(0, start.size(), start) == 0;
}

// Residual branches of the module that owns `name`; 1 where nothing is residual.
int64_t residual_branches(const std::string& name, const VisionGptConfig& config) {
  if (starts_with(name, "vision.")) return 2 * config.vision.layers;
  if (starts_with(name, "resampler.")) return 2 * config.resampler.layers;
  if (starts_with(name, "trunk.")) return 2 * config.layers;
  return 1;
}

struct Start {
  double fill = 0, deviation = 0;  // fill + normal * deviation
};

Start start_of(const std::string& name, const Shape& shape, const VisionGptConfig& config) {
  if (ends_with(name, ".bias")) return {};
  if (shape.size() == 1 && name.find("norm") != std::string::npos) return {.fill = 1};
  if (ends_with(name, ".lora_b")) return {};
  if (shape.size() == 2) {
    if (name == "embedding.weight") return {.deviation = 0.1};
    if (ends_with(name, ".position") || ends_with(name, ".query") || ends_with(name, ".class"))
      return {.deviation = 0.5};
    if (name == "head.weight") return {.deviation = 0.02};
    double fan_in = static_cast<double>(shape[1]);
    if (ends_with(name, ".out.weight") || ends_with(name, ".down.weight")) {
      return {.deviation = 1 / std::sqrt(fan_in * residual_branches(name, config))};
    }
    if (ends_with(name, ".weight") || ends_with(name, ".lora_a"))
      return {.deviation = 1 / std::sqrt(fan_in)};
  }
  fail_internal("no rule for the first value of parameter " + name + " " + str(shape) +
                ": expected one of those listed in models/init.h");
}

}  // namespace

std::vector<float> initial_value(const std::string& name, const Shape& shape,
                                 const VisionGptConfig& config, uint64_t seed) {
  const Start start = start_of(name, shape, config);
  std::vector<float> values(static_cast<size_t>(numel(shape)), static_cast<float>(start.fill));
  if (start.deviation != 0)
    fill_normal(values.data(), 0, numel(shape), static_cast<float>(start.deviation), seed,
                hash_text(name));
  return values;
}

void init_parameters(Executable& exe, const VisionGptConfig& config, uint64_t seed) {
  std::vector<LoadedPlan::NormalFill> drawn;
  std::vector<LoadedPlan::Fill> constant;
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    if (buffer.type.dtype != DType::f32)
      fail_user("parameter " + buffer.name + " is " + buffer.type.str() +
                "; first values are drawn for f32 alone");
    const Start start = start_of(buffer.name, buffer.type.shape, config);
    if (start.deviation != 0) {
      drawn.push_back(
          {buffer.name, static_cast<float>(start.deviation), seed, hash_text(buffer.name)});
      continue;
    }
    constant.push_back(
        {buffer.name, [fill = static_cast<float>(start.fill)](int64_t, int64_t bytes, void* out) {
           std::fill_n(static_cast<float*>(out), bytes / sizeof(float), fill);
         }});
  }
  exe.fill_normal(drawn);
  exe.fill(constant);
}

}  // namespace fusec::models
