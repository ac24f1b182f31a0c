// How a text is cut into words before byte pairs are merged inside each: the normalizer and the
// pre-tokenizer of a Hugging Face tokenizer.json, as data. The models a name stands for are in
// named().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::models {

// One step; each cuts the pieces that the step before it left.
struct PreTokenizerStep {
  enum class Kind : uint8_t {
    split,       // by `pattern`
    digits,      // numbers (\p{N}) apart from the rest
    byte_level,  // a space in front, GPT-2's pattern, or neither
  };
  // What becomes of a match of `pattern`, and of the text between two of them.
  enum class Behavior : uint8_t {
    isolated,              // a piece of its own
    removed,               // dropped: what was there is lost
    contiguous,            // one piece with the matches beside it
    merged_with_previous,  // the end of the piece before it
    merged_with_next,      // the beginning of the piece behind it
  };

  Kind kind = Kind::split;
  std::string pattern;  // split: a regular expression (Unicode), or the text itself if `literal`
  bool literal = false;
  bool invert = false;  // split: what matches and what does not change places
  Behavior behavior = Behavior::isolated;
  bool individual_digits = true;  // digits: a piece each, else a run of them
  bool add_prefix_space = false;  // byte_level: a piece that begins with no space gets one
  bool use_regex = true;          // byte_level: cut by GPT-2's pattern

  bool operator==(const PreTokenizerStep&) const = default;
};

struct FUSEC_API PreTokenizer {
  bool nfc = false;  // the text is brought to Unicode's normalization form C first
  std::vector<PreTokenizerStep> steps;

  // By the name that GGUF files (tokenizer.ggml.pre) and tiktoken use: "gpt2", "smollm", "qwen2",
  // "llama-bpe", "cl100k", "o200k" and aliases of these. An unknown one is a user Error with the
  // list.
  static PreTokenizer named(std::string_view name);
  static std::vector<std::string> names();
  // One regular expression, each match a word.
  static PreTokenizer of_pattern(std::string pattern);

  bool operator==(const PreTokenizer&) const = default;
};

}  // namespace fusec::models
