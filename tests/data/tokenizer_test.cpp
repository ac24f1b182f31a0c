// The word tokenizer: exact round trips of any bytes, short captions, refusal of foreign files.
#include "fusec/models/tokenizer.h"

#include <algorithm>

#include "fusec/base/philox.h"
#include "fusec/base/utf8.h"
#include "scratch.h"

using namespace fusec;
using models::WordTokenizer;
using tests::contains;
using tests::user_error;

namespace {

WordTokenizer trained(int min_count = 1) {
  WordTokenizer tokenizer;
  tokenizer.train({"waving hand: light skin tone", "waving hand: medium-light skin tone",
                   "person: light skin tone, red hair", "woman’s hat", "flag: Åland Islands",
                   "keycap: 10", "jack-o-lantern"},
                  min_count);
  return tokenizer;
}

}  // namespace

TEST_CASE("tokenizer: words carry their space, so position does not matter") {
  const WordTokenizer tokenizer = trained();
  CHECK(tokenizer.encode("waving hand: medium-light skin tone").size() == 6);
  CHECK(tokenizer.encode("hand") ==
        std::vector<int32_t>{tokenizer.encode("waving hand").back()});
  CHECK(tokenizer.encode("").empty());
}

TEST_CASE("tokenizer: a rare joined word falls back to its parts, then to bytes") {
  const WordTokenizer tokenizer = trained(2);
  // " light" is known twice as itself; "medium-light" and "jack-o-lantern" occur once.
  const std::vector<int32_t> ids = tokenizer.encode("light-tone");
  CHECK(tokenizer.piece(ids[0]) == " light");
  CHECK(tokenizer.piece(ids[1]) == "<0x2d>");
  CHECK(tokenizer.encode("zz") ==
        std::vector<int32_t>{4 + ' ', 4 + 'z', 4 + 'z'});
}

TEST_CASE("tokenizer: decode(encode(x)) == x for any bytes, without special tokens") {
  const WordTokenizer tokenizer = trained(), bytes_only;
  const std::vector<std::string> grains = {" ", "  ", "-", "'", "hand", " light", ":", "\n", "<eos>",
                                           "<image>", std::string(1, '\0'), "é", "\xff", "\xe2\x80",
                                           "’", "medium-light", "10", "a-", "-b"};
  for (uint64_t round = 0; round < 4000; ++round) {
    std::string text;
    const uint32_t length = philox(11, round)[0] % 12;
    for (uint32_t i = 0; i < length; ++i) {
      const PhiloxBlock block = philox(12, round, i);
      text += block[0] % 3 ? grains[block[1] % grains.size()]
                           : std::string(1, static_cast<char>(block[2]));
    }
    for (const WordTokenizer* one : {&tokenizer, &bytes_only}) {
      const std::vector<int32_t> ids = one->encode(text);
      REQUIRE(one->decode(ids) == text);
      REQUIRE(std::all_of(ids.begin(), ids.end(),
                          [&](int32_t id) { return id >= 4 && id < one->vocab_size(); }));
    }
  }
}

TEST_CASE("tokenizer: special tokens have their ids and no text") {
  const WordTokenizer tokenizer = trained();
  CHECK(tokenizer.piece(tokenizer.eos()) == "<eos>");
  std::vector<int32_t> ids = tokenizer.encode("hand");
  ids.insert(ids.begin(), {tokenizer.bos(), tokenizer.image()});
  ids.insert(ids.end(), {tokenizer.eos(), tokenizer.pad()});
  CHECK(tokenizer.decode(ids) == "hand");
  CHECK(contains(user_error([&] { tokenizer.decode({tokenizer.vocab_size()}); }), "vocabulary"));
  CHECK(contains(user_error([&] { tokenizer.decode({-1}); }), "-1"));
}

TEST_CASE("tokenizer: the same captions in any order give the same vocabulary") {
  WordTokenizer a, b, c;
  a.train({"red hat", "blue hat", "\xff\xfe odd"}, 1);
  b.train({"\xff\xfe odd", "blue hat", "red hat"}, 1);
  c.train({"red hat", "blue hats"}, 1);
  CHECK(a.hash() == b.hash());
  CHECK(a.hash() != c.hash());
  CHECK(a.encode("hat") == std::vector<int32_t>{260});  // the most frequent piece comes first
  CHECK(a.vocab_size() == 260 + 4);                     // the piece that is not UTF-8 stays bytes
  CHECK(contains(user_error([&] { a.train({"x"}, 0); }), "min_count"));
}

TEST_CASE("tokenizer: saved and loaded; foreign and edited files are refused") {
  tests::Scratch scratch;
  const WordTokenizer tokenizer = trained();
  tokenizer.save(scratch / "t.json");
  const WordTokenizer loaded = WordTokenizer::load(scratch / "t.json");
  CHECK(loaded.hash() == tokenizer.hash());
  CHECK(loaded.encode("woman’s hat: 10") == tokenizer.encode("woman’s hat: 10"));

  auto refused = [&](const std::string& bytes, const std::string& part) {
    const std::string path = scratch.file("bad.json", bytes);
    const std::string message = user_error([&] { WordTokenizer::load(path); });
    CHECK(contains(message, path));
    CHECK(contains(message, part));
  };
  std::string edited = io::read_file(scratch / "t.json");
  edited.replace(edited.find(" hand"), 5, " band");
  refused(edited, "was edited");
  std::string newer = io::read_file(scratch / "t.json");
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":2");
  refused(newer, "\"version\": 1");
  refused("{", "expected a tokenizer");
  refused("[]", "expected {");
  refused("{\"format\":\"fusec-word-tokenizer\",\"version\":1,\"words\":3}", "expected {");
  refused(R"({"format":"fusec-word-tokenizer","version":1,"words":[" a"," a"],"hash":""})",
          "repeat");
}

TEST_CASE("utf8: well-formed text only") {
  for (const char* good : {"", "a", "é", "’", "😀", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"})
    CHECK(is_utf8(good));
  for (const char* bad : {"\x80", "\xc0\xaf", "\xc3", "\xc3(", "\xe0\x80\x80", "\xed\xa0\x80",
                          "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80"})
    CHECK(!is_utf8(bad));
  CHECK(to_utf8(U"aé’😀") == "aé’😀");
}
