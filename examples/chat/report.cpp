// Tables and lines; see report.h.
#include "report.h"

#include <fmt/format.h>

#include <string>

namespace fusec::examples {
namespace {

std::string rate(int64_t tokens, double seconds) {
  return seconds > 0 ? fmt::format("{:.1f} tokens/s", static_cast<double>(tokens) / seconds) : "-";
}

double mebibytes(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

int64_t cache_bytes(const models::Generator& generator) {
  int64_t bytes = 0;
  for (const PlanBuffer& b : generator.stepping().plan().buffers)
    if (b.cls == BufferClass::state && b.name.starts_with("cache.")) bytes += b.type.bytes();
  return bytes;
}

int64_t weight_bytes(const models::Generator& generator) {
  int64_t bytes = 0;
  for (const PlanBuffer& b : generator.stepping().plan().buffers)
    if (b.cls == BufferClass::parameter) bytes += b.type.bytes();
  return bytes;
}

}  // namespace

void print_model(const models::ChatModel& model, double seconds) {
  const models::Generator& g = model.generator();
  const models::VisionGptConfig& c = model.info().config;
  fmt::print(stderr, "model     {} ({}), {:.1f} M parameters, {} layers of {}{}\n",
             model.info().family, model.container(), static_cast<double>(model.parameters()) / 1e6,
             c.layers, c.width, c.text_only() ? "" : ", with pictures");
  std::string converted;
  for (const auto& [types, tensors] : model.conversions())
    converted += fmt::format("{}{} of {} tensors", converted.empty() ? "; " : ", ", types, tensors);
  fmt::print(stderr, "weights   {} in {:.0f} MiB{}\n", name_of(g.options().weights),
             mebibytes(weight_bytes(g)), converted);
  fmt::print(stderr, "cache     {} tokens as {}, {:.0f} MiB\n", g.context(),
             name_of(g.options().cache), mebibytes(cache_bytes(g)));
  fmt::print(stderr, "ready     in {:.1f} s on {}\n", seconds, g.stepping().backend("kernels"));
  fmt::print(stderr, "products  {}\n", g.stepping().backend("gemm"));
}

void print_statistics(const models::Answer& answer, const models::Generator& generator) {
  const int64_t whole = answer.kept + answer.prompt_tokens;
  fmt::print(stderr,
             "[prompt {} tokens at {}, {} of {} from the cache; answer {} at {}; cache {} of {}]\n",
             answer.prompt_tokens, rate(answer.prompt_tokens, answer.prompt_seconds), answer.kept,
             whole, answer.tokens.size(), rate(answer.steps, answer.step_seconds),
             generator.length(), generator.context());
}

void print_end(const models::Answer& answer, const models::Generator& generator) {
  using models::AnswerEnd;
  switch (answer.end) {
    case AnswerEnd::stop: return;
    case AnswerEnd::length:
      fmt::print(stderr, "[cut off after {} tokens; --max-tokens allows more]\n",
                 answer.tokens.size());
      return;
    case AnswerEnd::context:
      fmt::print(stderr, "[cut off: the context of {} tokens is full; --context may allow more]\n",
                 generator.context());
      return;
    case AnswerEnd::interrupted:
      fmt::print(stderr, "[interrupted{}]\n",
                 answer.tokens.empty() ? " before the answer; the question was withdrawn" : "");
      return;
  }
}

}  // namespace fusec::examples
