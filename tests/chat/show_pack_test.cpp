// The exact text of a shown pack.
#include "fusec/models/show_pack.h"

#include "fixtures.h"

using namespace fusec;
using namespace fusec::tests;
using models::ImageSpan;
using Type = io::Part::Type;

namespace {

struct Pack {
  Ids tokens, targets;
  std::vector<models::TokenRange> documents;
  std::vector<ImageSpan> images;

  void add(const models::Rendered& rendered) {
    const size_t at = tokens.size();
    for (ImageSpan image : rendered.images) {
      image.range.begin += static_cast<int64_t>(at);
      images.push_back(image);
    }
    tokens.insert(tokens.end(), rendered.tokens.begin(), rendered.tokens.end());
    targets.resize(tokens.size());
    models::next_token_targets(rendered.tokens, rendered.supervised,
                               std::span(targets).subspan(at));
    documents.push_back({static_cast<int64_t>(at), static_cast<int64_t>(rendered.tokens.size())});
  }
  void pad(size_t length) {
    tokens.resize(length, 0);
    targets.resize(length, -1);
  }
  models::ShownPack shown() const { return {tokens, targets, documents, images}; }
};

}  // namespace

TEST_CASE("show_pack: documents, masks, images and padding, with and without colours") {
  const models::ChatRenderer renderer =
      renderer_for("chatml", {.image_tokens = 4, .image = "<|image|>"});
  Pack pack;
  pack.add(renderer.render(
      document_of(
          {{"user", {{Type::image, "images/a.png"}, {Type::text, "What?\x1b[2J \xf0\x9f\x98\x80"}}},
           text_message("assistant", "A hat\nand more")}),
      "d"));
  pack.add(
      renderer.render(document_of({text_message("user", ""), text_message("assistant", "")}), "d"));
  const size_t filled = pack.tokens.size();
  pack.pad(filled + 9);
  const auto first = std::to_string(pack.documents[0].length);
  const auto asked = std::to_string(
      std::count_if(pack.targets.begin(), pack.targets.end(), [](int t) { return t >= 0; }));
  char share[16], padding[16];
  std::snprintf(share, sizeof share, "%.1f%%", 100.0 * std::stod(asked) / double(filled));
  std::snprintf(padding, sizeof padding, "%.1f%%", 900.0 / double(filled + 9));
  const std::string plain = models::show_pack(pack.shown(), renderer.tokenizer(), false);
  CHECK(plain == "pack of " + std::to_string(filled + 9) +
                     " tokens: 2 documents, 1 image (4 tokens), padding " + padding +
                     "; supervised " + asked + " tokens, " + share +
                     " of what is filled\n"
                     "legend: [[supervised]]  given  <|special|>  {image path, tokens}\n"
                     "document 0: " +
                     first + " tokens from 0, " + std::to_string(std::stoi(asked) - 1) +
                     " supervised\n"
                     "    <|im_start|>user⏎\n"
                     "    {images/a.png, 4}What?\\x1b[2J 😀<|im_end|>⏎\n"
                     "    <|im_start|>assistant⏎\n"
                     "    [[A hat⏎\n"
                     "    and more<|im_end|>]]⏎\n"
                     "document 1: " +
                     std::to_string(pack.documents[1].length) + " tokens from " + first +
                     ", 1 supervised\n"
                     "    <|im_start|>user⏎\n"
                     "    <|im_end|>⏎\n"
                     "    <|im_start|>assistant⏎\n"
                     "    [[<|im_end|>]]⏎\n"
                     "padding: 9 tokens\n");

  const std::string coloured = models::show_pack(pack.shown(), renderer.tokenizer(), true);
  CHECK(contains(coloured, "\033[34m{images/a.png, 4}\033[0m\033[2mWhat?\\x1b[2J 😀\033[0m"));
  CHECK(contains(coloured,
                 "    \033[32mA hat⏎\033[0m\n    \033[32mand more\033[0m\033[1;35m<|im_end|>"));
  CHECK(contains(coloured, "\033[2;35m<|im_start|>\033[0m"));
  // Without its colours it says the same.
  std::string bare = coloured;
  for (size_t at; (at = bare.find('\033')) != std::string::npos;)
    bare.erase(at, bare.find('m', at) + 1 - at);
  std::string unmarked = plain;
  for (const std::string mark : {"[[", "]]"})
    for (size_t at; (at = unmarked.find(mark)) != std::string::npos;) unmarked.erase(at, 2);
  CHECK(bare == unmarked);
}

TEST_CASE("show_pack: gaps before and between documents are padding") {
  const models::BpeTokenizer tokenizer = tokenizer_for("chatml");
  const Ids tokens(10, tokenizer.encode("a")[0]), targets(10, -1);
  const std::vector<models::TokenRange> documents = {{2, 1}, {5, 2}};
  const std::vector<ImageSpan> images = {{{3, 1}, "lost.png"}, {{6, 1}, "b.png"}};
  const std::string text =
      models::show_pack({tokens, targets, documents, images}, tokenizer, false);
  CHECK(contains(text, "2 documents, 2 images (2 tokens), padding 70.0%"));
  CHECK(
      contains(text,
               "document 0: 1 token from 2, 0 supervised\n    a\n"
               "document 1: 2 tokens from 5, 0 supervised\n    a{b.png, 1}\npadding: 7 tokens\n"));
}

TEST_CASE("show_pack: nothing, and spans that contradict each other") {
  const models::BpeTokenizer tokenizer = tokenizer_for("chatml");
  CHECK(contains(models::show_pack({}, tokenizer, false),
                 "pack of 0 tokens: 0 documents, 0 images (0 tokens), padding 0.0%; supervised 0 "
                 "tokens, 0.0%"));
  const Ids tokens = {1, 2, 3}, targets = {-1, -1, -1}, few = {-1};
  const std::vector<models::TokenRange> all = {{0, 3}}, bad = {{0, 2}, {1, 1}}, over_end = {{1, 3}};
  auto refused = [&](const models::ShownPack& pack, const std::string& part) {
    CHECK(contains(user_error([&] { models::show_pack(pack, tokenizer, false); }), part));
  };
  refused({tokens, few, all, {}}, "3 tokens but 1 targets");
  refused({tokens, targets, bad, {}}, "1 tokens lies at 1, behind one that ends at 2");
  refused({tokens, targets, over_end, {}}, "3 tokens lies at 1");
  const std::vector<ImageSpan> over = {{{2, 2}, "a"}}, twice = {{{0, 2}, "a"}, {{1, 1}, "b"}};
  refused({tokens, targets, all, over}, "image a lies at 2");
  refused({tokens, targets, all, twice}, "image b lies at 1");
}
