#include "splitter.h"

#include "patterns.h"

namespace fusec::models::bpe {

Splitter::Splitter(const PreTokenizer& pre_tokenizer, const std::string& place, bool fast) {
  for (const PreTokenizerStep& wanted : pre_tokenizer.steps) {
    std::string pattern = wanted.pattern;
    if (wanted.kind == PreTokenizerStep::Kind::digits)
      pattern = wanted.individual_digits ? "\\p{N}" : "\\p{N}+";
    if (wanted.kind == PreTokenizerStep::Kind::byte_level) {
      if (wanted.add_prefix_space) steps_.emplace_back();
      if (!wanted.use_regex) continue;
      pattern = kGpt2Pattern;
    }
    Step step;
    step.regex.emplace(pattern, wanted.literal, place);
    if (wanted.kind == PreTokenizerStep::Kind::split) {
      step.behavior = wanted.behavior;
      step.invert = wanted.invert;
    }
    // The fast words say where matches are, not what becomes of them.
    if (fast && !wanted.literal && step.behavior == Behavior::isolated)
      step.fast = fast_word_of(pattern);
    steps_.push_back(std::move(step));
  }
}

}  // namespace fusec::models::bpe
