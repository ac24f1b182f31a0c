// Unicode normalization form C.
#pragma once

#include <string>
#include <string_view>

namespace fusec::models::bpe {

// `text` itself if it is in form C already, else its form C in `storage`. Bytes that are not UTF-8
// stay as they are; the text on either side of them is brought to form C by itself.
std::string_view to_nfc(std::string_view text, std::string& storage);

}  // namespace fusec::models::bpe
