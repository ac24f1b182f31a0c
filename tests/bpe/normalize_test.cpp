// Form C of a text is utf8proc's of the whole text, however it is cut into runs.
#include "normalize.h"

#include <utf8proc.h>

#include <cstdlib>

#include "fixtures.h"
#include "fusec/base/utf8.h"

using namespace fusec;
using models::bpe::to_nfc;

namespace {

std::string by_utf8proc(const std::string& text) {
  utf8proc_uint8_t* bytes = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &bytes,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  REQUIRE(size >= 0);
  std::string out(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  std::free(bytes);
  return out;
}

std::string nfc(const std::string& text) {
  std::string storage;
  return std::string(to_nfc(text, storage));
}

}  // namespace

TEST_CASE("normalize: every character, alone and beside others") {
  for (char32_t c = 1; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const std::u32string alone(1, c), after = {U'a', c, U'b'}, marked = {c, 0x327, 0x301};
    for (const std::u32string& text : {alone, after, marked})
      if (nfc(to_utf8(text)) != by_utf8proc(to_utf8(text)))
        FAIL_CHECK("character " << static_cast<uint32_t>(c) << " differs");
  }
}

TEST_CASE("normalize: random runs of characters that compose") {
  const std::u32string grains =
      U"aeqAZ \u0301\u0323\u0307\u0327\u00e9\u1e69\u212b\u1100\u1161\u11a8"
      U"\uac00\uac01\u0915\u093c\u0958\u09c7\u09be\u0b47\u0b56\u0344\u0f73"
      U"\u3042\u3099\u304b\U0001d15e\U0002f800\U00011131\U00011127";
  for (uint64_t round = 0; round < 50000; ++round) {
    std::u32string text;
    for (uint64_t i = 0; i < 1 + round % 10; ++i)
      text += grains[philox(4, round, i)[0] % grains.size()];
    CAPTURE(to_utf8(text));
    CHECK(nfc(to_utf8(text)) == by_utf8proc(to_utf8(text)));
  }
}

TEST_CASE("normalize: bytes that are no UTF-8 stay, and stand between what composes") {
  CHECK(nfc("e\u0301\xff\u0301"
            "e\u0301") == "\u00e9\xff\u0301\u00e9");
  CHECK(nfc("\xcc") == "\xcc");
  CHECK(nfc("e\xcc\xcc\x81") == "e\xcc\u0301");
  CHECK(nfc("") == "");
  const std::string text = "\u0439 \u00e9", same = text;
  std::string storage;
  CHECK(to_nfc(same, storage).data() == same.data());
}
