// Well-formed UTF-8 (Unicode 15, table 3-7): nothing overlong, no surrogates, at most U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace fusec {

// Bytes (1..4) of the character that begins at text[at], or 0 if none is well-formed there.
// Requires at < text.size().
inline size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(at);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (length > text.size() - at) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((byte(at + i) & 0xc0) != 0x80) return 0;
  const unsigned next = byte(at + 1);
  const bool overlong = (lead == 0xe0 && next < 0xa0) || (lead == 0xf0 && next < 0x90);
  const bool surrogate = lead == 0xed && next > 0x9f;
  const bool too_large = lead == 0xf4 && next > 0x8f;
  return overlong || surrogate || too_large ? 0 : length;
}

inline bool is_utf8(std::string_view text) {
  for (size_t i = 0, length; i < text.size(); i += length) {
    length = utf8_length(text, i);
    if (length == 0) return false;
  }
  return true;
}

// Code points must be at most 0x10FFFF and no surrogates.
inline std::string to_utf8(std::u32string_view text) {
  std::string bytes;
  for (char32_t c : text) {
    if (c < 0x80) {
      bytes += static_cast<char>(c);
      continue;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    const unsigned lead = more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0;
    bytes += static_cast<char>(lead | (c >> (6 * more)));
    for (int k = more; k-- > 0;) bytes += static_cast<char>(0x80 | ((c >> (6 * k)) & 0x3f));
  }
  return bytes;
}

}  // namespace fusec
