// 64-bit content hash for structural equality and cache keys (not for security).
#pragma once

#include <cstdint>
#include <string_view>

namespace fusec {

inline uint64_t hash_mix(uint64_t h) {  // MurmurHash3's 64-bit finaliser
  h ^= h >> 33;
  h *= 0xff51afd7ed558ccdULL;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53ULL;
  return h ^ (h >> 33);
}

inline uint64_t hash_combine(uint64_t a, uint64_t b) {
  return hash_mix(a ^ (b + 0x9e3779b97f4a7c15ULL + (a << 6) + (a >> 2)));
}

inline uint64_t hash_text(std::string_view text, uint64_t seed = 0) {
  uint64_t h = hash_mix(seed ^ text.size());
  for (char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash_mix(h);
}

}  // namespace fusec
