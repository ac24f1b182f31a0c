// Parameter names to random first values; see init.h.
#include "fusec/models/init.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <future>
#include <memory>
#include <thread>

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


constexpr int64_t kPiece = int64_t{1} << 16;  // numbers a thread takes at a time

// The value of one parameter into out[0, numel), on up to `threads` threads.
void write_value(float* out, const std::string& name, const Shape& shape,
                 const VisionGptConfig& config, uint64_t seed, int threads) {
  const Start start = start_of(name, shape, config);
  const int64_t count = numel(shape), pieces = (count + kPiece - 1) / kPiece;
  const uint64_t stream = hash_text(name);
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i = next++; i < pieces; i = next++) {
      const int64_t begin = i * kPiece, size = std::min(kPiece, count - begin);
      if (start.deviation == 0)
        std::fill_n(out + begin, size, static_cast<float>(start.fill));
      else
        fill_normal(out + begin, begin, size, static_cast<float>(start.deviation), seed, stream);
    }
  };
  std::vector<std::jthread> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(threads, pieces); ++i) helpers.emplace_back(work);
  work();
}

}  // namespace

std::vector<float> initial_value(const std::string& name, const Shape& shape,
                                 const VisionGptConfig& config, uint64_t seed) {
  std::vector<float> values(static_cast<size_t>(numel(shape)));
  write_value(values.data(), name, shape, config, seed, 1);
  return values;
}

// While one parameter is copied to the device, the next is drawn.
void init_parameters(Executable& exe, const VisionGptConfig& config, uint64_t seed) {
  std::vector<const PlanBuffer*> parameters;
  int64_t largest = 0;
  for (const PlanBuffer& buffer : exe.plan().buffers) {
    if (buffer.cls != BufferClass::parameter) continue;
    parameters.push_back(&buffer);
    largest = std::max(largest, numel(buffer.type.shape));
  }
  const int threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::unique_ptr<float[]> drawn[2];
  for (auto& values : drawn)
    values = std::make_unique_for_overwrite<float[]>(static_cast<size_t>(largest));
  auto draw = [&](size_t i) {
    return std::async(std::launch::async, [&, i] {
      const PlanBuffer& p = *parameters[i];
      write_value(drawn[i % 2].get(), p.name, p.type.shape, config, seed, threads);
    });
  };
  std::future<void> ready;
  if (!parameters.empty()) ready = draw(0);
  for (size_t i = 0; i < parameters.size(); ++i) {
    ready.get();
    if (i + 1 < parameters.size()) ready = draw(i + 1);
    const size_t count = static_cast<size_t>(numel(parameters[i]->type.shape));
    exe.set(parameters[i]->name, std::span<const float>(drawn[i % 2].get(), count));
  }
}

}  // namespace fusec::models
