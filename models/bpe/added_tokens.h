// Where the text of added tokens stands in a text: the leftmost one, the longest of those that
// begin at the same place.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "fusec/models/bpe_tokenizer.h"

namespace fusec::models::bpe {

class AddedTokens {
 public:
  struct Found {
    const AddedToken* token = nullptr;
    size_t begin = 0, end = 0;  // with the white space that it takes along
  };

  // Looks for `text` of each; the tokens must outlive this.
  void add(const AddedToken& token, std::string text);
  bool empty(bool specials) const { return specials ? all_.empty() : ordinary_ == 0; }
  // The first one at or behind `from`, special ones only if `specials`.
  std::optional<Found> find(std::string_view text, size_t from, bool specials) const;

 private:
  std::unordered_map<std::string, const AddedToken*> all_;
  size_t ordinary_ = 0;
  std::array<std::vector<size_t>, 256> lengths_;  // first byte -> lengths, the longest first
};

}  // namespace fusec::models::bpe
