// Rows of words, carried over to tokens.
#include "fusec/models/vocabulary_transfer.h"

#include <doctest/doctest.h>

#include "fusec/models/bpe_trainer.h"

namespace fusec::models {
namespace {

TEST_CASE("tokens take the rows of the words they say") {
  WordTokenizer words;
  words.train({"red box", "blue box", "red box"}, 1);
  BpeTrainOptions options{.vocab_size = 300, .min_frequency = 1, .specials = {"<|end|>"}};
  BpeTrainer trainer(options);
  trainer.count(std::vector<std::string>(5, "red box, red box blue"));
  const BpeTokenizer tokens = trainer.train();

  // Row i of the old table is (i, -i); the new one begins as 1000s.
  std::vector<float> from, to(static_cast<size_t>(tokens.vocab_size()) * 2, 1000.0f);
  for (int i = 0; i < words.vocab_size(); ++i) {
    from.push_back(static_cast<float>(i));
    from.push_back(static_cast<float>(-i));
  }
  const CarriedRows carried = carry_rows(from, words, to, tokens, 2);
  CHECK(carried.whole + carried.joined + carried.kept == tokens.vocab_size());

  const auto row_of = [&](const std::string& text) {
    const std::vector<int32_t> ids = tokens.encode(text);
    REQUIRE(ids.size() == 1);
    return to[ids[0] * 2];
  };
  const auto word = [&](const std::string& text) {
    const std::vector<int32_t> ids = words.encode(text);
    REQUIRE(ids.size() == 1);
    return static_cast<float>(ids[0]);
  };
  CHECK(row_of(" box") == word("box"));
  CHECK(row_of("red") == word("red"));  // at the beginning of a text
  CHECK(row_of("x") == 4 + 'x');        // a byte: see tokenizer.h
  CHECK(to[tokens.special("<|end|>") * 2] == 1000);
  CHECK(row_of(" b") == 1000);  // a part of a word
}

}  // namespace
}  // namespace fusec::models
