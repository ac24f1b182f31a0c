// Made-up documents with images for tests of packs, and their packs.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/hash.h"
#include "fusec/base/philox.h"
#include "fusec/models/packed_graphs.h"
#include "fusec/models/vision_gpt.h"
#include "small_model.h"

namespace fusec::models {

struct Document {
  std::vector<int32_t> tokens, targets;
  std::vector<float> images;      // [n, 3, S, S]
  std::vector<int32_t> image_at;  // [n * queries], places of image rows in the document
};

struct HostPack {
  std::vector<int32_t> tokens, positions, targets, cu_seqlens, slots;
  std::vector<float> images;
};

// `images` images, each followed by a word, then words up to `length` tokens; about half of the
// words are targets of the token before them.
inline Document made_up(const VisionGptConfig& c, int64_t length, int64_t images, uint64_t key) {
  Document d;
  auto word = [&](int64_t i) { return static_cast<int32_t>(philox(key, i)[0] % c.vocab); };
  for (int64_t n = 0; n < images; ++n) {
    for (int64_t q = 0; q < c.resampler.queries; ++q) {
      d.image_at.push_back(static_cast<int32_t>(d.tokens.size()));
      d.tokens.push_back(0);
    }
    d.tokens.push_back(word(n));
    for (int64_t i = 0; i < 3 * c.vision.image * c.vision.image; ++i)
      d.images.push_back(static_cast<float>(philox(key + 1000 + n, i)[0] % 1024) / 256);
  }
  while (static_cast<int64_t>(d.tokens.size()) < length) d.tokens.push_back(word(d.tokens.size()));
  for (size_t i = 0; i < d.tokens.size(); ++i) {
    bool supervised = i + 1 < d.tokens.size() && philox(key + 1, i)[1] % 2 == 0;
    d.targets.push_back(supervised ? d.tokens[i + 1] : -1);
  }
  return d;
}

inline HostPack packed(const VisionGptConfig& c, const PackShape& shape,
                       const std::vector<Document>& documents) {
  HostPack p;
  p.cu_seqlens.push_back(0);
  for (const Document& d : documents) {
    auto start = static_cast<int32_t>(p.tokens.size());
    for (size_t i = 0; i < d.tokens.size(); ++i) p.positions.push_back(static_cast<int32_t>(i));
    p.tokens.insert(p.tokens.end(), d.tokens.begin(), d.tokens.end());
    p.targets.insert(p.targets.end(), d.targets.begin(), d.targets.end());
    p.images.insert(p.images.end(), d.images.begin(), d.images.end());
    for (int32_t at : d.image_at) p.slots.push_back(start + at);
    p.cu_seqlens.push_back(static_cast<int32_t>(p.tokens.size()));
  }
  REQUIRE(static_cast<int64_t>(p.tokens.size()) <= shape.tokens);
  REQUIRE(static_cast<int64_t>(documents.size()) <= shape.max_documents);
  REQUIRE(static_cast<int64_t>(p.slots.size()) <= shape.max_images * c.resampler.queries);
  p.cu_seqlens.resize(shape.max_documents + 1, p.cu_seqlens.back());
  p.tokens.resize(shape.tokens, 0);
  p.positions.resize(shape.tokens, 0);
  p.targets.resize(shape.tokens, -1);
  p.slots.resize(shape.max_images * c.resampler.queries, -1);
  p.images.resize(shape.max_images * 3 * c.vision.image * c.vision.image, 0.0f);
  return p;
}

// To an Executable or, widened, an Oracle.
template <class Feed>
void feed_pack(const VisionGptConfig& c, const HostPack& p, bool targets, Feed feed) {
  feed("tokens", p.tokens);
  feed("positions", p.positions);
  feed("cu_seqlens", p.cu_seqlens);
  if (targets) feed("targets", p.targets);
  if (c.text_only()) return;
  feed("slots", p.slots);
  feed("images", p.images);
}

inline void feed_pack(Executable& exe, const VisionGptConfig& c, const HostPack& p,
                      bool targets = true) {
  feed_pack(c, p, targets, [&](const char* name, const auto& v) { exe.set(name, v); });
}

inline void feed_pack(Oracle& oracle, const VisionGptConfig& c, const HostPack& p,
                      bool targets = true) {
  feed_pack(c, p, targets, [&](const char* name, const auto& v) { oracle.set(name, widened(v)); });
}

// First values of every parameter; biases and norms get values of their own, too, so that nothing
// is multiplied by 1 or added as 0.
inline std::vector<float> test_value(const std::string& name, const Shape& shape,
                                     const VisionGptConfig& config) {
  std::vector<float> values = initial_value(name, shape, config, 7);
  if (shape.size() == 1 || name.ends_with(".lora_b"))
    for (size_t i = 0; i < values.size(); ++i) {
      PhiloxBlock words = philox(hash_text(name), i);
      values[i] += 0.2f * static_cast<float>(philox_normal(words[0], words[1]));
    }
  return values;
}

inline void fill_parameters(Executable& exe, const VisionGptConfig& config) {
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::parameter) exe.set(b.name, test_value(b.name, b.type.shape, config));
}

inline void fill_parameters(Oracle& oracle, Graph& graph, const VisionGptConfig& config) {
  for (const Tensor& p : graph.parameters())
    oracle.set(p.name(), widened(test_value(p.name(), p.shape(), config)));
}

// small_config() and its likeness to public decoders.
inline std::vector<VisionGptConfig> small_configs() {
  VisionGptConfig plain = small_config(), qwen = plain, llama = plain;
  for (VisionGptConfig* c : {&plain, &qwen, &llama}) c->vocab = 40, c->sequence = 32;
  qwen.name = "like Qwen3";
  qwen.qk_norm = QkNorm::before_rope;
  qwen.attention_bias = qwen.weighted_norms = qwen.tied_head = true;
  qwen.embedding_norm = false;
  qwen.softcap = 0;
  llama.name = "like Llama 3";
  llama.qk_norm = QkNorm::none;
  llama.weighted_norms = true;
  llama.embedding_norm = false;
  llama.softcap = 0;
  llama.rope_scaling = {RopeScaling::Kind::llama3, 8, 1, 4, 16};
  return {plain, qwen, llama};
}

inline CompileOptions on_cpu(const LoadedPlan* share = nullptr) {
  CompileOptions options;
  options.device = "cpu";
  options.share = share;
  return options;
}

}  // namespace fusec::models
