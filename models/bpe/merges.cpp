// Short words look at every pair for the next merge, which is fastest for the few that they have;
// long ones keep the pairs in a heap, so that a word of a million bytes takes n log n steps.
#include "merges.h"

#include <algorithm>
#include <functional>
#include <limits>

#include "fusec/base/error.h"

namespace fusec::models::bpe {
namespace {

constexpr size_t kShort = 128;
constexpr int kPlaceBits = 7;
constexpr int32_t kNoOrder = std::numeric_limits<int32_t>::max();
static_assert(Merges::kMostMerges <= uint32_t{1} << (31 - kPlaceBits));
constexpr uint32_t kGone = ~uint32_t{0};

}  // namespace

void Merges::insert(uint64_t key, uint32_t rank) {
  size_t slot = slot_of(key);
  while (slots_[slot] != kEmpty && slots_[slot] >> kRankBits != key)
    slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = key << kRankBits | rank;
}

void Merges::grow() {
  std::vector<uint64_t> old(slots_.size() * 2, kEmpty);
  old.swap(slots_);
  --shift_;
  for (const uint64_t entry : old)
    if (entry != kEmpty) insert(entry >> kRankBits, static_cast<uint32_t>(entry) & kNone);
}

void Merges::add(int32_t left, int32_t right, int32_t merged) {
  if ((merged_.size() + 1) * 2 > slots_.size()) grow();
  insert(key_of(left, right), size());
  merged_.push_back(merged);
  pairs_.emplace_back(left, right);
}

void Merges::merge(Scratch& scratch) const {
  const size_t count = scratch.ids.size();
  if (count < 2) return;
  if (count <= 16)
    merge_short<16>(scratch);
  else if (count <= 32)
    merge_short<32>(scratch);
  else if (count <= 64)
    merge_short<64>(scratch);
  else if (count <= kShort)
    merge_short<kShort>(scratch);
  else
    merge_long(scratch);
}

// Tokens keep their places; a merge leaves its right one's empty. A place's order is the rank of
// the pair that begins there, then the place: the least is the next merge, found by vector minimum.
template <size_t kSize>
void Merges::merge_short(Scratch& scratch) const {
  static_assert(kSize <= size_t{1} << kPlaceBits);
  int32_t* ids = scratch.ids.data();
  const size_t count = scratch.ids.size();
  int32_t orders[kSize];
  uint8_t next[kSize], last[kSize];
  auto order = [&](size_t left, size_t right) {
    const uint32_t ranked = rank(ids[left], ids[right]);
    return ranked == kNone ? kNoOrder : static_cast<int32_t>(ranked << kPlaceBits | left);
  };
  for (size_t i = 0; i + 1 < count; ++i) orders[i] = order(i, i + 1);
  for (size_t i = count - 1; i < kSize; ++i) orders[i] = kNoOrder;
  for (size_t i = 0; i < count; ++i) {
    next[i] = static_cast<uint8_t>(i + 1);
    last[i] = static_cast<uint8_t>(i - 1);
  }
  while (true) {
    int32_t least = kNoOrder;
    for (size_t i = 0; i < kSize; ++i) least = orders[i] < least ? orders[i] : least;
    if (least == kNoOrder) break;
    const size_t left = static_cast<uint32_t>(least) & ((1u << kPlaceBits) - 1);
    const size_t right = next[left], behind = next[right];
    ids[left] = merged_[static_cast<uint32_t>(least) >> kPlaceBits];
    orders[right] = kNoOrder;
    next[left] = static_cast<uint8_t>(behind);
    if (behind < count) {
      last[behind] = static_cast<uint8_t>(left);
      orders[left] = order(left, behind);
    } else {
      orders[left] = kNoOrder;
    }
    if (left > 0) orders[last[left]] = order(last[left], left);
  }
  size_t kept = 0;
  for (size_t i = 0; i < count; i = next[i]) ids[kept++] = ids[i];
  scratch.ids.resize(kept);
}

void Merges::merge_long(Scratch& s) const {
  const size_t count = s.ids.size();
  if (count >= kGone)
    fail_user("a word of " + std::to_string(count) + " bytes; expected less than 4 GB");
  const auto size = static_cast<uint32_t>(count);
  s.ranks.resize(count), s.next.resize(count), s.last.resize(count);
  s.heap.clear();
  auto push = [&](uint32_t i) {
    s.ranks[i] = s.next[i] < size ? rank(s.ids[i], s.ids[s.next[i]]) : kNone;
    if (s.ranks[i] == kNone) return;
    s.heap.push_back(uint64_t{s.ranks[i]} << 32 | i);
    std::push_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  };
  for (uint32_t i = 0; i < size; ++i) s.next[i] = i + 1, s.last[i] = i - 1;
  for (uint32_t i = 0; i < size; ++i) push(i);
  while (!s.heap.empty()) {
    std::pop_heap(s.heap.begin(), s.heap.end(), std::greater<>());
    const auto i = static_cast<uint32_t>(s.heap.back());
    const auto ranked = static_cast<uint32_t>(s.heap.back() >> 32);
    s.heap.pop_back();
    if (s.ranks[i] != ranked) continue;  // one of the two was merged since
    const uint32_t right = s.next[i];
    s.ids[i] = merged_[ranked];
    s.ranks[right] = kGone;
    s.next[i] = s.next[right];
    if (s.next[i] < size) s.last[s.next[i]] = i;
    if (i > 0) push(s.last[i]);
    push(i);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < size; i = s.next[i]) s.ids[kept++] = s.ids[i];
  s.ids.resize(kept);
}

}  // namespace fusec::models::bpe
