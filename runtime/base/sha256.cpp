#include "fusec/base/sha256.h"

#include <algorithm>
#include <cstring>

#include "sha256_blocks.h"

namespace fusec {
namespace {

class Sha256 {
 public:
  void add(std::string_view bytes) {
    if (bytes.empty()) return;
    total_ += bytes.size();
    if (filled_ > 0) {
      size_t n = std::min(bytes.size(), sizeof block_ - filled_);
      std::memcpy(block_ + filled_, bytes.data(), n);
      bytes.remove_prefix(n);
      filled_ += n;
      if (filled_ < sizeof block_) return;
      compress(block_, 1);
      filled_ = 0;
    }
    size_t whole = bytes.size() / sizeof block_;
    compress(reinterpret_cast<const uint8_t*>(bytes.data()), whole);
    bytes.remove_prefix(whole * sizeof block_);
    if (bytes.empty()) return;
    std::memcpy(block_, bytes.data(), bytes.size());
    filled_ = bytes.size();
  }

  Digest finish() {
    uint64_t bits = total_ * 8;
    add(std::string_view("\x80", 1));
    if (filled_ > 56) add(std::string(sizeof block_ - filled_, '\0'));
    std::memset(block_ + filled_, 0, 56 - filled_);
    for (int i = 0; i < 8; ++i) block_[56 + i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    compress(block_, 1);
    Digest out;
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<uint8_t>(state_[i / 4] >> (24 - 8 * (i % 4)));
    return out;
  }

 private:
  void compress(const uint8_t* data, size_t blocks) {
    static const Sha256Blocks of_cpu = sha256_blocks_of_cpu();
    (of_cpu ? of_cpu : sha256_blocks_any)(state_, data, blocks);
  }

  uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  uint8_t block_[64];
  size_t filled_ = 0;
  uint64_t total_ = 0;
};

}  // namespace

Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

Digest sha256_of_list(std::initializer_list<std::string_view> texts) {
  Sha256 hash;
  for (std::string_view text : texts) {
    char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<char>(uint64_t{text.size()} >> (8 * i));
    hash.add({length, sizeof length});
    hash.add(text);
  }
  return hash.finish();
}

std::string hex(const Digest& digest) {
  std::string out;
  for (uint8_t b : digest) {
    out += "0123456789abcdef"[b >> 4];
    out += "0123456789abcdef"[b & 15];
  }
  return out;
}

}  // namespace fusec
