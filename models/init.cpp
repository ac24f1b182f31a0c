// Parameter names to random first values; see init.h.
#include "fusec/models/init.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/hash.h"
#include "normal_fill.h"

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

// Numbers [first, first + count) of a parameter's value; `first` is a multiple of 4.
void write_value(float* out, int64_t first, int64_t count, const Start& start, uint64_t stream,
                 uint64_t seed) {
  if (start.deviation == 0)
    std::fill_n(out, count, static_cast<float>(start.fill));
  else
    fill_normal(out, first, count, static_cast<float>(start.deviation), seed, stream);
}

}  // namespace

std::vector<float> initial_value(const std::string& name, const Shape& shape,
                                 const VisionGptConfig& config, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(numel(shape)));
  write_value(values.data(), 0, numel(shape), start_of(name, shape, config), hash_text(name), seed);
  return values;
}

// Each number depends on its place alone, so that they are drawn where they are copied from, by
// many threads.
void init_parameters(Executable& exe, const VisionGptConfig& config, uint64_t seed) {
  std::vector<LoadedPlan::Fill> fills;
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    if (buffer.type.dtype != DType::f32)
      fail_user("parameter " + buffer.name + " is " + buffer.type.str() +
                "; first values are drawn for f32 alone");
    const Start start = start_of(buffer.name, buffer.type.shape, config);
    const uint64_t stream = hash_text(buffer.name);
    fills.push_back({buffer.name, [=](int64_t begin, int64_t bytes, void* out) {
                       constexpr int64_t kSize = sizeof(float);
                       write_value(static_cast<float*>(out), begin / kSize, bytes / kSize, start,
                                   stream, seed);
                     }});
  }
  exe.fill(fills);
}

}  // namespace fusec::models
