// What a BpeTokenizer holds, and how every format's reader builds it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "added_tokens.h"
#include "fusec/models/bpe_tokenizer.h"
#include "merges.h"
#include "splitter.h"
#include "vocabulary.h"
#include "word_cache.h"

namespace fusec::models {

struct BpeModel {
  // What an id is to the model's vocabulary.
  enum class Form : uint8_t {
    none,     // not in it: a gap, or an added token
    spelled,  // in it, as to_byte_text() of its bytes
    raw,      // in it, as its bytes
  };
  // Memory of one thread's encoding.
  struct Scratch {
    bpe::Splitter::Scratch split;
    bpe::Merges::Scratch merge;
    bpe::WordCache words;
    std::string normalized;
  };

  bpe::Vocabulary vocabulary;  // added tokens too
  std::vector<Form> forms;
  std::vector<bool> specials;
  bpe::Merges merges;
  std::array<int32_t, 256> byte_ids;
  bool ignore_merges = false;
  PreTokenizer pre_tokenizer;
  std::optional<bpe::Splitter> splitter;
  std::vector<AddedToken> added;
  std::unordered_map<std::string, int32_t> added_ids;
  bpe::AddedTokens in_raw_text, in_normalized_text;
  std::vector<int32_t> prefix, suffix;
  uint64_t hash = 0;

  // A Scratch that no other thread has, until it is given back.
  std::unique_ptr<Scratch> take() const;
  void give_back(std::unique_ptr<Scratch> scratch) const;

 private:
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> free_;
};

namespace bpe {

// Added tokens first, then the vocabulary, then merges in their order, then finish(). Contents that
// are no tokenizer are a user Error, which `name` begins.
class ModelBuilder {
 public:
  // `tokens`: how many there will be, added ones too; no id may lie far above that.
  ModelBuilder(std::string name, size_t tokens);

  void added(const std::vector<AddedToken>& tokens);
  // A token of the vocabulary as JSON and GGUF spell it, or by its bytes.
  void token(int64_t id, std::string_view spelled);
  void token_of_bytes(int64_t id, std::string_view bytes);
  // Of two tokens, spelled, or by their ids.
  void merge(std::string_view left, std::string_view right);
  void merge_ids(int32_t left, int32_t right, int32_t merged);
  const Vocabulary& vocabulary() const { return model_->vocabulary; }

  std::shared_ptr<const BpeModel> finish(const PreTokenizer& pre_tokenizer, bool ignore_merges,
                                         const std::vector<int32_t>& prefix,
                                         const std::vector<int32_t>& suffix);

 private:
  void place(int64_t id, std::string_view bytes);
  void place_in_vocabulary(int64_t id, std::string_view text, std::string_view bytes,
                           BpeModel::Form form);
  int32_t token_of(std::string_view spelled) const;
  void index_added();
  uint64_t hash() const;

  std::string name_;
  std::shared_ptr<BpeModel> model_;
  int64_t most_ids_;
};

}  // namespace bpe
}  // namespace fusec::models
