// Pieces are whole UTF-8, come as soon as they are whole, and lose nothing.
#include "fusec/models/utf8_pieces.h"

#include <doctest/doctest.h>

#include "fusec/base/philox.h"
#include "fusec/base/utf8.h"

namespace fusec::models {
namespace {

TEST_CASE("utf-8 pieces: a character comes with its last byte") {
  Utf8Pieces p;
  CHECK(p.push("a\xc3") == "a");
  CHECK(p.push("\xa9z") == "\xc3\xa9z");
  CHECK(p.push("\xf0") == "");
  CHECK(p.push("\x9f\x98") == "");
  CHECK(p.push("\x80") == "\xf0\x9f\x98\x80");
  CHECK(p.push("") == "");
  CHECK(p.finish() == "");
}

TEST_CASE("utf-8 pieces: what can be no character is replaced, at once") {
  const std::string odd = "\xef\xbf\xbd";
  Utf8Pieces p;
  CHECK(p.push("\xff"
               "a") == odd + "a");
  CHECK(p.push("\x80") == odd);
  CHECK(p.push("\xe2\x82") == "");
  CHECK(p.push("A") == odd + odd + "A");
  CHECK(p.push("\xed\xa0") == odd + odd);  // would be a surrogate
  CHECK(p.push("\xf4\x90") == odd + odd);  // beyond U+10FFFF
  CHECK(p.push("\xc0") == odd);            // would be overlong
  CHECK(p.push("\xe0") == "");
  CHECK(p.push("\x9f") == odd + odd);
  CHECK(p.push("\xf0\x9f\x98") == "");
  CHECK(p.finish() == odd + odd + odd);
  CHECK(p.push("b") == "b");
}

TEST_CASE("utf-8 pieces: any text, cut anywhere, is the text again") {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    std::u32string text;
    for (uint64_t i = 0; i < 40; ++i) {
      const PhiloxBlock w = philox(seed, i);
      const char32_t most[] = {0x7f, 0x7ff, 0xffff, 0x10ffff};
      char32_t c = w[0] % (most[w[1] % 4] + 1);
      if (c >= 0xd800 && c < 0xe000) c -= 0x800;
      text += c;
    }
    const std::string bytes = to_utf8(text);
    std::string whole;
    Utf8Pieces pieces;
    for (size_t at = 0, i = 1000; at < bytes.size(); ++i) {
      const size_t length = 1 + philox(seed, i)[0] % 5;
      const std::string piece = pieces.push(bytes.substr(at, length));
      CHECK(is_utf8(piece));
      whole += piece;
      at += length;
      // Never more than an unfinished character is held back.
      CHECK(whole.size() + 3 >= std::min(at, bytes.size()));
    }
    CHECK(whole == bytes);
    CHECK(pieces.finish().empty());
  }
}

}  // namespace
}  // namespace fusec::models
