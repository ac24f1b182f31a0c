// The table of GPT-2's encoder: printable Latin-1 is itself, the 68 other bytes are U+0100 and on.
#include "byte_text.h"

#include <cstdint>

#include "fusec/base/utf8.h"

namespace fusec::models::bpe {
namespace {

constexpr int kFirstOther = 0x100, kCharacters = 0x144;

constexpr bool is_itself(int byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
}

struct Table {
  std::array<std::string, 256> text;           // byte -> its character
  std::array<int16_t, kCharacters> byte_of{};  // character -> its byte or -1
  std::array<unsigned char, 256> in_order{};

  Table() {
    byte_of.fill(-1);
    char32_t other = kFirstOther;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t character = is_itself(byte) ? static_cast<char32_t>(byte) : other++;
      text[byte] = to_utf8(std::u32string_view(&character, 1));
      byte_of[character] = static_cast<int16_t>(byte);
    }
    size_t next = 0;
    for (const int16_t byte : byte_of)
      if (byte >= 0) in_order[next++] = static_cast<unsigned char>(byte);
  }
};

const Table& table() {
  static const Table made;
  return made;
}

}  // namespace

std::string to_byte_text(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) text += table().text[static_cast<unsigned char>(c)];
  return text;
}

std::optional<std::string> from_byte_text(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0, length; i < text.size(); i += length) {
    length = utf8_length(text, i);
    if (length == 0 || length > 2) return {};
    const auto lead = static_cast<unsigned char>(text[i]);
    const unsigned character =
        length == 1 ? lead
                    : (lead & 0x1fu) << 6 | (static_cast<unsigned char>(text[i + 1]) & 0x3fu);
    if (character >= kCharacters || table().byte_of[character] < 0) return {};
    bytes += static_cast<char>(table().byte_of[character]);
  }
  return bytes;
}

const std::array<unsigned char, 256>& bytes_in_order() { return table().in_order; }

}  // namespace fusec::models::bpe
