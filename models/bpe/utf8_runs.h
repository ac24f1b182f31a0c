// A text of any bytes -> its longest runs that are UTF-8 and those that are not.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "fusec/base/utf8.h"

namespace fusec::models::bpe {

// Behind the UTF-8 that begins at text[at].
inline size_t utf8_end(std::string_view text, size_t at) {
  while (at < text.size()) {
    uint64_t eight;
    if (text.size() - at >= sizeof eight) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080ULL) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const size_t length = utf8_length(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

// Calls valid(run) and invalid(run) in the order of the text; no run is empty.
template <typename Valid, typename Invalid>
void for_each_run(std::string_view text, Valid valid, Invalid invalid) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = utf8_end(text, at);
    if (end > at) valid(text.substr(at, end - at));
    for (at = end; at < text.size() && utf8_length(text, at) == 0;) ++at;
    if (at > end) invalid(text.substr(end, at - end));
  }
}

}  // namespace fusec::models::bpe
