#include "pair_merger.h"

#include <algorithm>

#include "fusec/base/error.h"

namespace fusec::models::bpe {

PairMerger::PairMerger(const std::vector<std::pair<std::string_view, int64_t>>& words,
                       const std::vector<int32_t>& first) {
  uint64_t total = 0;
  for (const auto& [word, times] : words)
    if (word.size() > 1) total += word.size();
  if (total >= kEnd || words.size() >= kEnd) {
    fail_user("different words of " + std::to_string(total) +
              " bytes in all; expected less than 4 GB: train on part of the texts");
  }
  tokens_.reserve(total), next_.reserve(total), last_.reserve(total), word_.reserve(total);
  for (const auto& [word, times] : words) {
    if (word.size() < 2) continue;
    for (size_t i = 0; i < word.size(); ++i) {
      const auto place = static_cast<uint32_t>(tokens_.size());
      tokens_.push_back(first[static_cast<unsigned char>(word[i])]);
      last_.push_back(i == 0 ? kEnd : place - 1);
      next_.push_back(i + 1 == word.size() ? kEnd : place + 1);
      word_.push_back(static_cast<uint32_t>(times_.size()));
      if (i > 0) gain(tokens_[place - 1], tokens_[place], place - 1, times);
    }
    times_.push_back(times);
  }
  for (const auto& [key, pair] : pairs_) heap_.push({pair.count, key});
  gained_.clear();
}

void PairMerger::gain(int32_t left, int32_t right, uint32_t place, int64_t times) {
  const uint64_t key = key_of(left, right);
  Pair& pair = pairs_[key];
  pair.count += times;
  pair.places.push_back(place);
  gained_.push_back(key);
}

void PairMerger::lose(int32_t left, int32_t right, int64_t times) {
  const auto found = pairs_.find(key_of(left, right));
  if (found != pairs_.end()) found->second.count -= times;  // not found: the pair in work
}

PairMerger::Best PairMerger::take() {
  while (!heap_.empty()) {
    const Entry top = heap_.top();
    heap_.pop();
    const auto found = pairs_.find(top.key);
    if (found == pairs_.end()) continue;
    if (found->second.count != top.count) {
      if (found->second.count > 0) heap_.push({found->second.count, top.key});
      continue;
    }
    places_ = std::move(found->second.places);
    pairs_.erase(found);
    return {static_cast<int32_t>(top.key >> 32), static_cast<int32_t>(top.key & 0xffffffff),
            top.count};
  }
  return {};
}

void PairMerger::merge(const Best& best, int32_t merged) {
  std::sort(places_.begin(), places_.end());
  gained_.clear();
  for (const uint32_t place : places_) {
    // The place may have been merged otherwise since.
    if (tokens_[place] != best.left) continue;
    const uint32_t right = next_[place];
    if (right == kEnd || tokens_[right] != best.right) continue;
    const int64_t times = times_[word_[place]];
    const uint32_t before = last_[place], behind = next_[right];
    tokens_[place] = merged;
    tokens_[right] = -1;
    next_[place] = behind;
    if (before != kEnd) {
      lose(tokens_[before], best.left, times);
      gain(tokens_[before], merged, before, times);
    }
    if (behind != kEnd) {
      last_[behind] = place;
      lose(best.right, tokens_[behind], times);
      gain(merged, tokens_[behind], place, times);
    }
  }
  std::sort(gained_.begin(), gained_.end());
  gained_.erase(std::unique(gained_.begin(), gained_.end()), gained_.end());
  for (const uint64_t key : gained_)
    if (const Pair& pair = pairs_.at(key); pair.count > 0) heap_.push({pair.count, key});
}

}  // namespace fusec::models::bpe
