// Checked contents of any format -> a model.
#include "model.h"

#include <algorithm>
#include <utility>

#include "byte_text.h"
#include "fusec/base/error.h"
#include "fusec/base/hash.h"
#include "fusec/base/utf8.h"
#include "fusec/io/json.h"
#include "normalize.h"

namespace fusec::models {

std::unique_ptr<BpeModel::Scratch> BpeModel::take() const {
  {
    std::lock_guard lock(mutex_);
    if (!free_.empty()) {
      std::unique_ptr<Scratch> scratch = std::move(free_.back());
      free_.pop_back();
      return scratch;
    }
  }
  return std::make_unique<Scratch>();
}

void BpeModel::give_back(std::unique_ptr<Scratch> scratch) const {
  std::lock_guard lock(mutex_);
  free_.push_back(std::move(scratch));
}

namespace bpe {
namespace {

constexpr int64_t kMostGaps = 1 << 16;  // ids without a token: padding, reserved ones
constexpr char kFormat[] = "fusec-bpe-1";

std::string shown(std::string_view text) {
  return '"' + io::excerpt(is_utf8(text) ? std::string(text) : to_byte_text(text)) + '"';
}

}  // namespace

ModelBuilder::ModelBuilder(std::string name, size_t tokens)
    : name_(std::move(name)),
      model_(std::make_shared<BpeModel>()),
      most_ids_(std::min<int64_t>(Merges::kMostIds, static_cast<int64_t>(tokens) + kMostGaps)) {
  model_->byte_ids.fill(Vocabulary::kNone);
}

void ModelBuilder::place(int64_t id, std::string_view bytes) {
  if (bytes.empty()) fail_user(name_ + ": token " + std::to_string(id) + " is empty");
  if (id < 0 || id >= most_ids_) {
    fail_user(name_ + ": token " + shown(bytes) + " has id " + std::to_string(id) +
              "; expected ids from 0 to about the number of tokens, below " +
              std::to_string(most_ids_));
  }
  if (!model_->vocabulary.add(static_cast<int32_t>(id), bytes)) {
    fail_user(name_ + ": id " + std::to_string(id) + " is that of " +
              shown(model_->vocabulary.bytes(static_cast<int32_t>(id))) + " and of " +
              shown(bytes) + "; expected one token an id");
  }
  if (model_->forms.size() < static_cast<size_t>(model_->vocabulary.size())) {
    model_->forms.resize(static_cast<size_t>(model_->vocabulary.size()));
    model_->specials.resize(static_cast<size_t>(model_->vocabulary.size()));
  }
}

void ModelBuilder::added(const std::vector<AddedToken>& tokens) {
  model_->added = tokens;
  std::sort(model_->added.begin(), model_->added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (const AddedToken& token : model_->added) {
    if (!is_utf8(token.text))
      fail_user(name_ + ": added token " + std::to_string(token.id) + " is not UTF-8");
    place(token.id, token.text);
    model_->specials[static_cast<size_t>(token.id)] = token.special;
    if (!model_->added_ids.emplace(token.text, token.id).second)
      fail_user(name_ + ": added token " + shown(token.text) + " stands twice");
  }
}

void ModelBuilder::token(int64_t id, std::string_view spelled) {
  const std::optional<std::string> bytes = from_byte_text(spelled);
  if (bytes)
    place_in_vocabulary(id, spelled, *bytes, BpeModel::Form::spelled);
  else
    place_in_vocabulary(id, spelled, spelled, BpeModel::Form::raw);
}

void ModelBuilder::token_of_bytes(int64_t id, std::string_view bytes) {
  place_in_vocabulary(id, bytes, bytes, BpeModel::Form::spelled);
}

void ModelBuilder::place_in_vocabulary(int64_t id, std::string_view text, std::string_view bytes,
                                       BpeModel::Form form) {
  // An added token may stand in the vocabulary too, as it is or spelled.
  const auto same = model_->added_ids.find(std::string(bytes));
  const auto same_raw = model_->added_ids.find(std::string(text));
  if (same != model_->added_ids.end() && same->second == id) {
  } else if (same_raw != model_->added_ids.end() && same_raw->second == id) {
    form = BpeModel::Form::raw;
  } else {
    place(id, bytes);
  }
  BpeModel::Form& now = model_->forms[static_cast<size_t>(id)];
  if (now != BpeModel::Form::none)
    fail_user(name_ + ": token " + shown(text) + " stands twice; expected it once");
  now = form;
  if (form == BpeModel::Form::raw) return;
  if (!model_->vocabulary.index(static_cast<int32_t>(id)))
    fail_user(name_ + ": token " + shown(text) + " stands twice; expected it once");
  if (bytes.size() == 1 && !model_->specials[static_cast<size_t>(id)])
    model_->byte_ids[static_cast<unsigned char>(bytes[0])] = static_cast<int32_t>(id);
}

int32_t ModelBuilder::token_of(std::string_view spelled) const {
  const std::optional<std::string> bytes = from_byte_text(spelled);
  return bytes ? vocabulary().find(*bytes) : Vocabulary::kNone;
}

void ModelBuilder::merge(std::string_view left, std::string_view right) {
  const int32_t a = token_of(left), b = token_of(right);
  const int32_t both =
      a == Vocabulary::kNone || b == Vocabulary::kNone
          ? Vocabulary::kNone
          : vocabulary().find(std::string(vocabulary().bytes(a)).append(vocabulary().bytes(b)));
  if (both == Vocabulary::kNone) {
    fail_user(name_ + ": merge " + std::to_string(model_->merges.size()) + " is of " + shown(left) +
              " and " + shown(right) + "; expected two tokens of the vocabulary whose join is one");
  }
  merge_ids(a, b, both);
}

void ModelBuilder::merge_ids(int32_t left, int32_t right, int32_t merged) {
  if (model_->merges.size() + 1 >= Merges::kNone)
    fail_user(name_ + ": more than " + std::to_string(Merges::kNone - 1) + " merges");
  // A special token is never made from text, whatever the file says.
  if (!model_->specials[static_cast<size_t>(merged)]) model_->merges.add(left, right, merged);
}

void ModelBuilder::index_added() {
  std::string storage;
  for (const AddedToken& token : model_->added) {
    if (!token.normalized)
      model_->in_raw_text.add(token, token.text);
    else if (model_->pre_tokenizer.nfc)
      model_->in_normalized_text.add(token, std::string(to_nfc(token.text, storage)));
    else
      model_->in_normalized_text.add(token, token.text);
  }
}

uint64_t ModelBuilder::hash() const {
  const BpeModel& m = *model_;
  uint64_t hash = hash_text(kFormat);
  auto number = [&](uint64_t value) { hash = hash_combine(hash, value); };
  auto text = [&](std::string_view value) { hash = hash_combine(hash, hash_text(value)); };
  for (int32_t id = 0; id < m.vocabulary.size(); ++id) {
    if (m.vocabulary.holds(id)) text(m.vocabulary.bytes(id));
    number(static_cast<uint64_t>(m.forms[static_cast<size_t>(id)]));
  }
  for (uint32_t rank = 0; rank < m.merges.size(); ++rank) {
    if (!m.merges.counts(rank)) continue;
    number(static_cast<uint64_t>(m.merges.pair(rank).first));
    number(static_cast<uint64_t>(m.merges.pair(rank).second));
  }
  for (const PreTokenizerStep& step : m.pre_tokenizer.steps) {
    text(step.pattern);
    number(static_cast<uint64_t>(step.kind) | static_cast<uint64_t>(step.behavior) << 8 |
           uint64_t{step.literal} << 16 | uint64_t{step.invert} << 17 |
           uint64_t{step.individual_digits} << 18 | uint64_t{step.add_prefix_space} << 19 |
           uint64_t{step.use_regex} << 20);
  }
  for (const AddedToken& token : m.added) {
    number(static_cast<uint64_t>(token.id));
    number(uint64_t{token.special} | uint64_t{token.lstrip} << 1 | uint64_t{token.rstrip} << 2 |
           uint64_t{token.normalized} << 3);
  }
  for (const std::vector<int32_t>* ids : {&m.prefix, &m.suffix}) {
    number(ids->size());
    for (const int32_t id : *ids) number(static_cast<uint64_t>(id));
  }
  number(uint64_t{m.ignore_merges} | uint64_t{m.pre_tokenizer.nfc} << 1);
  return hash;
}

std::shared_ptr<const BpeModel> ModelBuilder::finish(const PreTokenizer& pre_tokenizer,
                                                     bool ignore_merges,
                                                     const std::vector<int32_t>& prefix,
                                                     const std::vector<int32_t>& suffix) {
  if (std::all_of(model_->byte_ids.begin(), model_->byte_ids.end(),
                  [](int32_t id) { return id == Vocabulary::kNone; })) {
    fail_user(name_ + ": no token is a single byte; expected a byte-level vocabulary");
  }
  std::vector<PreTokenizerStep>& steps = (model_->pre_tokenizer = pre_tokenizer).steps;
  const auto to_bytes = std::find_if(steps.begin(), steps.end(), [](const PreTokenizerStep& step) {
    return step.kind == PreTokenizerStep::Kind::byte_level;
  });
  if (to_bytes == steps.end()) {
    steps.emplace_back().kind = PreTokenizerStep::Kind::byte_level;
    steps.back().use_regex = false;
  } else if (to_bytes + 1 != steps.end()) {
    fail_unsupported(name_ +
                     ": a pre-tokenizer's step behind ByteLevel, which sees bytes; "
                     "expected ByteLevel last");
  }
  model_->ignore_merges = ignore_merges;
  model_->prefix = prefix, model_->suffix = suffix;
  for (const std::vector<int32_t>* ids : {&prefix, &suffix})
    for (const int32_t id : *ids)
      if (!vocabulary().holds(id))
        fail_user(name_ + ": token " + std::to_string(id) +
                  " goes around a text; expected one of the vocabulary");
  model_->splitter.emplace(model_->pre_tokenizer, name_);
  index_added();
  model_->hash = hash();
  return std::move(model_);
}

}  // namespace bpe
}  // namespace fusec::models
