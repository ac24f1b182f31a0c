// Bytes to whole characters; see utf8_pieces.h.
#include "fusec/models/utf8_pieces.h"

#include <utility>

#include "fusec/base/utf8.h"

namespace fusec::models {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

// Is `text`, shorter than a character, what one begins with? The bytes that may follow a lead are
// 0x80 to 0xbf, for some leads without the lowest and for some without the highest.
bool begins_character(std::string_view text) {
  for (const char next : {'\x80', '\xbf'}) {
    std::string padded(text);
    padded.resize(4, next);
    if (utf8_length(padded, 0) > text.size()) return true;
  }
  return false;
}

}  // namespace

std::string Utf8Pieces::push(std::string_view bytes) {
  waiting_ += bytes;
  std::string whole;
  size_t at = 0;
  while (at < waiting_.size()) {
    const std::string_view rest = std::string_view(waiting_).substr(at);
    if (const size_t length = utf8_length(rest, 0)) {
      whole += rest.substr(0, length);
      at += length;
    } else if (begins_character(rest)) {
      break;
    } else {
      whole += kReplacement;
      ++at;
    }
  }
  waiting_.erase(0, at);
  return whole;
}

std::string Utf8Pieces::finish() {
  std::string whole;
  for (size_t i = 0; i < waiting_.size(); ++i) whole += kReplacement;
  waiting_.clear();
  return whole;
}

}  // namespace fusec::models
