// A vision-GPT small enough for the double oracle, with made-up pictures and captions.
#pragma once

#include <string>
#include <vector>

#include "fusec/models/batch.h"
#include "fusec/models/graphs.h"
#include "fusec/models/init.h"
#include "fusec/models/nn.h"
#include "fusec/ops/oracle.h"

namespace fusec::models {

inline VisionGptConfig small_config() {
  VisionGptConfig c;
  c.vision = {.image = 8, .patch = 4, .width = 8, .layers = 2, .heads = 2};
  c.resampler = {.queries = 2, .layers = 1, .heads = 2};
  c.projector_hidden = 12;
  c.vocab = 264;
  c.sequence = 10;
  c.layers = 2;
  c.width = 8;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 4;
  c.intermediate = 12;
  return c;
}

// Knows "red", "blue", "box" as words.
inline WordTokenizer small_tokenizer() {
  WordTokenizer tokenizer;
  tokenizer.train({"red box", "blue box"}, 1);
  return tokenizer;
}

// A picture whose pixels depend on `seed`.
inline data::CaptionedImage picture(const std::string& caption, int side, int seed) {
  data::CaptionedImage item{io::solid(side, side, 0, 0, 0), caption, "test", caption};
  uint32_t state = 12345u + 977u * static_cast<uint32_t>(seed);
  for (uint8_t& byte : item.image.rgb) {
    state = state * 1664525u + 1013904223u;
    byte = static_cast<uint8_t>(state >> 24);
  }
  return item;
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

inline void feed_batch(Oracle& oracle, const CaptionBatch& batch) {
  oracle.set("images", widened(batch.images));
  oracle.set("tokens", widened(batch.tokens));
  oracle.set("targets", widened(batch.targets));
  oracle.set("slots", widened(batch.slots));
}

inline void feed_parameters(Oracle& oracle, Graph& graph, const VisionGptConfig& config) {
  for (const Tensor& p : graph.parameters()) {
    const std::string& name = name_of_leaf(p);
    oracle.set(name, widened(initial_value(name, p.shape(), config, 7)));
  }
}

inline CaptionBatch pack(const std::vector<data::CaptionedImage>& items, int64_t rows,
                         const VisionGptConfig& config) {
  std::vector<const data::CaptionedImage*> list;
  for (const auto& item : items) list.push_back(&item);
  return pack_captions(list, rows, small_tokenizer(), config);
}

}  // namespace fusec::models
