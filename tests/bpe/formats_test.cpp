// Files and parts: what is read, what is refused, and what the hash sees.
#include <algorithm>

#include "byte_text.h"
#include "fixtures.h"

using namespace fusec;
using models::AddedToken;
using models::BpeParts;
using models::BpeTokenizer;
using models::PreTokenizer;
using nlohmann::json;
using tests::contains;
using tests::Ids;

namespace {

// The contents of a stored tokenizer, as a GGUF file holds them.
BpeParts parts_of(const std::string& name) {
  const json file = tests::fixture(name + ".tokenizer.json");
  BpeParts parts;
  for (const auto& [text, id] : file.at("model").at("vocab").items()) {
    if (parts.tokens.size() <= id.get<size_t>()) parts.tokens.resize(id.get<size_t>() + 1);
    parts.tokens[id.get<size_t>()] = text;
  }
  for (const json& merge : file.at("model").at("merges"))
    parts.merges.push_back(merge.is_string()
                               ? merge.get<std::string>()
                               : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  parts.added = tests::stored(name).added_tokens();
  return parts;
}

// Four tokens and one merge.
json small() {
  json vocabulary = json::object();
  for (int byte = 0; byte < 256; ++byte)
    vocabulary[models::bpe::to_byte_text(std::string(1, static_cast<char>(byte)))] = byte;
  vocabulary["ab"] = 256;
  return {{"added_tokens", json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"a b"}}}}};
}

std::string refused(ErrorKind kind, const std::string& pointer, const json& value) {
  json file = small();
  file[json::json_pointer(pointer)] = value;
  return tests::error_of(kind, [&] { BpeTokenizer::parse(file.dump(), "t.json"); });
}

}  // namespace

TEST_CASE("bpe: parts in memory are the tokenizer of the file they come from") {
  const std::pair<const char*, const char*> names[] = {
      {"gpt2", "gpt-2"}, {"smollm", "smollm"}, {"qwen2", "qwen2"}};
  for (const auto& [file, pre_tokenizer] : names) {
    BpeParts parts = parts_of(file);
    parts.pre_tokenizer = PreTokenizer::named(pre_tokenizer);
    const BpeTokenizer made = BpeTokenizer::from_parts(parts, "model.gguf");
    CHECK(made.hash() == tests::stored(file).hash());
  }
  BpeParts parts = parts_of("gpt2");
  parts.merges[3] = "nospace";
  CHECK(
      contains(tests::error_of(ErrorKind::user, [&] { BpeTokenizer::from_parts(parts, "m.gguf"); }),
               "m.gguf: merge \"nospace\""));
}

TEST_CASE("bpe: a damaged tokenizer.json says what is wrong with it") {
  CHECK(BpeTokenizer::parse(small().dump(), "t").encode("abc") == Ids{256, 'c'});
  const auto user = ErrorKind::user;
  CHECK(contains(refused(user, "/model/vocab/x y", 5), "t.json: id 5 is that of"));
  CHECK(contains(refused(user, "/model/vocab/xy", -1), "has id -1"));
  CHECK(contains(refused(user, "/model/vocab/xy", 900000), "has id 900000"));
  CHECK(contains(refused(user, "/model/vocab/xy", 1.5), "the id of \"xy\" is a number"));
  refused(user, "/model/vocab/xy", 18446744073709551615u);
  CHECK(contains(refused(user, "/model/vocab", 3),
                 "\"model.vocab\" is a number; expected an object"));
  CHECK(contains(refused(user, "/model/merges/1", "a c"), "merge 1 is of \"a\" and \"c\""));
  CHECK(contains(refused(user, "/model/merges/1", "ac"), "expected \"left right\""));
  refused(user, "/model/merges/1", json::array({"a", 2}));
  refused(user, "/model/merges", nullptr);
  CHECK(contains(refused(user, "/added_tokens/0", {{"id", 3}, {"content", "<s>"}}), "id 3"));
  refused(user, "/added_tokens/0", {{"id", 300}, {"content", ""}});
  refused(user, "/added_tokens/0", {{"id", int64_t{1} << 40}, {"content", "<s>"}});
  refused(user, "/added_tokens/0", {{"content", "<s>"}});
  CHECK(contains(refused(user, "/model/vocab", {{"a", 0}}), "merge 0 is of \"a\" and \"b\""));
  json none = small();
  none["model"]["vocab"] = {{"ab", 0}}, none["model"]["merges"] = json::array();
  CHECK(contains(tests::error_of(user, [&] { BpeTokenizer::parse(none.dump(), "t.json"); }),
                 "t.json: no token is a single byte"));
  refused(user, "/model", nullptr);
  CHECK(contains(tests::error_of(user, [] { BpeTokenizer::parse("{\"model\"", "t.json"); }),
                 "t.json: not JSON near column"));
  CHECK(contains(tests::error_of(user, [] { BpeTokenizer::load("/no/such/file.json"); }),
                 "/no/such/file.json"));
}

TEST_CASE("bpe: a tokenizer.json that asks for more than is built says so") {
  const auto unsupported = ErrorKind::unsupported;
  CHECK(contains(refused(unsupported, "/model/type", "Unigram"), "model type is \"Unigram\""));
  CHECK(contains(refused(unsupported, "/model/dropout", 0.1), "model.dropout is 0.1"));
  refused(unsupported, "/model/byte_fallback", true);
  refused(unsupported, "/model/end_of_word_suffix", "</w>");
  CHECK(
      contains(refused(unsupported, "/normalizer", {{"type", "NFKC"}}), "normalizer is \"NFKC\""));
  CHECK(contains(refused(unsupported, "/pre_tokenizer", {{"type", "Metaspace"}}), "\"Metaspace\""));
  CHECK(contains(refused(unsupported, "/pre_tokenizer", nullptr), "without ByteLevel"));
  refused(unsupported, "/post_processor", {{"type", "BertProcessing"}});
  refused(unsupported, "/added_tokens/0", {{"id", 257}, {"content", "<s>"}, {"single_word", true}});
}

TEST_CASE("bpe: templates give what goes around a text") {
  json file = small();
  file["added_tokens"] = {{{"id", 257}, {"content", "<s>"}, {"special", true}},
                          {{"id", 258}, {"content", "</s>"}, {"special", true}}};
  file["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
        {{"SpecialToken", {{"id", "</s>"}, {"type_id", 0}}}}}},
      {"special_tokens",
       {{"<s>", {{"id", "<s>"}, {"ids", {257}}}}, {"</s>", {{"id", "</s>"}, {"ids", {258}}}}}}};
  const BpeTokenizer tokenizer = BpeTokenizer::parse(file.dump(), "t");
  CHECK(tokenizer.prefix() == Ids{257});
  CHECK(tokenizer.suffix() == Ids{258});
  const BpeTokenizer written = BpeTokenizer::parse(tokenizer.json(), "t");
  CHECK(written.hash() == tokenizer.hash());
  CHECK(written.suffix() == Ids{258});
  file["post_processor"]["special_tokens"]["</s>"]["ids"] = {999};
  CHECK(contains(tests::error_of(ErrorKind::user, [&] { BpeTokenizer::parse(file.dump(), "t"); }),
                 "token 999 goes around a text"));
}

TEST_CASE("bpe: a file's merges make no special token") {
  json file = small();
  file["added_tokens"] = {{{"id", 256}, {"content", "ab"}, {"special", true}}};
  const BpeTokenizer tokenizer = BpeTokenizer::parse(file.dump(), "t");
  CHECK(tokenizer.encode("ab") == Ids{'a', 'b'});
  CHECK(tokenizer.encode_with_specials("ab") == Ids{256});
}

TEST_CASE("bpe: bytes without a token are left out") {
  json file = small();
  file["model"]["vocab"].erase(models::bpe::to_byte_text("\x04"));
  const BpeTokenizer tokenizer = BpeTokenizer::parse(file.dump(), "t");
  CHECK_FALSE(tokenizer.lossless());
  CHECK(tokenizer.encode("a\x04"
                         "b\x04") == Ids{'a', 'b'});
}

TEST_CASE("bpe: tiktoken files that are none are refused by line") {
  auto message = [](const std::string& text) {
    return tests::error_of(ErrorKind::user, [&] {
      BpeTokenizer::parse_tiktoken(text, "x.tiktoken", PreTokenizer::named("gpt2"), {});
    });
  };
  CHECK(contains(message("IQ== 0\nIg==\n"), "x.tiktoken:2: \"Ig==\"; expected a token"));
  CHECK(contains(message("IQ== 0\n*** 1\n"), "x.tiktoken:2"));
  CHECK(contains(message("IQ== x\n"), "x.tiktoken:1"));
  message("IQ== 0 1\n");
  message(" 0\n");
  message("IQ== -1\n");
  CHECK(contains(message("IQ== 0\nIg== 0\n"), "id 0 is that of \"!\" and of \"\"\""));
  CHECK(contains(message("IQ== 0\nIQ== 1\n"), "stands twice"));
  message("");
  CHECK(contains(message(std::string(8000, 'A') + " 0\n"), "at most 1024 bytes"));
  const BpeTokenizer few = BpeTokenizer::parse_tiktoken("IQ== 0\r\nIg== 1\r\nISI= 2\r\n", "x",
                                                        PreTokenizer::named("gpt2"), {});
  CHECK(few.encode("!\"!") == Ids{2, 0});
}

TEST_CASE("bpe: the hash sees all that decides ids") {
  std::vector<uint64_t> hashes;
  auto add = [&](const BpeParts& parts) {
    hashes.push_back(BpeTokenizer::from_parts(parts, "test").hash());
  };
  BpeParts parts = parts_of("gpt2");
  parts.pre_tokenizer = PreTokenizer::named("gpt2");
  add(parts);
  for (const char* name : {"smollm", "qwen2", "llama3", "cl100k", "o200k"}) {
    parts.pre_tokenizer = PreTokenizer::named(name);
    add(parts);
  }
  parts.pre_tokenizer.nfc = true, add(parts);
  parts.ignore_merges = true, add(parts);
  std::swap(parts.merges[0], parts.merges[1]), add(parts);
  parts.merges.pop_back(), add(parts);
  parts.tokens.emplace_back("unused"), add(parts);
  parts.added[0].rstrip = true, add(parts);
  parts.prefix = {5}, add(parts);
  parts.suffix.swap(parts.prefix), add(parts);
  std::sort(hashes.begin(), hashes.end());
  CHECK(std::adjacent_find(hashes.begin(), hashes.end()) == hashes.end());
  const BpeTokenizer tokenizer = tests::stored("gpt2");
  CHECK(tokenizer.hash_text().size() == 16);
}
