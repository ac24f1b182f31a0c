// A tiktoken file -> a tokenizer. It holds no merges: any two tokens may merge whose join is a
// token, the join of the lowest rank first, and a word that is a token is that token. So each token
// gives a merge for every cut of it into two tokens, in the order of ranks.
//   IQ== 0   Ig== 1  ...  aXM= 271        "is": merge ("i", "s")
#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"
#include "fusec/io/json.h"
#include "model.h"

namespace fusec::models {
namespace {

constexpr size_t kLongestToken = 1024;  // bytes; the cuts of one take the square of that

// Appends the bytes of base64 text; false if it is none.
bool from_base64(std::string_view text, std::string& bytes) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+'             ? 62
                      : c == '/'             ? 63
                                             : -1;
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xff);
    }
  }
  return count < 6 && !bytes.empty();
}

std::string shown(std::string_view line) {
  const std::string some = io::excerpt(line.substr(0, 60));
  return is_utf8(some) ? some : "bytes that are no text";
}

struct Line {
  std::string bytes;
  int64_t rank = 0;
};

std::vector<Line> lines_of(std::string_view text, const std::string& name) {
  std::vector<Line> lines;
  size_t number = 0;
  for (size_t begin = 0, end; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    ++number;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view rank = line.substr(std::min(space + 1, line.size()));
    Line& made = lines.emplace_back();
    const auto [stop, error] = std::from_chars(rank.data(), rank.data() + rank.size(), made.rank);
    if (!from_base64(line.substr(0, space), made.bytes) || error != std::errc() ||
        stop != rank.data() + rank.size() || made.bytes.size() > kLongestToken) {
      fail_user(name + ":" + std::to_string(number) + ": \"" + shown(line) +
                "\"; expected a token of at most " + std::to_string(kLongestToken) +
                " bytes in base64, a space and its rank");
    }
  }
  return lines;
}

}  // namespace

BpeTokenizer BpeTokenizer::parse_tiktoken(std::string_view text, const std::string& name,
                                          const PreTokenizer& pre_tokenizer,
                                          const std::vector<AddedToken>& added) {
  std::vector<Line> lines = lines_of(text, name);
  std::sort(lines.begin(), lines.end(),
            [](const Line& a, const Line& b) { return a.rank < b.rank; });
  bpe::ModelBuilder builder(name, lines.size() + added.size());
  builder.added(added);
  for (const Line& line : lines) builder.token_of_bytes(line.rank, line.bytes);
  const bpe::Vocabulary& vocabulary = builder.vocabulary();
  std::vector<std::array<int32_t, 2>> cuts;
  for (const Line& line : lines) {
    const std::string_view whole = line.bytes;
    cuts.clear();
    for (size_t cut = 1; cut < whole.size(); ++cut) {
      const int32_t left = vocabulary.find(whole.substr(0, cut));
      if (left == bpe::Vocabulary::kNone) continue;
      const int32_t right = vocabulary.find(whole.substr(cut));
      if (right != bpe::Vocabulary::kNone) cuts.push_back({left, right});
    }
    std::sort(cuts.begin(), cuts.end());
    for (const auto& [left, right] : cuts)
      builder.merge_ids(left, right, static_cast<int32_t>(line.rank));
  }
  return BpeTokenizer(builder.finish(pre_tokenizer, true, {}, {}));
}

}  // namespace fusec::models
