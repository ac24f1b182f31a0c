// States of a pipeline from a checkpoint: parsed, then resumed on a small data set.
#include "fusec/data/pipeline.h"

#include "reader.h"

namespace fusec::fuzz {
namespace {

using data::BatchPipeline;

const std::string& documents() {
  static const std::string bytes = [] {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += "\"" + std::string(static_cast<size_t>(1 + i * 7 % 30), 'a') + "\"\n";
    return text;
  }();
  return bytes;
}

std::unique_ptr<BatchPipeline> pipeline(const std::string& path) {
  data::PipelineOptions options;
  options.packer = {.capacity = 24, .max_documents = 4, .buffer_documents = 6};
  auto render = [](const data::JsonlRecord& record) -> data::Rendered {
    data::Sample sample;
    for (char c : record.value.get<std::string>()) sample.tokens.push_back(c);
    sample.targets = sample.tokens;
    return sample;
  };
  return std::make_unique<BatchPipeline>(
      std::vector<std::string>{path}, data::JsonlOptions{.shuffle = true, .window_documents = 8},
      options, render, data::PipelineResources{.workers = 1, .prefetch = 1});
}

}  // namespace

std::vector<std::string> reader_seeds() {
  const auto running = pipeline(as_file(documents()));
  std::vector<std::string> seeds = {pipeline_state_text(running->state())};
  for (int i = 0; i < 3; ++i) {
    (void)running->next();
    (void)running->next();
    seeds.push_back(pipeline_state_text(running->state()));
  }
  return seeds;
}

void read_bytes(std::string_view bytes) {
  const data::PipelineState state = data::parse_pipeline_state(bytes, "bytes");
  const auto resumed = pipeline(as_file(documents()));
  resumed->set_state(state);
  for (int i = 0; i < 2; ++i) (void)resumed->next();
}

}  // namespace fusec::fuzz
