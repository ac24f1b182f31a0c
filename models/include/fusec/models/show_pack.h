// One pack of a training batch as text for a terminal: documents, what is supervised, special
// tokens and images, with a legend and the supervised share. What a model is trained on can then be
// read before it is trained.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "fusec/base/export.h"
#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/chat_render.h"

namespace fusec::models {

struct ShownPack {
  std::span<const int32_t> tokens;
  std::span<const int32_t> targets;       // as many; -1: not supervised
  std::span<const TokenRange> documents;  // or pieces of them; ascending; the rest is padding
  std::span<const ImageSpan> images;      // ascending, counted from the pack's first token
};

// With colours: supervised text is green, special tokens are magenta, images blue, the rest dim.
// Without: supervised text stands in [[ ]]. Line breaks are shown and made; other control
// characters and bytes that are not UTF-8 are spelled, so that no text can steer the terminal.
// Ranges that contradict each other, or the tokens, are a user Error.
FUSEC_API std::string show_pack(const ShownPack& pack, const BpeTokenizer& tokenizer, bool colours);

}  // namespace fusec::models
