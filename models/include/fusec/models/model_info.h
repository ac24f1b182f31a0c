// What a stored model is, apart from its weights: sizes, tokenizer, template, special tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/config.h"

namespace fusec::models {

// Which modules a file holds. decoder: embedding, trunk, head. vision: the encoder alone. whole:
// all of a vision-GPT.
enum class ModelPart : uint8_t { decoder, vision, whole };
const std::string& name_of(ModelPart part);

struct SpecialIds {
  std::optional<int32_t> bos, pad;
  std::vector<int32_t> eos;  // each of them ends a turn
  bool operator==(const SpecialIds&) const = default;
};

struct ModelInfo {
  std::string family;  // "llama", ...; "fusec" for this project's own
  ModelPart part = ModelPart::decoder;
  // Of a decoder: text alone, `sequence` is the longest text it was made for. Of a tower: `vision`.
  VisionGptConfig config;
  std::optional<BpeTokenizer> tokenizer;
  std::string tokenizer_hash;  // 16 hexadecimal digits; "" if there is no tokenizer
  std::string chat_template;   // Jinja text; "" if there is none
  SpecialIds ids;
};

}  // namespace fusec::models
