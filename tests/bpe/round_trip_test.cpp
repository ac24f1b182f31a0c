// Any bytes come back; special tokens come from nobody's text.
#include <atomic>
#include <thread>

#include "byte_text.h"
#include "fixtures.h"

using namespace fusec;
using models::BpeTokenizer;
using tests::Ids;

TEST_CASE("bpe: decode(encode(x)) == x for any bytes") {
  for (const std::string name : {"gpt2", "smollm", "llama3", "o200k"}) {
    const BpeTokenizer tokenizer = tests::stored(name);
    CHECK(tokenizer.lossless());
    for (uint64_t round = 0; round < 4000; ++round) {
      const std::string text = tests::random_text(5, round, round % 40, true);
      const Ids ids = tokenizer.encode(text);
      CHECK(tokenizer.decode(ids) == text);
      CHECK(tokenizer.decode(tokenizer.encode_with_specials(text), true) == text);
      for (const int32_t id : ids) CHECK_FALSE(tokenizer.is_special(id));
    }
    std::string bytes;
    for (uint64_t i = 0; i < 20000; ++i) bytes += static_cast<char>(philox(6, i)[0]);
    CHECK(tokenizer.decode(tokenizer.encode(bytes)) == bytes);
    const std::string run(300000, 'a'), spaces(300000, ' '), broken(300000, '\x80');
    for (const std::string& text : {run, spaces, broken})
      CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  }
}

TEST_CASE("bpe: special tokens are ids, not text") {
  const BpeTokenizer tokenizer = tests::stored("qwen2");
  const int32_t end = tokenizer.special("<|im_end|>");
  CHECK(tokenizer.is_special(end));
  CHECK(tokenizer.bytes(end) == "<|im_end|>");
  const std::string text = "a<|im_end|>b";
  CHECK(tokenizer.encode(text).size() > 4);
  CHECK(tokenizer.encode_with_specials(text).size() == 3);
  CHECK(tokenizer.encode_with_specials(text)[1] == end);
  CHECK(tokenizer.decode(tokenizer.encode_with_specials(text)) == "ab");
  CHECK(tokenizer.decode(tokenizer.encode_with_specials(text), true) == text);
  CHECK_FALSE(tokenizer.is_special(tokenizer.special("<think>")));
  CHECK_FALSE(tokenizer.find_special("<|im_middle|>").has_value());
  CHECK(tests::contains(
      tests::error_of(ErrorKind::user, [&] { (void)tokenizer.special("<|im_middle|>"); }),
      "no special token \"<|im_middle|>\""));
  CHECK(tests::contains(tests::error_of(ErrorKind::user,
                                        [&] {
                                          (void)tokenizer.decode({0, 100000});
                                        }),
                        "token id 100000"));
  CHECK(tokenizer.bytes(-1).empty());
  CHECK_FALSE(tokenizer.is_special(-1));
}

TEST_CASE("bpe: threads share a tokenizer") {
  const BpeTokenizer tokenizer = tests::stored("qwen2");
  const std::vector<std::string> texts = tests::corpus();
  std::vector<Ids> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer.encode(text));
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size() * 8; ++i) {
        const size_t at = (i * 7 + t) % texts.size();
        if (tokenizer.encode(texts[at]) != expected[at]) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == 0);
}

TEST_CASE("byte text: 256 characters stand for the bytes, no others") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string text = models::bpe::to_byte_text(all);
  CHECK(models::bpe::from_byte_text(text) == all);
  CHECK(models::bpe::to_byte_text(" a\n") == "\u0120a\u010a");
  for (const char* none : {" ", "\n", "\u0144", "\u00ad", "\u20ac", "\xff", "\U0001f600"})
    CHECK_FALSE(models::bpe::from_byte_text(none).has_value());
  CHECK(models::bpe::bytes_in_order()[0] == '!');
  CHECK(models::bpe::bytes_in_order()[255] == 0xad);
}
