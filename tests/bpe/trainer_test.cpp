// Training: known merges, ties, the same ids for any threads and divisions, options.
#include "fusec/models/bpe_trainer.h"

#include <algorithm>

#include "fixtures.h"

using namespace fusec;
using models::BpeTokenizer;
using models::BpeTrainer;
using models::BpeTrainOptions;
using models::PreTokenizer;

namespace {

BpeTokenizer trained(const std::vector<std::string>& texts, const BpeTrainOptions& options) {
  BpeTrainer trainer(options);
  trainer.count(texts);
  return trainer.train();
}

std::vector<std::string> learned(const BpeTokenizer& tokenizer, int32_t from) {
  std::vector<std::string> tokens;
  for (int32_t id = from; id < tokenizer.vocab_size(); ++id)
    tokens.emplace_back(tokenizer.bytes(id));
  return tokens;
}

}  // namespace

TEST_CASE("trainer: the most frequent pair first, ties by the smaller ids") {
  BpeTrainOptions options;
  options.vocab_size = 260;
  // "bc" and "ab" three times each, then what is left of them.
  CHECK(learned(trained({"abcd", "abcd", "abc"}, options), 256) ==
        std::vector<std::string>{"ab", "abc", "abcd"});
  // Overlapping pairs count at each place, and merge from the left.
  options.min_frequency = 1;
  CHECK(learned(trained({"aaaaa"}, options), 256) ==
        std::vector<std::string>{"aa", "aaa", "aaaaa"});
}

TEST_CASE("trainer: neither threads nor the order of texts change the result") {
  const std::vector<std::string> corpus = tests::corpus();
  std::vector<std::string> texts;
  for (uint64_t i = 0; i < 600; ++i) texts.push_back(tests::random_text(7, i, 60, true));
  texts.insert(texts.end(), corpus.begin(), corpus.end());
  BpeTrainOptions options;
  options.vocab_size = 900;
  options.specials = {"<s>", "</s>"};
  options.pre_tokenizer = PreTokenizer::named("qwen2");
  options.threads = 1;
  const BpeTokenizer one = trained(texts, options);
  CHECK(one.vocab_size() == 900);
  std::reverse(texts.begin(), texts.end());
  for (const int threads : {0, 2, 3, 8}) {
    options.threads = threads;
    CHECK(trained(texts, options).json() == one.json());
  }
  BpeTrainer in_parts(options);
  for (const std::string& text : texts) in_parts.count(std::vector<std::string>{text});
  CHECK(in_parts.train().hash() == one.hash());
}

TEST_CASE("trainer: special tokens come first and no merge spells one") {
  BpeTrainOptions options;
  options.vocab_size = 300;
  options.min_frequency = 1;
  options.specials = {"<pad>", "aba"};
  options.pre_tokenizer = PreTokenizer::of_pattern("[^ ]+| ");
  const BpeTokenizer tokenizer = trained({"aba aba aba abab", "<pad><pad>"}, options);
  CHECK(tokenizer.special("<pad>") == 0);
  CHECK(tokenizer.bytes(2) == "!");
  for (const std::string text : {"aba", "<pad>", "abab <pad>"})
    for (const int32_t id : tokenizer.encode(text)) CHECK_FALSE(tokenizer.is_special(id));
  const BpeTokenizer written = BpeTokenizer::parse(tokenizer.json(), "written");
  CHECK(written.hash() == tokenizer.hash());
  CHECK(written.encode_with_specials("aba") == std::vector<int32_t>{1});
}

TEST_CASE("trainer: the frequency bounds the vocabulary, and bytes alone are one") {
  BpeTrainOptions options;
  options.min_frequency = 3;
  CHECK(learned(trained({"xy xy", "xy zw zw"}, options), 256) == std::vector<std::string>{"xy"});
  const BpeTokenizer bytes = trained({}, options);
  CHECK(bytes.vocab_size() == 256);
  CHECK(bytes.decode(bytes.encode("h\xff\u00e9")) == "h\xff\u00e9");
  CHECK(learned(trained({"\xff\xfe\xff\xfe\xff\xfe\xff\xfe"}, options), 256).empty());
}

TEST_CASE("trainer: options without sense are refused") {
  auto refused = [](auto change) {
    BpeTrainOptions options;
    change(options);
    return tests::error_of(ErrorKind::user, [&] { trained({"a"}, options); });
  };
  CHECK(tests::contains(refused([](BpeTrainOptions& o) { o.vocab_size = 200; }), "expected 256"));
  refused([](BpeTrainOptions& o) { o.vocab_size = 1 << 22; });
  refused([](BpeTrainOptions& o) { o.min_frequency = 0; });
  refused([](BpeTrainOptions& o) { o.threads = -1; });
  refused([](BpeTrainOptions& o) { o.specials = {"a", "a"}; });
  refused([](BpeTrainOptions& o) { o.specials = {""}; });
  refused([](BpeTrainOptions& o) { o.specials = {"\xff"}; });
}
