// Texts -> counts of words, on several threads -> merges -> a tokenizer.
#include "fusec/models/bpe_trainer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "byte_text.h"
#include "fusec/base/error.h"
#include "model.h"
#include "normalize.h"
#include "pair_merger.h"
#include "utf8_runs.h"
#include "word_counts.h"

namespace fusec::models {
namespace {

using bpe::PairMerger;
using bpe::Vocabulary;

constexpr char kName[] = "the trained tokenizer";

void count_words(const PreTokenizer& pre_tokenizer, const bpe::Splitter& splitter,
                 std::string_view text, bpe::Splitter::Scratch& scratch, std::string& storage,
                 bpe::WordCounts& counts) {
  if (pre_tokenizer.nfc) text = bpe::to_nfc(text, storage);
  bpe::for_each_run(
      text,
      [&](std::string_view run) {
        splitter.split(run, scratch, [&](std::string_view word) { counts.add(word); });
      },
      [](std::string_view) {});
}

}  // namespace

struct BpeTrainer::Counts {
  BpeTrainOptions options;
  bpe::Splitter splitter;
  bpe::WordCounts words;
};

BpeTrainer::BpeTrainer(BpeTrainOptions options) {
  const auto least = static_cast<int64_t>(options.specials.size()) + 256;
  if (options.vocab_size < least || options.vocab_size > bpe::Merges::kMostIds) {
    fail_user("vocab_size is " + std::to_string(options.vocab_size) + "; expected " +
              std::to_string(least) + " (bytes and special tokens) to " +
              std::to_string(bpe::Merges::kMostIds));
  }
  if (options.min_frequency < 1)
    fail_user("min_frequency is " + std::to_string(options.min_frequency) +
              "; expected at least 1");
  if (options.threads < 0)
    fail_user("threads is " + std::to_string(options.threads) + "; expected 0 (all cores) or more");
  bpe::Splitter splitter(options.pre_tokenizer, kName);
  counts_ = std::make_unique<Counts>(Counts{std::move(options), std::move(splitter), {}});
}

BpeTrainer::~BpeTrainer() = default;
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;
BpeTrainer& BpeTrainer::operator=(BpeTrainer&&) noexcept = default;

void BpeTrainer::count(const std::vector<std::string>& texts) {
  count(std::vector<std::string_view>(texts.begin(), texts.end()));
}

void BpeTrainer::count(const std::vector<std::string_view>& texts) {
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr first;
  auto work = [&] {
    try {
      bpe::WordCounts words;
      bpe::Splitter::Scratch scratch;
      std::string storage;
      for (size_t i = next++; i < texts.size(); i = next++)
        count_words(counts_->options.pre_tokenizer, counts_->splitter, texts[i], scratch, storage,
                    words);
      std::lock_guard lock(mutex);
      if (!first) counts_->words.add(words);
    } catch (...) {
      next = texts.size();
      std::lock_guard lock(mutex);
      if (!first) first = std::current_exception();
    }
  };
  const size_t wanted = counts_->options.threads > 0 ? static_cast<size_t>(counts_->options.threads)
                                                     : std::thread::hardware_concurrency();
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < std::min(wanted, texts.size()); ++i) {
    try {
      helpers.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // fewer threads then
    }
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  if (first) std::rethrow_exception(first);
}

BpeTokenizer BpeTrainer::train() const {
  const BpeTrainOptions& options = counts_->options;
  bpe::ModelBuilder builder(kName, static_cast<size_t>(options.vocab_size));
  std::vector<AddedToken> specials;
  for (const std::string& text : options.specials) {
    AddedToken token;
    token.id = static_cast<int32_t>(specials.size());
    token.text = text;
    specials.push_back(std::move(token));
  }
  builder.added(specials);
  for (const AddedToken& token : specials) builder.token_of_bytes(token.id, token.text);
  auto id = static_cast<int32_t>(specials.size());
  std::vector<int32_t> first(256);
  for (const unsigned char byte : bpe::bytes_in_order()) {
    first[byte] = id;
    const char bytes = static_cast<char>(byte);
    builder.token_of_bytes(id++, {&bytes, 1});
  }
  PairMerger merger(counts_->words.sorted(), first);
  const Vocabulary& vocabulary = builder.vocabulary();
  while (id < options.vocab_size) {
    const PairMerger::Best best = merger.take();
    if (best.count < options.min_frequency) break;
    const std::string joined =
        std::string(vocabulary.bytes(best.left)).append(vocabulary.bytes(best.right));
    int32_t merged = vocabulary.find(joined);  // another pair may have made the token before
    if (merged != Vocabulary::kNone && merged < static_cast<int32_t>(specials.size()))
      continue;  // no merge makes a special token
    if (merged == Vocabulary::kNone) builder.token_of_bytes(merged = id++, joined);
    builder.merge_ids(best.left, best.right, merged);
    merger.merge(best, merged);
  }
  return BpeTokenizer(builder.finish(options.pre_tokenizer, false, {}, {}));
}

}  // namespace fusec::models
