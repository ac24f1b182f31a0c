// Text to token ids for caption models: whole words where the vocabulary knows them, bytes where
// it does not, so that every text has an encoding and decoding gives it back byte for byte.
//
//   "grinning face: 8"  ->  < grinning> < face> <:> < 8>
//
// A word carries the space before it, and encode() puts one space in front of the text (decode()
// takes it off), so a word is the same token wherever it stands. A word with hyphens or
// apostrophes is one token if it is common, else its parts.
//
// Ids: 0 <pad>, 1 <bos>, 2 <eos>, 3 <image>, 4..259 the bytes, from 260 the words. Special tokens
// are never the encoding of any text: "<eos>" in a caption is five characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::models {

class FUSEC_API WordTokenizer {
 public:
  // Bytes only, no words.
  WordTokenizer() = default;

  // Learns every piece that occurs at least min_count times (>= 1) in the captions, the most
  // frequent first (ties in byte order), so the same captions give the same ids in any order.
  // Forgets earlier words. Pieces that are not UTF-8 are left to the bytes.
  void train(const std::vector<std::string>& captions, int min_count);

  // No <bos> or <eos> is added. Any bytes are accepted; the result never holds a special id. Empty
  // for an empty text.
  std::vector<int32_t> encode(std::string_view text) const;

  // decode(encode(x)) == x for a whole text (not for a slice of its ids). Special tokens decode to
  // nothing; an id outside the vocabulary is a user Error.
  std::string decode(const std::vector<int32_t>& ids) const;

  // One token as readable text: "<eos>", "<0x0a>" for a byte, " face".
  std::string piece(int32_t id) const;

  int32_t vocab_size() const { return kFirstWord + static_cast<int32_t>(words_.size()); }
  int32_t pad() const { return 0; }
  int32_t bos() const { return 1; }
  int32_t eos() const { return 2; }
  int32_t image() const { return 3; }

  // A small JSON file. load() refuses, by a user Error, a file of another format or version, and
  // one whose recorded hash is not that of its words.
  void save(const std::string& path) const;
  static WordTokenizer load(const std::string& path);
  // The same of the text of such a file; `name` begins the messages.
  static WordTokenizer parse(std::string_view json, const std::string& name);

  // Of the words and their order: equal hashes mean equal ids. Checkpoints record it.
  uint64_t hash() const;
  // The same as 16 hexadecimal digits.
  std::string hash_text() const;

 private:
  static constexpr int32_t kFirstByte = 4, kFirstWord = kFirstByte + 256;

  void set_words(std::vector<std::string> words);
  bool append_known(std::string_view piece, std::vector<int32_t>& ids) const;
  static void append_spelled(std::string_view piece, std::vector<int32_t>& ids);

  std::vector<std::string> words_;  // id - kFirstWord -> piece
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace fusec::models
