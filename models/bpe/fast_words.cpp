// Each function below is its pattern's alternatives in their order, for ASCII: a word may end at a
// byte from 0x80 on only where no character could have prolonged it.
#include "fast_words.h"

#include <array>
#include <cstdint>

#include "patterns.h"

namespace fusec::models::bpe {
namespace {

enum : uint8_t {
  kEnd = 0,
  kLower = 1,
  kUpper = 2,
  kDigit = 4,
  kBlank = 8,     // white space without \r and \n
  kNewline = 16,  // \r and \n
  kMark = 32,     // every other ASCII character
  kHigh = 64,     // part of a character that is not ASCII
};
constexpr uint8_t kLetter = kLower | kUpper, kSpace = kBlank | kNewline;

constexpr std::array<uint8_t, 256> kClasses = [] {
  std::array<uint8_t, 256> classes{};
  for (int c = 0; c < 256; ++c) {
    classes[c] = c >= 0x80                         ? kHigh
                 : c >= 'a' && c <= 'z'            ? kLower
                 : c >= 'A' && c <= 'Z'            ? kUpper
                 : c >= '0' && c <= '9'            ? kDigit
                 : c == '\n' || c == '\r'          ? kNewline
                 : c == ' ' || (c >= 9 && c <= 13) ? kBlank
                                                   : kMark;
  }
  return classes;
}();

struct Reader {
  std::string_view text;

  uint8_t at(size_t i) const {
    return i < text.size() ? kClasses[static_cast<unsigned char>(text[i])] : uint8_t{kEnd};
  }
  bool is(size_t i, char c) const { return i < text.size() && text[i] == c; }
  // Behind the characters of these classes.
  size_t run(size_t i, uint8_t classes) const {
    while (at(i) & classes) ++i;
    return i;
  }
  // The same for a word that a character of more bytes might prolong: then 0.
  size_t whole_run(size_t i, uint8_t classes) const {
    i = run(i, classes);
    return at(i) == kHigh ? 0 : i;
  }
  char letter(size_t i, bool any_case) const {
    if (i >= text.size()) return 0;
    return any_case && at(i) == kUpper ? static_cast<char>(text[i] + 32) : text[i];
  }
  // Bytes of s, t, m, d, re, ve or ll at i, else 0.
  size_t contraction(size_t i, bool any_case) const {
    const char a = letter(i, any_case), b = letter(i + 1, any_case);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 1;
    return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 2 : 0;
  }
};

// \s*[\r\n]+|\s+(?!\S)|\s+ of the white space at i. GPT-2's lines end nowhere; cl100k takes white
// space at the end of the text whole.
template <bool kLines, bool kWholeAtEnd>
size_t spaces(const Reader& r, size_t i) {
  const size_t end = r.whole_run(i, kSpace);
  if (end == 0) return 0;
  const bool last = end == r.text.size();
  if (kWholeAtEnd && last) return end;
  if (kLines)
    for (size_t k = end; k > i; --k)
      if (r.at(k - 1) == kNewline) return k;
  return last || end - i == 1 ? end : end - 1;
}

size_t gpt2(std::string_view text, size_t i) {
  const Reader r{text};
  if (r.is(i, '\'')) {
    const size_t more = r.contraction(i + 1, false);
    if (more > 0) return i + 1 + more;
  }
  const size_t word = r.is(i, ' ') ? i + 1 : i;
  const uint8_t first = r.at(word);
  if (first == kHigh) return 0;
  if (first & kLetter) return r.whole_run(word, kLetter);
  if (first == kDigit) return r.whole_run(word, kDigit);
  if (first == kMark) return r.whole_run(word, kMark);
  return spaces<false, false>(r, i);
}

size_t digits(const Reader& r, size_t i, size_t most) {
  const size_t begin = i;
  while (i - begin < most && r.at(i) == kDigit) ++i;
  return i - begin < most && r.at(i) == kHigh ? 0 : i;
}

template <size_t kDigits, bool kWholeAtEnd>
size_t cl100k(std::string_view text, size_t i) {
  const Reader r{text};
  const uint8_t first = r.at(i), second = r.at(i + 1);
  if (first == kHigh) return 0;
  if (first & kLetter) return r.whole_run(i + 1, kLetter);
  if (first == kDigit) return digits(r, i, kDigits);
  if (first != kNewline) {
    if (second == kHigh) return 0;
    if (r.is(i, '\'')) {
      const size_t more = r.contraction(i + 1, true);
      if (more > 0) return i + 1 + more;
    }
    if (second & kLetter) return r.whole_run(i + 1, kLetter);
    const size_t mark = r.is(i, ' ') ? i + 1 : i;
    if (r.at(mark) == kMark) {
      const size_t end = r.whole_run(mark, kMark);
      return end == 0 ? 0 : r.run(end, kNewline);
    }
  }
  return spaces<true, kWholeAtEnd>(r, i);
}

// Capitals, then small letters, then a contraction.
size_t cased_word(const Reader& r, size_t i) {
  const size_t end = r.whole_run(r.run(i, kUpper), kLower);
  if (end == 0 || !r.is(end, '\'')) return end;
  if (r.at(end + 1) == kHigh) return 0;
  const size_t more = r.contraction(end + 1, true);
  return more > 0 ? end + 1 + more : end;
}

size_t o200k(std::string_view text, size_t i) {
  const Reader r{text};
  const uint8_t first = r.at(i), second = r.at(i + 1);
  if (first == kHigh) return 0;
  if (first & kLetter) return cased_word(r, i);
  if (first == kDigit) return digits(r, i, 3);
  if (first != kNewline) {
    if (second == kHigh) return 0;
    if (second & kLetter) return cased_word(r, i + 1);
    const size_t mark = r.is(i, ' ') ? i + 1 : i;
    if (r.at(mark) == kMark) {
      size_t end = r.whole_run(mark, kMark);
      if (end == 0) return 0;
      while (r.at(end) == kNewline || r.is(end, '/')) ++end;
      return end;
    }
  }
  return spaces<true, false>(r, i);
}

}  // namespace

FastWord fast_word_of(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return gpt2;
  if (pattern == kQwen2Pattern) return cl100k<1, false>;
  if (pattern == kLlama3Pattern) return cl100k<3, false>;
  if (pattern == kCl100kPattern) return cl100k<3, true>;
  if (pattern == kO200kPattern) return o200k;
  return nullptr;
}

}  // namespace fusec::models::bpe
