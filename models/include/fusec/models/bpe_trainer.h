// Learns a byte-level BPE vocabulary from texts: counts words, then merges the pair of tokens that
// stands side by side most often into a new one, again and again (Sennrich et al. 2016, algorithm
// 1, with counts kept up to date instead of counted again).
//
// The same texts give the same ids, in any order, in any division over calls and for any number of
// threads. Of pairs that are equally frequent the one with the smaller left id goes first, then the
// one with the smaller right id: the rule of Hugging Face `tokenizers`, so that the same texts also
// give its ids.
//
// Ids: the special tokens in their order, the 256 bytes in the order of GPT-2's characters for them
// ('!' first), then the merged tokens in the order they were learned.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/models/bpe_tokenizer.h"

namespace fusec::models {

struct BpeTrainOptions {
  int32_t vocab_size = 32768;  // with special tokens and bytes; fewer if no pair is left
  int64_t min_frequency = 2;   // of a pair that is merged
  std::vector<std::string> specials;
  PreTokenizer pre_tokenizer = PreTokenizer::named("gpt2");
  int threads = 0;  // that count words; 0: one a core
};

class FUSEC_API BpeTrainer {
 public:
  // Options that make no sense are a user Error.
  explicit BpeTrainer(BpeTrainOptions options);
  ~BpeTrainer();
  BpeTrainer(BpeTrainer&&) noexcept;
  BpeTrainer& operator=(BpeTrainer&&) noexcept;

  // Adds the words of these texts to the counts. One text is the work of one thread, so a corpus
  // should come as many texts. Special tokens in a text are ordinary characters; runs of bytes that
  // are not UTF-8 are not counted.
  void count(const std::vector<std::string_view>& texts);
  void count(const std::vector<std::string>& texts);

  // Of what was counted so far. Can be called again after more texts.
  BpeTokenizer train() const;

 private:
  struct Counts;
  std::unique_ptr<Counts> counts_;
};

}  // namespace fusec::models
