// The chats of chat_set.h through the data pipeline, and a trainer for their packs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../data/chat_set.h"
#include "fusec/models/chat_samples.h"
#include "fusec/models/packed_trainer.h"
#include "small_model.h"

namespace fusec::models {

inline VisionGptConfig chat_config() {
  VisionGptConfig c = small_config();
  c.vocab = 288;
  c.sequence = 64;
  return c;
}

inline ChatRenderer chat_renderer() {
  return {ChatTemplate::named("plain"),
          tests::chat_tokenizer(),
          {.image_tokens = chat_config().resampler.queries, .image = "<|image|>"}};
}

inline std::unique_ptr<data::BatchPipeline> chat_pipeline(
    const tests::Scratch& scratch, int64_t packs, data::EpochEnd end = data::EpochEnd::carry,
    bool drop = false) {
  data::PipelineOptions o;
  o.packer = {.capacity = 64, .max_documents = 4, .max_spans = 4};
  o.packs = packs;
  o.images = {.side = 8, .tokens = chat_config().resampler.queries};
  o.epoch_end = end;
  return std::make_unique<data::BatchPipeline>(std::vector<std::string>{scratch / "train"},
                                               data::JsonlOptions{}, o,
                                               chat_samples(chat_renderer(), drop));
}

inline PackedTrainerOptions trainer_options(const data::BatchPipeline& data, int64_t accumulate,
                                            const std::string& device = "cpu") {
  PackedTrainerOptions o;
  o.model = {chat_config(), pack_shape(data.shape()), {}};
  o.accumulate = accumulate;
  o.seed = 3;
  o.compile.device = device;
  return o;
}

}  // namespace fusec::models
