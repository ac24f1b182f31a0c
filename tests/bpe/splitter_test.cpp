// Words: the hand-written ones are the regular expression's, and what each step leaves.
#include "splitter.h"

#include "fixtures.h"

using namespace fusec;
using models::PreTokenizer;
using models::PreTokenizerStep;
using models::bpe::Splitter;

namespace {

using Words = std::vector<std::string>;

Words split(const Splitter& splitter, std::string_view text) {
  Splitter::Scratch scratch;
  Words words;
  splitter.split(text, scratch, [&](std::string_view word) { words.emplace_back(word); });
  return words;
}

Words split(const PreTokenizer& by, std::string_view text) {
  return split(Splitter(by, "test"), text);
}

PreTokenizer by_pattern(const std::string& pattern, PreTokenizerStep::Behavior behavior,
                        bool invert = false) {
  PreTokenizer by;
  PreTokenizerStep& step = by.steps.emplace_back();
  step.pattern = pattern, step.behavior = behavior, step.invert = invert;
  return by;
}

}  // namespace

std::string tests::random_text(uint64_t seed, uint64_t number, size_t grains, bool broken) {
  static const Words parts = {"a",        "b",       "Q",          "Z",      "the",
                              "Hello",    "ABC",     "1",          "42",     "2024",
                              "'",        "'s",      "'S",         "'T",     "'re",
                              "'RE",      "'vE",     "'ll",        "'Ll",    "'m",
                              "'d",       "'l",      "'r",         "\"",     ".",
                              ",",        "!",       "...",        "/",      "//",
                              "-",        "_",       "<|im_end|>", "(",      ")",
                              " ",        "  ",      "   ",        " ",      "\n",
                              "\n\n",     "\r\n",    "\r",         "\t",     "\v",
                              "\f",       "\x1c",    "\x7f",       "é",      "É",
                              "ß",        "ſ",       "'ſ",         "K",      "ö",
                              "ñ",        "e\u0301", "\u0300",     "Ж",      "ж",
                              "Привет",   "λ",       "日本",       "語",     "、",
                              "。",       "한",      "각",         "ا",      "مرحبا",
                              "\u064b",   "١",       "٢",          "ส",      "วั",
                              "न",        "म्",       "९",          "½",      "²",
                              "Ⅷ",        "ǅ",       "ʰ",          "ª",      "😀",
                              "👋🏽", "\u200d",  "\ufe0f",     "\u00a0", "\u2003",
                              "\u3000",   "\u1680",  "\u180e",     "\u2028", "\u0085",
                              "\u200b",   "€",       "→",          "©",      std::string(1, '\0'),
                              "\x01"};
  static const Words bad = {"\xff",     "\x80",         "\xc3",     "\xe2\x82", "\xf0\x9f\x98",
                            "\xc0\xaf", "\xed\xa0\x80", "\xf5\x80", "\xfe"};
  std::string text;
  for (size_t i = 0; i < grains; ++i) {
    const PhiloxBlock block = philox(seed, number, i);
    const Words& from = broken && block[0] % 8 == 0 ? bad : parts;
    text += from[block[1] % from.size()];
  }
  return text;
}

TEST_CASE("splitter: hand-written words are those of the regular expression") {
  for (const std::string name : {"gpt2", "smollm", "qwen2", "llama3", "cl100k", "o200k"}) {
    const PreTokenizer by = PreTokenizer::named(name);
    const Splitter fast(by, name), slow(by, name, false);
    CAPTURE(name);
    auto same = [&](const std::string& text) {
      const Words one = split(fast, text), two = split(slow, text);
      CAPTURE(text);
      CHECK(one == two);
      std::string whole;
      for (const std::string& word : one) whole += word;
      CHECK(whole == text);
    };
    for (uint64_t round = 0; round < 20000; ++round)
      same(tests::random_text(1, round, 1 + round % 12, false));
    // Every text of up to four of the characters that the patterns tell apart.
    const Words grains = {"a", "S", "L", "1", "'", " ", "\n", "\t", "/", "é"};
    for (size_t number = 0; number < 10 * 10 * 10 * 10; ++number) {
      std::string text;
      for (size_t i = 0, rest = number; i < 4; ++i, rest /= 10) text += grains[rest % 10];
      same(text);
    }
    for (int c = 0; c < 0x80; ++c)
      for (const char* around : {"", "a", " ", "1", "!", "\n"})
        same(std::string(around) + static_cast<char>(c) + around);
  }
}

TEST_CASE("splitter: what becomes of matches") {
  using B = PreTokenizerStep::Behavior;
  const std::string text = "the-final--countdown";
  CHECK(split(by_pattern("-", B::isolated), text) ==
        Words{"the", "-", "final", "-", "-", "countdown"});
  CHECK(split(by_pattern("-", B::removed), text) == Words{"the", "final", "countdown"});
  CHECK(split(by_pattern("-", B::contiguous), text) ==
        Words{"the", "-", "final", "--", "countdown"});
  CHECK(split(by_pattern("-", B::merged_with_previous), text) ==
        Words{"the-", "final-", "-", "countdown"});
  CHECK(split(by_pattern("-", B::merged_with_next), text) ==
        Words{"the", "-final", "-", "-countdown"});
  CHECK(split(by_pattern("[a-z]+", B::removed, true), text) == Words{"the", "final", "countdown"});
  CHECK(split(by_pattern("x*", B::isolated), "aéxxb") == Words{"aé", "xx", "b"});
}

TEST_CASE("splitter: steps follow one another") {
  PreTokenizer by = PreTokenizer::named("smollm");
  CHECK(split(by, "a 12 b") == Words{"a", " ", "1", "2", " b"});
  by.steps[0].individual_digits = false;
  by.steps[1].add_prefix_space = true;
  CHECK(split(by, "a12 b") == Words{" a", " 12", " b"});
}

TEST_CASE("splitter: white space is Unicode's, of today") {
  const PreTokenizer by = by_pattern("\\s", PreTokenizerStep::Behavior::removed);
  CHECK(split(by, "a\u00a0b\u180ec\u3000d\u0085e\u200bf") ==
        Words{"a", "b\u180ec", "d", "e\u200bf"});
  const PreTokenizer not_space = by_pattern("[\\S]+", PreTokenizerStep::Behavior::isolated);
  CHECK(split(not_space, "a\u2028b") == Words{"a", "\u2028", "b"});
}

TEST_CASE("splitter: patterns that cannot be used are refused") {
  auto message = [](ErrorKind kind, const std::string& pattern, const std::string& text) {
    return tests::error_of(kind, [&] { split(PreTokenizer::of_pattern(pattern), text); });
  };
  CHECK(tests::contains(message(ErrorKind::user, "(a", "a"),
                        "test: pattern \"(a\" does not compile"));
  CHECK(tests::contains(message(ErrorKind::unsupported, "[a&&[^b]]", "a"), "intersection"));
  message(ErrorKind::user, "", "a");
  message(ErrorKind::user, std::string(20000, 'a'), "a");
  CHECK(tests::contains(message(ErrorKind::user, "(?:a+)+(?:a+)+[^a]{2}", std::string(5000, 'a')),
                        "no deep search"));
  CHECK(tests::contains(tests::error_of(ErrorKind::user, [] { PreTokenizer::named("wordpiece"); }),
                        "llama-bpe"));
}
