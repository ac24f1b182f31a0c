// Ids to bytes and back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fusec::models::bpe {

class Vocabulary {
 public:
  static constexpr int32_t kNone = -1;

  // Ids may come in any order and leave gaps. False if the id has bytes already.
  bool add(int32_t id, std::string_view bytes);
  // Makes find() see the token. Of tokens with the same bytes the first one counts; false for
  // the others.
  bool index(int32_t id);

  std::string_view bytes(int32_t id) const {
    const Place& p = places_[static_cast<size_t>(id)];
    return {bytes_.data() + p.begin, p.size};
  }
  bool holds(int32_t id) const {
    return id >= 0 && id < size() && places_[static_cast<size_t>(id)].size > 0;
  }
  // Of the indexed token with these bytes, or kNone.
  int32_t find(std::string_view bytes) const;
  // One more than the largest id.
  int32_t size() const { return static_cast<int32_t>(places_.size()); }

 private:
  struct Place {
    uint64_t begin = 0;
    uint32_t size = 0;
  };
  void grow();

  std::string bytes_;
  std::vector<Place> places_;
  std::vector<int32_t> slots_;  // a hash table of ids, its size a power of two
  size_t indexed_ = 0;
};

}  // namespace fusec::models::bpe
