#include "strip.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace fusec::models {
namespace {

// UTF-8 of the white space beyond one byte.
constexpr std::array<std::string_view, 19> kWide = {
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80"};

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }

}  // namespace

std::string_view strip_begin(std::string_view text) {
  for (;;) {
    size_t length = !text.empty() && is_space(text[0]) ? 1 : 0;
    for (const std::string_view wide : kWide)
      if (text.starts_with(wide)) length = wide.size();
    if (length == 0) return text;
    text.remove_prefix(length);
  }
}

std::string_view strip_end(std::string_view text) {
  for (;;) {
    size_t length = !text.empty() && is_space(text.back()) ? 1 : 0;
    for (const std::string_view wide : kWide)
      if (text.ends_with(wide)) length = wide.size();
    if (length == 0) return text;
    text.remove_suffix(length);
  }
}

std::string json_quoted(std::string_view text) {
  constexpr std::string_view kNamed = "\"\\\b\f\n\r\t", kLetters = "\"\\bfnrt";
  std::string quoted = "\"";
  for (const char c : text) {
    if (const size_t named = kNamed.find(c); named != std::string_view::npos) {
      quoted += '\\';
      quoted += kLetters[named];
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      quoted += code;
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace fusec::models
