// Text -> the added tokens in it, normalized text, words, bytes, ids; and ids -> bytes.
#include "fusec/models/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"
#include "model.h"
#include "normalize.h"
#include "utf8_runs.h"

namespace fusec::models {
namespace {

using bpe::Vocabulary;
using bpe::WordCache;

class Encoder {
 public:
  Encoder(const BpeModel& model, bool specials)
      : model_(model), scratch_(model.take()), specials_(specials) {}
  ~Encoder() { model_.give_back(std::move(scratch_)); }
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  std::vector<int32_t> encode(std::string_view text) {
    ids_.reserve(text.size() / 3 + 4);
    between_added(model_.in_raw_text, text, [&](std::string_view part) {
      if (model_.pre_tokenizer.nfc) part = bpe::to_nfc(part, scratch_->normalized);
      between_added(model_.in_normalized_text, part, [&](std::string_view plain) { words(plain); });
    });
    return std::move(ids_);
  }

 private:
  template <typename Part>
  void between_added(const bpe::AddedTokens& tokens, std::string_view text, Part part) {
    size_t done = 0;
    if (!tokens.empty(specials_)) {
      while (const auto found = tokens.find(text, done, specials_)) {
        if (found->begin > done) part(text.substr(done, found->begin - done));
        ids_.push_back(found->token->id);
        done = found->end;
      }
    }
    if (done < text.size()) part(text.substr(done));
  }

  void words(std::string_view text) {
    auto append_word = [&](std::string_view word) { append(word); };
    bpe::for_each_run(
        text,
        [&](std::string_view run) { model_.splitter->split(run, scratch_->split, append_word); },
        append_word);
  }

  void append(std::string_view word) {
    if (word.size() == 1) return append_byte(word[0]);
    if (word.size() > WordCache::kLongest) {
      merge(word);
      ids_.insert(ids_.end(), scratch_->merge.ids.begin(), scratch_->merge.ids.end());
      return;
    }
    const auto [slot, known] = scratch_->words.find(word);
    if (!known) {
      merge(word);
      const std::vector<int32_t>& ids = scratch_->merge.ids;
      if (ids.size() > WordCache::kMost) {
        ids_.insert(ids_.end(), ids.begin(), ids.end());
        return;
      }
      slot->size = static_cast<uint8_t>(word.size());
      slot->count = static_cast<uint8_t>(ids.size());
      std::copy(ids.begin(), ids.end(), slot->ids.begin());
    }
    ids_.insert(ids_.end(), slot->ids.begin(), slot->ids.begin() + slot->count);
  }

  void append_byte(char c) {
    const int32_t id = model_.byte_ids[static_cast<unsigned char>(c)];
    if (id != Vocabulary::kNone) ids_.push_back(id);
  }

  // Leaves the word's ids in the scratch memory.
  void merge(std::string_view word) {
    std::vector<int32_t>& ids = scratch_->merge.ids;
    ids.clear();
    if (model_.ignore_merges) {
      const int32_t id = model_.vocabulary.find(word);
      if (id != Vocabulary::kNone && !model_.specials[static_cast<size_t>(id)])
        return ids.push_back(id);
    }
    for (const char c : word) {
      const int32_t id = model_.byte_ids[static_cast<unsigned char>(c)];
      if (id != Vocabulary::kNone) ids.push_back(id);
    }
    model_.merges.merge(scratch_->merge);
  }

  const BpeModel& model_;
  std::unique_ptr<BpeModel::Scratch> scratch_;
  const bool specials_;
  std::vector<int32_t> ids_;
};

}  // namespace

BpeTokenizer::BpeTokenizer(std::shared_ptr<const BpeModel> model) : model_(std::move(model)) {}

BpeTokenizer BpeTokenizer::from_parts(const BpeParts& parts, const std::string& name) {
  bpe::ModelBuilder builder(name, parts.tokens.size() + parts.added.size());
  builder.added(parts.added);
  for (size_t id = 0; id < parts.tokens.size(); ++id)
    builder.token(static_cast<int64_t>(id), parts.tokens[id]);
  for (const std::string& merge : parts.merges) {
    const size_t space = merge.find(' ');
    if (space == std::string::npos) {
      fail_user(name + ": merge \"" + io::excerpt(merge) +
                "\"; expected two tokens and a space between them");
    }
    builder.merge(std::string_view(merge).substr(0, space),
                  std::string_view(merge).substr(space + 1));
  }
  return BpeTokenizer(
      builder.finish(parts.pre_tokenizer, parts.ignore_merges, parts.prefix, parts.suffix));
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text) const {
  return Encoder(*model_, false).encode(text);
}

std::vector<int32_t> BpeTokenizer::encode_with_specials(std::string_view text) const {
  return Encoder(*model_, true).encode(text);
}

const std::vector<int32_t>& BpeTokenizer::prefix() const { return model_->prefix; }
const std::vector<int32_t>& BpeTokenizer::suffix() const { return model_->suffix; }

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids, bool with_specials) const {
  std::string text;
  for (const int32_t id : ids) {
    if (!model_->vocabulary.holds(id)) {
      fail_user("token id " + std::to_string(id) + " has no token; the vocabulary has 0.." +
                std::to_string(vocab_size() - 1) + " (is it the tokenizer of this model?)");
    }
    if (with_specials || !is_special(id)) text += model_->vocabulary.bytes(id);
  }
  return text;
}

std::string_view BpeTokenizer::bytes(int32_t id) const {
  return model_->vocabulary.holds(id) ? model_->vocabulary.bytes(id) : std::string_view();
}

std::optional<int32_t> BpeTokenizer::find_special(std::string_view text) const {
  const auto found = model_->added_ids.find(std::string(text));
  if (found == model_->added_ids.end()) return {};
  return found->second;
}

int32_t BpeTokenizer::special(std::string_view text) const {
  if (const std::optional<int32_t> id = find_special(text)) return *id;
  fail_user("the tokenizer has no special token \"" + io::excerpt(text) + "\"; it has " +
            std::to_string(model_->added.size()) + " others");
}

bool BpeTokenizer::is_special(int32_t id) const {
  return id >= 0 && id < vocab_size() && model_->specials[static_cast<size_t>(id)];
}

int32_t BpeTokenizer::vocab_size() const { return model_->vocabulary.size(); }

bool BpeTokenizer::lossless() const {
  for (const int32_t id : model_->byte_ids)
    if (id == Vocabulary::kNone) return false;
  return true;
}

const PreTokenizer& BpeTokenizer::pre_tokenizer() const { return model_->pre_tokenizer; }
const std::vector<AddedToken>& BpeTokenizer::added_tokens() const { return model_->added; }

void BpeTokenizer::save(const std::string& path) const { io::write_file(path, json()); }

BpeTokenizer BpeTokenizer::load(const std::string& path) {
  return parse(io::read_file(path), path);
}

BpeTokenizer BpeTokenizer::load_tiktoken(const std::string& path, const PreTokenizer& pre_tokenizer,
                                         const std::vector<AddedToken>& added) {
  return parse_tiktoken(io::read_file(path), path, pre_tokenizer, added);
}

uint64_t BpeTokenizer::hash() const { return model_->hash; }

std::string BpeTokenizer::hash_text() const {
  std::string text(16, '0');
  uint64_t value = hash();
  for (size_t i = text.size(); i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace fusec::models
