#include "vocabulary.h"

#include "fusec/base/hash.h"

namespace fusec::models::bpe {

bool Vocabulary::add(int32_t id, std::string_view bytes) {
  if (holds(id)) return false;
  if (id >= size()) places_.resize(static_cast<size_t>(id) + 1);
  places_[static_cast<size_t>(id)] = {bytes_.size(), static_cast<uint32_t>(bytes.size())};
  bytes_ += bytes;
  return true;
}

void Vocabulary::grow() {
  std::vector<int32_t> old(std::max<size_t>(64, slots_.size() * 2), kNone);
  old.swap(slots_);
  for (const int32_t id : old) {
    if (id == kNone) continue;
    size_t slot = hash_text(bytes(id)) & (slots_.size() - 1);
    while (slots_[slot] != kNone) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = id;
  }
}

bool Vocabulary::index(int32_t id) {
  if ((indexed_ + 1) * 2 > slots_.size()) grow();
  size_t slot = hash_text(bytes(id)) & (slots_.size() - 1);
  while (slots_[slot] != kNone) {
    if (bytes(slots_[slot]) == bytes(id)) return false;
    slot = (slot + 1) & (slots_.size() - 1);
  }
  slots_[slot] = id;
  ++indexed_;
  return true;
}

int32_t Vocabulary::find(std::string_view text) const {
  if (slots_.empty()) return kNone;
  size_t slot = hash_text(text) & (slots_.size() - 1);
  while (slots_[slot] != kNone) {
    if (bytes(slots_[slot]) == text) return slots_[slot];
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return kNone;
}

}  // namespace fusec::models::bpe
