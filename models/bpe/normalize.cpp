// Text is almost always in form C, so what may change is looked for first: characters that move or
// compose with the one before them (Unicode's NFC_Quick_Check is not Yes). Only runs of these, with
// the character they follow, are given to utf8proc.
//   a  ...  e U+0301  ...  ->  a  ...  U+00E9  ...
#include "normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"

namespace fusec::models::bpe {
namespace {

constexpr int kCharacters = 0x110000;
constexpr unsigned char kFirstLead = 0xcc;  // of U+0300, the first character that may change
constexpr int kMostParts = 32;              // of one character's decomposition; 4 in Unicode 15
constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

// Bit c: character c may change, or the one before it may with it.
const std::vector<bool>& suspects() {
  static const std::vector<bool> made = [] {
    std::vector<bool> bits(kCharacters);
    for (int c = 0x300; c < kCharacters; ++c) {
      if (c >= 0xac00 && c < 0xd7a4) continue;  // whole syllables of Hangul stay
      if (utf8proc_get_property(c)->combining_class != 0) bits[c] = true;
      utf8proc_int32_t parts[kMostParts];
      const auto count = utf8proc_decompose_char(c, parts, kMostParts, kCompose, nullptr);
      if (count == 1 && parts[0] == c) continue;
      utf8proc_int32_t again[kMostParts];
      std::copy_n(parts, kMostParts, again);
      if (utf8proc_normalize_utf32(again, count, kCompose) == 1 && again[0] == c)
        bits[parts[count - 1]] = true;  // composes with the one before it
      else
        bits[c] = true;
    }
    // Vowels and final consonants of Hangul, which compose by rule.
    for (int c = 0x1161; c <= 0x1175; ++c) bits[c] = true;
    for (int c = 0x11a8; c <= 0x11c2; ++c) bits[c] = true;
    return bits;
  }();
  return made;
}

void append_composed(std::string_view run, std::string& out) {
  utf8proc_uint8_t* bytes = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(run.data()),
                   static_cast<utf8proc_ssize_t>(run.size()), &bytes, kCompose);
  if (size < 0) fail_internal(std::string("normalizing text: ") + utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  std::free(bytes);
}

}  // namespace

std::string_view to_nfc(std::string_view text, std::string& storage) {
  size_t i = 0;
  while (i < text.size() && static_cast<unsigned char>(text[i]) < kFirstLead) ++i;
  if (i == text.size()) return text;

  const std::vector<bool>& changes = suspects();
  // The character at i: suspect, or not; those that are no UTF-8 are not.
  auto suspect = [&](size_t at, size_t& length) {
    length = utf8_length(text, at);
    if (length < 2) {
      length = 1;
      return false;
    }
    utf8proc_int32_t c;
    utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                     static_cast<utf8proc_ssize_t>(length), &c);
    return static_cast<bool>(changes[c]);
  };
  storage.clear();
  size_t copied = 0, before = 0;  // `before`: the character that a suspect may follow
  i = 0;
  for (size_t length; i < text.size(); i += length) {
    if (!suspect(i, length)) {
      before = i;
      continue;
    }
    size_t end = i + length;
    for (size_t more; end < text.size() && suspect(end, more);) end += more;
    // A run does not reach back over a byte that is not UTF-8.
    const size_t begin = i > before && utf8_length(text, before) == 0 ? i : before;
    storage.append(text.substr(copied, begin - copied));
    append_composed(text.substr(begin, end - begin), storage);
    copied = end;
    before = end;
    length = end - i;
  }
  if (copied == 0) return text;
  storage.append(text.substr(copied));
  return storage;
}

}  // namespace fusec::models::bpe
