#include "fusec/base/bytes.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "fusec/base/error.h"

namespace fusec {

int64_t parse_bytes(const std::string& text, const std::string& what) {
  double value = 0;
  const char* end = text.data() + text.size();
  auto [rest, error] = std::from_chars(text.data(), end, value);
  double unit = 1;
  if (error == std::errc() && rest + 1 == end) {
    switch (*rest++) {
      case 'k':
      case 'K': unit = 1024; break;
      case 'm':
      case 'M': unit = 1048576; break;
      case 'g':
      case 'G': unit = 1073741824; break;
      default: --rest;
    }
  }
  double bytes = value * unit;
  if (error != std::errc() || rest != end || !(bytes >= 1) || bytes > 0x1p62)
    fail_user(what + ": expected an amount of memory such as 4096, 64M or 1.5G, found \"" + text +
              "\"");
  return static_cast<int64_t>(std::floor(bytes));
}

std::string size_text(int64_t bytes) {
  char text[40];
  std::snprintf(text, sizeof text, "%.2f MB", static_cast<double>(bytes) / 1e6);
  return text;
}

}  // namespace fusec
