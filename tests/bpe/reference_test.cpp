// Token for token what Hugging Face `tokenizers` and tiktoken give.
#include "fixtures.h"
#include "fusec/models/bpe_trainer.h"

using namespace fusec;
using models::AddedToken;
using models::BpeTokenizer;
using models::PreTokenizer;
using tests::Ids;

namespace {

void check_ids(const BpeTokenizer& tokenizer, const std::string& name) {
  const nlohmann::json expected = tests::fixture(name + ".ids.json");
  const std::vector<std::string> texts = tests::corpus();
  REQUIRE(expected.at("plain").size() == texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(name);
    CAPTURE(texts[i]);
    CHECK(tokenizer.encode(texts[i]) == expected.at("plain")[i].get<Ids>());
  }
  for (const auto& [number, ids] : expected.at("specials").items())
    CHECK(tokenizer.encode_with_specials(texts[std::stoul(number)]) == ids.get<Ids>());
  const std::string extra = expected.at("extra").at("text");
  CHECK(tokenizer.encode(extra) == expected.at("extra").at("plain").get<Ids>());
  CHECK(tokenizer.encode_with_specials(extra) == expected.at("extra").at("specials").get<Ids>());
  Ids around = tokenizer.prefix();
  for (const int32_t id : tokenizer.encode("x")) around.push_back(id);
  for (const int32_t id : tokenizer.suffix()) around.push_back(id);
  CHECK(around == expected.at("around").get<Ids>());
}

}  // namespace

TEST_CASE("bpe: tokenizer.json of each published pre-tokenizer, as the reference reads it") {
  for (const std::string& name : tests::stored_names()) check_ids(tests::stored(name), name);
}

TEST_CASE("bpe: a written tokenizer.json is the same tokenizer") {
  for (const std::string& name : tests::stored_names()) {
    const BpeTokenizer one = tests::stored(name);
    const BpeTokenizer two = BpeTokenizer::parse(one.json(), "written");
    CHECK(two.hash() == one.hash());
    CHECK(two.json() == one.json());
    check_ids(two, name);
  }
}

TEST_CASE("bpe: a tiktoken file by each named pattern, as tiktoken reads it") {
  const nlohmann::json expected = tests::fixture("small.ids.json");
  const std::vector<std::string> texts = tests::corpus();
  for (const std::string name : {"gpt2", "cl100k", "o200k"}) {
    AddedToken end;
    end.text = "<|endoftext|>";
    end.id = BpeTokenizer::load_tiktoken(tests::fixture_path("small.tiktoken"),
                                         PreTokenizer::named(name), {})
                 .vocab_size();
    const BpeTokenizer tokenizer = BpeTokenizer::load_tiktoken(
        tests::fixture_path("small.tiktoken"), PreTokenizer::named(name), {end});
    const BpeTokenizer written = BpeTokenizer::parse(tokenizer.json(), "written");
    CHECK(written.hash() == tokenizer.hash());
    for (const BpeTokenizer* one : {&tokenizer, &written}) {
      for (size_t i = 0; i < texts.size(); ++i) {
        CAPTURE(name);
        CAPTURE(texts[i]);
        CHECK(one->encode(texts[i]) == expected.at(name).at("plain")[i].get<Ids>());
      }
      for (const auto& [number, ids] : expected.at(name).at("specials").items())
        CHECK(one->encode_with_specials(texts[std::stoul(number)]) == ids.get<Ids>());
    }
  }
}

TEST_CASE("bpe: training gives the reference's vocabulary and ids") {
  for (const std::string name : {"gpt2", "gpt2_prefix", "smollm", "o200k"}) {
    const BpeTokenizer reference = tests::stored(name);
    models::BpeTrainOptions options;
    options.vocab_size = name == "gpt2" ? 1000 : name == "gpt2_prefix" ? 500 : 800;
    options.min_frequency = name == "gpt2" ? 1 : 2;
    for (const AddedToken& token : reference.added_tokens()) options.specials.push_back(token.text);
    options.pre_tokenizer = reference.pre_tokenizer();
    models::BpeTrainer trainer(options);
    trainer.count(tests::corpus());
    const BpeTokenizer trained = trainer.train();
    CAPTURE(name);
    REQUIRE(trained.vocab_size() == reference.vocab_size());
    for (int32_t id = 0; id < trained.vocab_size(); ++id)
      CHECK(trained.bytes(id) == reference.bytes(id));
    CHECK(trained.hash() == reference.hash());
  }
}
