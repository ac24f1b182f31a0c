// Rows of an embedding or head that were learned for the words of captions, carried over to the
// tokens of another vocabulary: a model that was pretrained on captions then knows the chat
// tokenizer's words from the first step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/tokenizer.h"

namespace fusec::models {

struct CarriedRows {
  int64_t whole = 0;   // tokens that are a word, or a byte, of the old vocabulary
  int64_t joined = 0;  // several of them: the mean of their rows
  int64_t kept = 0;    // special tokens, and parts of words: left as they were
};

// `from` [from.vocab_size() or more, width] -> `to` [to_tokens.vocab_size() or more, width], which
// holds first values.
CarriedRows carry_rows(std::span<const float> from, const WordTokenizer& from_tokens,
                       std::span<float> to, const BpeTokenizer& to_tokens, int64_t width);

}  // namespace fusec::models
