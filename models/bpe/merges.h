// The learned merges, and one word's bytes -> its ids: of the pairs that stand side by side the one
// learned first is merged, the leftmost of equal ones, until none is left.
//   "low" "er" learned:  l o w e r -> lo w e r -> low e r -> low er
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace fusec::models::bpe {

class Merges {
 public:
  // Ids and ranks share one word of the table.
  static constexpr int32_t kMostIds = 1 << 21;
  static constexpr uint32_t kMostMerges = 1 << 22;
  static constexpr uint32_t kNone = kMostMerges - 1;

  // Requires ids below kMostIds and fewer than kMostMerges - 1 merges in all. A pair that was added
  // before takes the new rank.
  void add(int32_t left, int32_t right, int32_t merged);

  // The rank of a pair, or kNone.
  uint32_t rank(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    size_t slot = slot_of(key);
    while (true) {
      const uint64_t entry = slots_[slot];
      if (entry >> kRankBits == key) return static_cast<uint32_t>(entry) & kNone;
      if (entry == kEmpty) return kNone;
      slot = (slot + 1) & (slots_.size() - 1);
    }
  }
  int32_t merged(uint32_t rank) const { return merged_[rank]; }
  std::pair<int32_t, int32_t> pair(uint32_t rank) const { return pairs_[rank]; }
  uint32_t size() const { return static_cast<uint32_t>(merged_.size()); }
  // Is this rank the one that counts for its pair?
  bool counts(uint32_t rank) const {
    return this->rank(pairs_[rank].first, pairs_[rank].second) == rank;
  }

  // Memory of merge(), to be used again.
  struct Scratch {
    std::vector<int32_t> ids;
    std::vector<uint32_t> ranks, next, last;
    std::vector<uint64_t> heap;
  };
  // Merges scratch.ids in place.
  void merge(Scratch& scratch) const;

 private:
  static constexpr int kIdBits = 21, kRankBits = 22;
  static constexpr uint64_t kEmpty = ~uint64_t{0};

  static uint64_t key_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(left) << kIdBits | static_cast<uint64_t>(right);
  }
  size_t slot_of(uint64_t key) const {
    return static_cast<size_t>((key * 0x9e3779b97f4a7c15ULL) >> shift_);
  }
  void insert(uint64_t key, uint32_t rank);
  void grow();
  template <size_t kSize>
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  std::vector<uint64_t> slots_ = std::vector<uint64_t>(2, kEmpty);
  int shift_ = 63;
  std::vector<int32_t> merged_;
  std::vector<std::pair<int32_t, int32_t>> pairs_;
};

}  // namespace fusec::models::bpe
