#include "word_counts.h"

#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/base/hash.h"

namespace fusec::models::bpe {

void WordCounts::grow() {
  slots_.assign(std::max<size_t>(1024, slots_.size() * 2), 0);
  for (size_t i = 0; i < entries_.size(); ++i) {
    size_t slot = entries_[i].hash & (slots_.size() - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = static_cast<uint32_t>(i + 1);
  }
}

void WordCounts::add(std::string_view added, int64_t times) {
  if ((entries_.size() + 1) * 2 > slots_.size()) grow();
  const uint64_t hash = hash_text(added);
  size_t slot = hash & (slots_.size() - 1);
  for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
    Entry& entry = entries_[slots_[slot] - 1];
    if (entry.hash != hash || word(entry) != added) continue;
    entry.times += times;
    return;
  }
  if (entries_.size() + 1 >= UINT32_MAX || added.size() > UINT32_MAX)
    fail_user("a corpus of more than 4 billion different words, or with a word of 4 GB");
  entries_.push_back({hash, bytes_.size(), times, static_cast<uint32_t>(added.size())});
  bytes_ += added;
  slots_[slot] = static_cast<uint32_t>(entries_.size());
}

void WordCounts::add(const WordCounts& others) {
  for (const Entry& entry : others.entries_) add(others.word(entry), entry.times);
}

std::vector<std::pair<std::string_view, int64_t>> WordCounts::sorted() const {
  std::vector<std::pair<std::string_view, int64_t>> words;
  words.reserve(entries_.size());
  for (const Entry& entry : entries_) words.emplace_back(word(entry), entry.times);
  std::sort(words.begin(), words.end());
  return words;
}

}  // namespace fusec::models::bpe
