// Words' rows to tokens' rows; see vocabulary_transfer.h.
#include "fusec/models/vocabulary_transfer.h"

#include <algorithm>
#include <string>

#include "fusec/base/error.h"

namespace fusec::models {
namespace {

constexpr int32_t kFirstByte = 4, kFirstWord = kFirstByte + 256;  // of WordTokenizer

// The old tokens that say what `token` says; empty if that is only a part of a word, which the old
// vocabulary would spell in bytes that are learned from other words.
std::vector<int32_t> old_tokens(std::string_view token, const WordTokenizer& words) {
  if (token.size() == 1 && token[0] != ' ')
    return {kFirstByte + static_cast<unsigned char>(token[0])};
  // The old encoding puts a space before a text itself.
  const std::string_view text = token.starts_with(' ') ? token.substr(1) : token;
  std::vector<int32_t> ids = words.encode(text);
  const bool known =
      std::all_of(ids.begin(), ids.end(), [](int32_t id) { return id >= kFirstWord; });
  return known ? ids : std::vector<int32_t>();
}

}  // namespace

CarriedRows carry_rows(std::span<const float> from, const WordTokenizer& from_tokens,
                       std::span<float> to, const BpeTokenizer& to_tokens, int64_t width) {
  const auto rows = [&](size_t values) { return static_cast<int64_t>(values) / width; };
  if (rows(from.size()) < from_tokens.vocab_size() || rows(to.size()) < to_tokens.vocab_size())
    fail_internal("carry_rows: tables of " + std::to_string(rows(from.size())) + " and " +
                  std::to_string(rows(to.size())) + " rows for " +
                  std::to_string(from_tokens.vocab_size()) + " and " +
                  std::to_string(to_tokens.vocab_size()) + " tokens");
  CarriedRows carried;
  for (int32_t id = 0; id < to_tokens.vocab_size(); ++id) {
    const std::string_view text = to_tokens.bytes(id);
    std::vector<int32_t> old;
    if (!to_tokens.is_special(id) && !text.empty()) old = old_tokens(text, from_tokens);
    if (old.empty()) {
      ++carried.kept;
      continue;
    }
    ++(old.size() == 1 ? carried.whole : carried.joined);
    for (int64_t i = 0; i < width; ++i) {
      double sum = 0;
      for (int32_t word : old) sum += from[word * width + i];
      to[id * width + i] = static_cast<float>(sum / static_cast<double>(old.size()));
    }
  }
  return carried;
}

}  // namespace fusec::models
