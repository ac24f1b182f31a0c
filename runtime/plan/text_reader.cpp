// The cursor and the small writers behind text_reader.h. Every read is checked against the end of
// the text, and every rejected token is shown, so garbage in gives one clear line out.
#include "text_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "fusec/base/error.h"

namespace fusec::plan_text {

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool in_word(char c) { return starts_word(c) || is_digit(c) || c == '.'; }
// By character; below 0: none.
constexpr std::array<int8_t, 256> kHexDigits = [] {
  std::array<int8_t, 256> values{};
  values.fill(-1);
  for (int i = 0; i < 16; ++i)
    values[static_cast<size_t>("0123456789abcdef"[i])] = static_cast<int8_t>(i);
  return values;
}();
int hex_digit(char c) { return kHexDigits[static_cast<unsigned char>(c)]; }
constexpr std::string_view kOrigin = "// from \"";

}  // namespace

int Reader::line() const {
  return 1 + static_cast<int>(std::count(text_.begin(), text_.begin() + at_, '\n'));
}

void Reader::fail(const std::string& expected) {
  skip();
  std::string found = "the end of the text";
  if (at_ < text_.size()) {
    size_t end = at_ + 1;
    if (in_word(text_[at_]))
      while (end < text_.size() && end - at_ < 24 && in_word(text_[end])) ++end;
    found = quote(text_.substr(at_, end - at_));
  }
  fail_user("line " + std::to_string(line()) + ": found " + found + ", expected " + expected);
}

void Reader::fail_meaning(const std::string& message) const {
  fail_user("line " + std::to_string(line()) + ": " + message);
}

bool Reader::at_origin() const { return text_.substr(at_, kOrigin.size()) == kOrigin; }

void Reader::skip() {
  while (at_ < text_.size()) {
    if (is_blank(text_[at_])) {
      ++at_;
    } else if (text_.substr(at_, 2) == "//" && !at_origin()) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else {
      return;
    }
  }
}

bool Reader::at_end() { return peek() == 0 && at_ >= text_.size(); }

char Reader::peek() {
  skip();
  return at_ < text_.size() ? text_[at_] : '\0';
}

bool Reader::accept(std::string_view symbol) {
  skip();
  if (text_.substr(at_, symbol.size()) != symbol) return false;
  at_ += symbol.size();
  return true;
}

void Reader::expect(std::string_view symbol) {
  if (!accept(symbol)) fail(quote(symbol));
}

bool Reader::accept_word(std::string_view word) {
  skip();
  if (text_.substr(at_, word.size()) != word) return false;
  size_t end = at_ + word.size();
  if (end < text_.size() && in_word(text_[end])) return false;
  at_ = end;
  return true;
}

void Reader::expect_word(std::string_view word) {
  if (!accept_word(word)) fail(quote(word));
}

std::string Reader::word(const char* what) {
  if (!starts_word(peek())) fail(what);
  size_t begin = at_;
  while (at_ < text_.size() && in_word(text_[at_])) ++at_;
  return std::string(text_.substr(begin, at_ - begin));
}

std::string Reader::quoted(const char* what) {
  if (peek() != '"') fail(what);
  std::string out;
  for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
    char c = text_[at_];
    if (c == '\n') fail("\"\\\"\" before the end of the line");
    if (c != '\\') {
      out += c;
      continue;
    }
    char next = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
    if (next == '"' || next == '\\') {
      out += next;
      ++at_;
    } else if (next == 'x' && at_ + 3 < text_.size() && hex_digit(text_[at_ + 2]) >= 0 &&
               hex_digit(text_[at_ + 3]) >= 0) {
      out += static_cast<char>(hex_digit(text_[at_ + 2]) * 16 + hex_digit(text_[at_ + 3]));
      at_ += 3;
    } else {
      fail("an escape \\\\, \\\" or \\xNN");
    }
  }
  if (at_ >= text_.size()) fail("a closing quote");
  ++at_;
  return out;
}

std::string Reader::name(const char* what) { return peek() == '"' ? quoted(what) : word(what); }

template <class T>
T Reader::digits(const char* what, const char* range) {
  peek();
  T value = 0;
  const char* begin = text_.data() + at_;
  auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
  if (error != std::errc()) fail(std::string(what) + range);
  at_ += end - begin;
  return value;
}

int64_t Reader::integer(const char* what) {
  return digits<int64_t>(what, " (a 64-bit integer)");
}
uint64_t Reader::magnitude(const char* what) {
  return digits<uint64_t>(what, " (digits, at most 64 bits)");
}

int Reader::small_integer(const char* what) {
  int64_t value = integer(what);
  if (value < std::numeric_limits<int>::min() || value > std::numeric_limits<int>::max())
    fail_meaning(std::string(what) + " does not fit 32 bits: " + std::to_string(value));
  return static_cast<int>(value);
}

std::string_view Reader::number_text(const char* what) {
  char c = peek();
  size_t end = at_ + (c == '-');
  auto exponent_sign = [&](size_t i) {
    return (text_[i] == '-' || text_[i] == '+') && i > at_ &&
           (text_[i - 1] == 'e' || text_[i - 1] == 'E');
  };
  while (end < text_.size() && (in_word(text_[end]) || exponent_sign(end))) ++end;
  std::string_view token = text_.substr(at_, end - at_);
  double value = 0;
  auto [stop, error] = std::from_chars(token.data(), token.data() + token.size(), value);
  if (token.empty() || error != std::errc() || stop != token.data() + token.size()) fail(what);
  at_ = end;
  return token;
}

double Reader::number(const char* what) {
  std::string_view token = number_text(what);
  double value = 0;
  std::from_chars(token.data(), token.data() + token.size(), value);
  return value;
}

std::string Reader::hex(const char* what) {
  expect("{");
  std::string out;
  out.reserve((std::min(text_.find('}', at_), text_.size()) - at_) / 2);
  while (peek() != '}') {
    // Tables of megabytes are read here.
    const size_t before = at_;
    for (; at_ + 1 < text_.size(); at_ += 2) {
      const int high = kHexDigits[static_cast<unsigned char>(text_[at_])];
      const int low = kHexDigits[static_cast<unsigned char>(text_[at_ + 1])];
      if ((high | low) < 0) break;
      out += static_cast<char>(high * 16 + low);
    }
    if (at_ == before) fail(std::string(what) + ": two of 0-9a-f a byte, or \"}\"");
  }
  expect("}");
  return out;
}

DType Reader::dtype() {
  const char* known = "an element type (f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3)";
  if (!starts_word(peek())) fail(known);
  size_t begin = at_;
  if (auto type = parse_dtype(word(known))) return *type;
  at_ = begin;
  fail(known);
}

Shape Reader::shape() {
  Shape out;
  expect("[");
  if (accept("]")) return out;
  constexpr int64_t kLimit = int64_t{1} << 56;
  int64_t product = 1;
  do {
    int64_t size = integer("a size");
    if (size < 0) fail_meaning("a size is negative: " + std::to_string(size));
    out.push_back(size);
    if (out.size() > kMaxRank) fail_meaning("more than 63 dimensions");
    // Zero sizes count as one, so that no partial product can overflow either.
    if (size > 1 && product > kLimit / size) fail_meaning("a shape of more than 2^56 elements");
    product *= std::max<int64_t>(size, 1);
  } while (accept(","));
  expect("]");
  return out;
}

bool Reader::accept_origin(std::string* origin) {
  skip();
  if (!at_origin()) return false;
  at_ += kOrigin.size() - 1;
  *origin = quoted("the origin of a kernel, quoted");
  return true;
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += "0123456789abcdef"[byte >> 4];
      out += "0123456789abcdef"[byte & 15];
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string name_text(std::string_view name) {
  bool bare = !name.empty() && starts_word(name[0]) &&
              std::all_of(name.begin(), name.end(), in_word);
  return bare ? std::string(name) : quote(name);
}

std::string number_text(double value) {
  char buffer[40];
  auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  std::string out(buffer, end);
  return out.find_first_not_of("-0123456789") == std::string::npos ? out + ".0" : out;
}

}  // namespace fusec::plan_text
