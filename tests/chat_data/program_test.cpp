// The program: what it leaves on disk, and what it refuses.
#include <set>

#include "../programs/program.h"
#include "fusec/models/bpe_tokenizer.h"
#include "small_set.h"

using namespace fusec;
using tests::contains;

namespace {

namespace fs = std::filesystem;

std::set<std::string> images_of(const std::vector<io::Document>& documents) {
  std::set<std::string> images;
  for (const io::Document& document : documents)
    for (const io::Message& message : document.messages)
      for (const io::Part& part : message.parts)
        if (part.type == io::Part::Type::image) images.insert(part.value);
  return images;
}

std::vector<io::Document> documents_in(const fs::path& folder) {
  std::vector<io::Document> documents;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".jsonl") continue;
    const std::vector<io::Document> more = io::read_documents(entry.path().string());
    documents.insert(documents.end(), more.begin(), more.end());
  }
  return documents;
}

}  // namespace

TEST_CASE("chat_data: shards with their images, the same bytes again, a tokenizer") {
  tests::Scratch scratch;
  tests::small_set(scratch);
  auto make = [&](const std::string& out, const std::string& shards) {
    return tests::run_program(
        scratch, "chat_data",
        {"--pictures", scratch / "", "--out", scratch / out, "--documents", "120",
         "--val-documents", "40", "--shards", shards, "--vocab", "400"});
  };
  const tests::Ended ended = make("a", "3");
  REQUIRE(ended.code == 0);
  CHECK(contains(ended.out, "documents"));
  const std::vector<io::Document> train = documents_in(scratch / "a/train"),
                                  val = documents_in(scratch / "a/val");
  CHECK(train.size() == 120);
  CHECK(val.size() == 40);
  CHECK(fs::exists(scratch / "a/train/00002.jsonl"));
  for (const auto& [folder, documents] : {std::pair{"a/train/", &train}, {"a/val/", &val}})
    for (const std::string& image : images_of(*documents))
      CHECK(fs::exists(scratch / (folder + image)));
  for (const std::string& image : images_of(val))
    CHECK(!fs::exists(scratch / ("a/train/" + image)));
  const auto tokenizer = models::BpeTokenizer::load(scratch / "a/tokenizer.json");
  CHECK(tokenizer.vocab_size() <= 400);
  for (const char* special : {"<|user|>", "<|assistant|>", "<|end|>", "<|image|>"})
    CHECK(tokenizer.is_special(tokenizer.special(special)));

  REQUIRE(make("b", "3").code == 0);
  for (const char* file :
       {"train/00000.jsonl", "train/00002.jsonl", "val/00000.jsonl", "tokenizer.json"})
    CHECK(io::read_file(scratch / ("a/" + std::string(file))) ==
          io::read_file(scratch / ("b/" + std::string(file))));
  // Shards of an earlier run do not stay beside new ones.
  REQUIRE(make("b", "1").code == 0);
  CHECK(documents_in(scratch / "b/train").size() == 120);
}

TEST_CASE("chat_data: what it refuses") {
  tests::Scratch scratch;
  auto refused = [&](std::vector<std::string> arguments, const std::string& part) {
    const tests::Ended ended = tests::run_program(scratch, "chat_data", std::move(arguments));
    CHECK(ended.code == 1);
    CHECK(contains(ended.err, part));
  };
  refused({"--outt", "x"}, "unknown option \"--outt\" (did you mean \"--out\"?)");
  refused({}, "--out is required");
  refused({"--out", "x", "--shards", "0"}, "--shards");
  refused({"--out", scratch / "x", "--pictures", scratch / "none"},
          "train.jsonl is missing: make the pictures with emoji_data");
}
