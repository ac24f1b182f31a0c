#include "added_tokens.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace fusec::models::bpe {
namespace {

// Bytes of the white space (Unicode's White_Space) that begins at text[i]; 0 if none does.
size_t space_at(std::string_view text, size_t i) {
  const char c = text[i];
  if (c == ' ' || (c >= 9 && c <= 13)) return 1;
  const std::string_view two = text.substr(i, 2), three = text.substr(i, 3);
  if (two == "\u0085" || two == "\u00a0") return 2;
  if (three >= "\u2000" && three <= "\u200a") return 3;
  for (const char* space : {"\u1680", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"})
    if (three == space) return 3;
  return 0;
}

// Where the white space that ends at text[end] begins, not before `from`.
size_t spaces_before(std::string_view text, size_t from, size_t end) {
  while (end > from) {
    size_t length = 1;
    while (length < 3 && end - length > from && (text[end - length] & 0xc0) == 0x80) ++length;
    if (space_at(text, end - length) != length) break;
    end -= length;
  }
  return end;
}

}  // namespace

void AddedTokens::add(const AddedToken& token, std::string text) {
  std::vector<size_t>& lengths = lengths_[static_cast<unsigned char>(text.front())];
  auto place = std::lower_bound(lengths.begin(), lengths.end(), text.size(), std::greater<>());
  if (place == lengths.end() || *place != text.size()) lengths.insert(place, text.size());
  if (!token.special) ++ordinary_;
  all_.emplace(std::move(text), &token);
}

std::optional<AddedTokens::Found> AddedTokens::find(std::string_view text, size_t from,
                                                    bool specials) const {
  std::string key;
  for (size_t i = from; i < text.size(); ++i) {
    for (const size_t length : lengths_[static_cast<unsigned char>(text[i])]) {
      if (length > text.size() - i) continue;
      key.assign(text.substr(i, length));
      const auto at = all_.find(key);
      if (at == all_.end() || (at->second->special && !specials)) continue;
      Found found{at->second, i, i + length};
      if (found.token->lstrip) found.begin = spaces_before(text, from, found.begin);
      if (found.token->rstrip)
        while (found.end < text.size() && space_at(text, found.end) > 0)
          found.end += space_at(text, found.end);
      return found;
    }
  }
  return {};
}

}  // namespace fusec::models::bpe
