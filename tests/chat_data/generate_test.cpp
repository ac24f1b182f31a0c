// Sets of conversations: determinism, the split, lengths, files.
#include "generate.h"

#include <algorithm>
#include <set>

#include "fusec/models/bpe_trainer.h"
#include "small_set.h"
#include "statistics.h"

using namespace fusec;
using namespace fusec::examples;
using tests::contains;
using tests::user_error;

namespace {

std::vector<io::Document> documents_of(const std::vector<Conversation>& conversations) {
  std::vector<io::Document> documents;
  for (const Conversation& conversation : conversations) documents.push_back(conversation.document);
  return documents;
}

int images_in(const io::Document& document) {
  int images = 0;
  for (const io::Message& message : document.messages)
    for (const io::Part& part : message.parts) images += part.type == io::Part::Type::image;
  return images;
}

std::set<std::string> ids_of(const std::vector<Picture>& pictures) {
  std::set<std::string> ids;
  for (const Picture& picture : pictures) ids.insert("images/" + picture.id + ".png");
  return ids;
}

}  // namespace

TEST_CASE("generate: the same seed gives the same conversations, another seed others") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const GenerateOptions options{.seed = 1, .train = 300, .validation = 60};
  const ChatData a = generate(pictures, options), b = generate(pictures, options);
  CHECK(documents_of(a.train) == documents_of(b.train));
  CHECK(documents_of(a.validation) == documents_of(b.validation));
  // More documents are those, and further ones.
  GenerateOptions more = options;
  more.train = 400;
  std::vector<io::Document> longer = documents_of(generate(pictures, more).train);
  REQUIRE(longer.size() == 400);
  longer.resize(300);
  CHECK(longer == documents_of(a.train));
  more.seed = 2;
  const std::vector<io::Document> other = documents_of(generate(pictures, more).train);
  int equal = 0;
  for (size_t i = 0; i < 300; ++i) equal += other[i].messages == a.train[i].document.messages;
  CHECK(equal < 15);  // small talk may coincide
}

TEST_CASE("generate: held-out pictures and their names are in validation alone") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const ChatData data = generate(pictures, {.seed = 5, .train = 2000, .validation = 400});
  const std::set<std::string> train = ids_of(pictures[0]);
  std::set<std::string> used;
  for (const Conversation& conversation : data.train) {
    CHECK(conversation.document.subset == "train");
    for (const io::Message& message : conversation.document.messages) {
      for (const io::Part& part : message.parts) {
        if (part.type == io::Part::Type::image) {
          REQUIRE(train.count(part.value) == 1);
          used.insert(part.value);
          continue;
        }
        for (const size_t held_out : {1, 2})
          for (const Picture& picture : pictures[held_out]) {
            REQUIRE(part.value.find(picture.name) == std::string::npos);
            REQUIRE(part.value.find(picture.emoji) == std::string::npos);
          }
      }
    }
  }
  CHECK(used == train);  // and all of training is used
  std::array<std::set<std::string>, 3> shown;
  for (const Conversation& conversation : data.validation) {
    const size_t set = conversation.document.subset == "val_tones" ? 1 : 2;
    CHECK(conversation.document.subset == name_of(kChatSubsets[set]));
    CHECK(images_in(conversation.document) >= 1);
    for (const io::Message& message : conversation.document.messages)
      for (const io::Part& part : message.parts)
        if (part.type == io::Part::Type::image) shown[set].insert(part.value);
  }
  CHECK(shown[1] == ids_of(pictures[1]));
  CHECK(shown[2] == ids_of(pictures[2]));
}

TEST_CASE("generate: lengths are skewed as in real chat") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const ChatData data = generate(pictures, {.seed = 7, .train = 4000, .validation = 1});
  std::vector<size_t> turns;
  std::array<int, kMostImages + 1> by_images = {};
  double total = 0;
  for (const Conversation& conversation : data.train) {
    turns.push_back(conversation.turns.size());
    total += static_cast<double>(turns.back());
    ++by_images.at(static_cast<size_t>(images_in(conversation.document)));
    // No picture twice in one conversation.
    std::set<size_t> once;
    for (const Turn& turn : conversation.turns)
      for (const size_t picture : turn.shown) CHECK(once.insert(picture).second);
  }
  std::sort(turns.begin(), turns.end());
  const double mean = total / 4000;
  CHECK(mean > 1.7);
  CHECK(mean < 2.6);
  CHECK(turns[2000] < mean);                            // most are short
  CHECK(static_cast<double>(turns.back()) > 6 * mean);  // a few are long
  CHECK(static_cast<double>(turns[3960]) > 3 * mean);   // one of a hundred is
  CHECK(by_images[0] > 400);
  CHECK(by_images[1] > 1600);
  CHECK(by_images[kMostImages] > 0);
  int many = 0;
  for (size_t n = 4; n <= kMostImages; ++n) many += by_images[n];
  CHECK(many > 80);
  CHECK(many < 400);
}

TEST_CASE("generate: documents read back from their files, and options are checked") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const ChatData data = generate(pictures, {.seed = 9, .train = 200, .validation = 40});
  const std::vector<io::Document> documents = documents_of(data.train);
  io::write_documents(scratch / "chat.jsonl", documents);
  CHECK(io::read_documents(scratch / "chat.jsonl") == documents);
  auto refused = [&](const GenerateOptions& options, const std::string& part) {
    CHECK(contains(user_error([&] { generate(pictures, options); }), part));
  };
  refused({.text_only = 1.5}, "a share of documents is 1.5");
  refused({.text_only = 0.6, .several = 0.6}, "add up to 1.2");
  refused({.train = -1}, "negative number");
  CHECK(generate(pictures, {.train = 0, .validation = 0}).train.empty());
}

TEST_CASE("statistics: the table says what the documents hold") {
  tests::Scratch scratch;
  const PictureSets pictures = tests::small_set(scratch);
  const ChatData data = generate(pictures, {.seed = 11, .train = 300, .validation = 50});
  models::BpeTrainOptions options{.vocab_size = 320};
  options.specials = models::ChatTemplate::named("plain").specials();
  options.specials.emplace_back("<|image|>");
  models::BpeTrainer trainer(options);
  trainer.count(std::vector<std::string>{"What is this?"});
  const models::ChatRenderer renderer(models::ChatTemplate::named("plain"), trainer.train(),
                                      {.image_tokens = 5, .image = "<|image|>"});
  const Lengths lengths = measure(data.train, renderer);
  int64_t turns = 0, images = 0, tokens = 0;
  for (const Conversation& conversation : data.train) {
    turns += static_cast<int64_t>(conversation.turns.size());
    images += images_in(conversation.document);
    tokens += static_cast<int64_t>(renderer.render(conversation.document, "d").tokens.size());
  }
  CHECK(lengths.documents == 300);
  CHECK(lengths.turns == turns);
  CHECK(lengths.images == images);
  CHECK(lengths.tokens == tokens);
  CHECK(lengths.supervised > 0);
  CHECK(lengths.supervised < tokens - 5 * images);
  const std::string text = table({{"train", lengths}, {"val", measure(data.validation, renderer)}});
  for (const std::string& part :
       {std::to_string(tokens), std::to_string(images), std::string("val"),
        std::string("which_name"), std::string("longest")})
    CHECK(contains(text, part));
  // The bars count every document once.
  const std::string bars = text.substr(text.find("tokens a document"));
  int64_t counted = 0;
  for (size_t at = bars.find(".."); at != std::string::npos; at = bars.find("..", at + 1))
    counted += std::stoll(bars.substr(at + 8));
  CHECK(counted == 300);
}
