// Bytes spelled as printable characters, GPT-2's way: 0x21 '!' is itself, 0x20 is U+0120 and so on.
// Vocabularies and merges are written so because JSON holds no raw bytes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace fusec::models::bpe {

std::string to_byte_text(std::string_view bytes);

// The bytes, or nothing if a character stands for none.
std::optional<std::string> from_byte_text(std::string_view text);

// The bytes in the order of their characters: '!' is first, 0xad last.
const std::array<unsigned char, 256>& bytes_in_order();

}  // namespace fusec::models::bpe
