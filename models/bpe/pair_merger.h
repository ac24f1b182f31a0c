// Words with their counts -> merges, the most frequent pair first.
//
// All words lie in one list of tokens; a pair keeps its count and the places where it was seen. A
// merge visits its places only and corrects the counts of the pairs beside them; a heap, whose
// entries may be out of date, gives the next pair.
#pragma once

#include <cstdint>
#include <queue>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fusec/base/hash.h"

namespace fusec::models::bpe {

class PairMerger {
 public:
  // A word's tokens are its bytes through `first`; `words` in a fixed order.
  PairMerger(const std::vector<std::pair<std::string_view, int64_t>>& words,
             const std::vector<int32_t>& first);

  struct Best {
    int32_t left = 0, right = 0;
    int64_t count = 0;  // 0: no pair is left
  };
  // The pair that stands side by side most often; of equal ones that with the smaller left id, then
  // the smaller right id. It is not looked at again.
  Best take();
  // Makes `merged` of every pair that take() gave last, from each word's front.
  void merge(const Best& best, int32_t merged);

 private:
  static constexpr uint32_t kEnd = ~uint32_t{0};
  struct Pair {
    int64_t count = 0;
    std::vector<uint32_t> places;
  };
  struct Hash {
    size_t operator()(uint64_t key) const { return hash_mix(key); }
  };
  struct Entry {
    int64_t count;
    uint64_t key;
    bool operator<(const Entry& o) const {
      return count != o.count ? count < o.count : key > o.key;
    }
  };
  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << 32 | static_cast<uint32_t>(right);
  }
  void gain(int32_t left, int32_t right, uint32_t place, int64_t times);
  void lose(int32_t left, int32_t right, int64_t times);

  std::vector<int32_t> tokens_;
  std::vector<uint32_t> next_, last_, word_;
  std::vector<int64_t> times_;  // of a word
  std::unordered_map<uint64_t, Pair, Hash> pairs_;
  std::priority_queue<Entry> heap_;
  std::vector<uint32_t> places_;  // of the pair that was taken
  std::vector<uint64_t> gained_;  // pairs that a merge made
};

}  // namespace fusec::models::bpe
