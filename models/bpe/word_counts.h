// How often each word stands in a corpus.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fusec::models::bpe {

class WordCounts {
 public:
  void add(std::string_view word, int64_t times = 1);
  void add(const WordCounts& others);
  // In the order of their bytes. The views are good until the next add().
  std::vector<std::pair<std::string_view, int64_t>> sorted() const;

 private:
  struct Entry {
    uint64_t hash = 0, begin = 0;
    int64_t times = 0;
    uint32_t size = 0;
  };
  std::string_view word(const Entry& e) const { return {bytes_.data() + e.begin, e.size}; }
  void grow();

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<uint32_t> slots_;  // 1 + index of an entry, 0 for none; a power of two of them
};

}  // namespace fusec::models::bpe
