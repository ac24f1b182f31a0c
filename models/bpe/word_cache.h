// Words that were merged before -> their ids. A text says the same few thousand words again and
// again; looking one up costs a tenth of merging it. A slot holds the last word that fell on it.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace fusec::models::bpe {

class WordCache {
 public:
  static constexpr size_t kLongest = 32;  // bytes of a word
  static constexpr size_t kMost = 7;      // ids of a word

  struct alignas(64) Slot {
    std::array<uint64_t, 4> key;  // the word's bytes; its middle ones may stand twice
    uint8_t size;                 // of the word; 0: the slot is empty
    uint8_t count;
    std::array<int32_t, kMost> ids;
  };

  WordCache() : slots_(static_cast<Slot*>(std::calloc(kSlots + 1, sizeof(Slot))), std::free) {
    if (!slots_) throw std::bad_alloc();
    const auto place = reinterpret_cast<uintptr_t>(slots_.get());
    first_ = reinterpret_cast<Slot*>((place + sizeof(Slot) - 1) / sizeof(Slot) * sizeof(Slot));
  }

  // The slot of a word of 1 to kLongest bytes, and whether it holds that word. If not, it is given
  // the word's key, and the caller fills in size, count and ids, or leaves size 0.
  std::pair<Slot*, bool> find(std::string_view word) {
    const std::array<uint64_t, 4> key = key_of(word);
    uint64_t hash = (key[0] ^ word.size()) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
    hash = (hash ^ key[1]) * 0xff51afd7ed558ccdULL;
    if (word.size() > 16) {
      hash ^= hash >> 29;
      hash = (hash ^ key[2]) * 0xc4ceb9fe1a85ec53ULL;
      hash ^= hash >> 31;
      hash = (hash ^ key[3]) * 0x9e3779b97f4a7c15ULL;
    }
    Slot* slot = first_ + (hash >> (64 - kBits));
    if (slot->size == word.size() && slot->key == key) return {slot, true};
    slot->key = key;
    slot->size = 0;
    return {slot, false};
  }

 private:
  static constexpr int kBits = 15;
  static constexpr size_t kSlots = size_t{1} << kBits;

  template <typename T>
  static uint64_t load(const char* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }

  // With the size this is the whole word: its first bytes and its last ones, which meet.
  static std::array<uint64_t, 4> key_of(std::string_view word) {
    const char* a = word.data();
    const size_t n = word.size();
    if (n > 16) {
      return {load<uint64_t>(a), load<uint64_t>(a + 8), load<uint64_t>(a + n - 16),
              load<uint64_t>(a + n - 8)};
    }
    if (n > 8) return {load<uint64_t>(a), load<uint64_t>(a + n - 8), 0, 0};
    if (n >= 4) return {load<uint32_t>(a) | load<uint32_t>(a + n - 4) << 32, 0, 0, 0};
    return {load<uint8_t>(a) | load<uint8_t>(a + n / 2) << 8 | load<uint8_t>(a + n - 1) << 16, 0, 0,
            0};
  }

  std::unique_ptr<Slot, decltype(&std::free)> slots_;
  Slot* first_ = nullptr;
};

}  // namespace fusec::models::bpe
