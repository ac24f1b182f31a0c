// Parameter names to random first values; see init.h.
#include "fusec/models/init.h"

#include <cmath>

#include "fusec/base/hash.h"
#include "fusec/base/philox.h"

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
  if (shape.size() == 2) {
    if (name == "embedding.weight") return {.deviation = 0.1};
    if (ends_with(name, ".position") || ends_with(name, ".query")) return {.deviation = 0.5};
    if (name == "head.weight") return {.deviation = 0.02};
    double fan_in = static_cast<double>(shape[1]);
    if (ends_with(name, ".out.weight") || ends_with(name, ".down.weight")) {
      return {.deviation = 1 / std::sqrt(fan_in * residual_branches(name, config))};
    }
    if (ends_with(name, ".weight")) return {.deviation = 1 / std::sqrt(fan_in)};
  }
  fail_internal("no rule for the first value of parameter " + name + " " + str(shape) +
                ": expected one of those listed in models/init.h");
}

}  // namespace

std::vector<float> initial_value(const std::string& name, const Shape& shape,
                                 const VisionGptConfig& config, uint64_t seed) {
  Start start = start_of(name, shape, config);
  std::vector<float> values(numel(shape), static_cast<float>(start.fill));
  if (start.deviation == 0) return values;
  uint64_t stream = hash_text(name);
  for (size_t i = 0; i < values.size(); i += 2) {
    PhiloxBlock words = philox(seed, i / 2, stream);
    values[i] += static_cast<float>(start.deviation * philox_normal(words[0], words[1]));
    if (i + 1 < values.size()) {
      values[i + 1] += static_cast<float>(start.deviation * philox_normal(words[2], words[3]));
    }
  }
  return values;
}

void init_parameters(Executable& exe, const VisionGptConfig& config, uint64_t seed) {
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    exe.set(buffer.name, initial_value(buffer.name, buffer.type.shape, config, seed));
  }
}

}  // namespace fusec::models
