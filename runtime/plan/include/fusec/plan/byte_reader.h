// Little-endian fields, written to and read from a string. A read past the end is a user Error, so
// bytes from anywhere may be read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/base/error.h"

namespace fusec {

inline void put_number(std::string& out, uint64_t value, int bytes) {
  char text[8];
  for (int i = 0; i < bytes; ++i) text[i] = static_cast<char>(value >> (8 * i));
  out.append(text, static_cast<size_t>(bytes));
}
inline void put_text(std::string& out, std::string_view text) {
  put_number(out, text.size(), 8);
  out += text;
}

class ByteReader {
 public:
  ByteReader(std::string_view bytes, const char* what) : bytes_(bytes), what_(what) {}

  std::string_view take(uint64_t n, const char* field) {
    if (n > bytes_.size() - at_)
      fail_user(std::string(what_) + ": it ends early: at byte " + std::to_string(at_) +
                " expected " + std::to_string(n) + " bytes of " + field + ", found " +
                std::to_string(bytes_.size() - at_));
    at_ += n;
    return bytes_.substr(at_ - n, n);
  }
  uint64_t number(int bytes, const char* field) {
    uint64_t value = 0;
    std::string_view raw = take(bytes, field);
    for (int i = 0; i < bytes; ++i) value |= uint64_t{static_cast<uint8_t>(raw[i])} << (8 * i);
    return value;
  }
  std::string_view text(const char* field) { return take(number(8, field), field); }
  size_t left() const { return bytes_.size() - at_; }
  [[noreturn]] void fail(const std::string& found) const {
    fail_user(std::string(what_) + ": " + found);
  }

 private:
  std::string_view bytes_;
  const char* what_;
  size_t at_ = 0;
};

}  // namespace fusec
