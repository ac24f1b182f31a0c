// Caption batches: which tokens are supervised, and where pictures go.
#include <doctest/doctest.h>

#include <cmath>

#include "small_model.h"

namespace fusec::models {
namespace {

TEST_CASE("targets are tokens shifted by one; slots and padding are not supervised") {
  VisionGptConfig config = small_config();
  WordTokenizer tokenizer = small_tokenizer();
  std::vector<int32_t> words = tokenizer.encode("red box");
  REQUIRE(words.size() == 2);
  CaptionBatch batch = pack({picture("red box", 8, 1)}, 2, config);

  std::vector<int32_t> tokens = {tokenizer.bos(),
                                 tokenizer.image(),
                                 tokenizer.image(),
                                 words[0],
                                 words[1],
                                 tokenizer.eos(),
                                 0,
                                 0,
                                 0,
                                 0};
  std::vector<int32_t> targets = {-1, -1, words[0], words[1], tokenizer.eos(), -1, -1, -1, -1, -1};
  tokens.resize(20, tokenizer.pad());  // the second row is empty
  targets.resize(20, -1);
  CHECK(batch.tokens == tokens);
  CHECK(batch.targets == targets);
  CHECK(batch.slots == std::vector<int32_t>{1, 2, -1, -1});
  CHECK(batch.supervised == 3);
  CHECK(batch.filled == 6);
}

TEST_CASE("pixels become planes in which white is 0") {
  data::CaptionedImage item{io::solid(8, 8, 255, 0, 51), "red box", "", ""};
  CaptionBatch batch = pack({item}, 1, small_config());
  CHECK(batch.images[0] == 0.0f);
  CHECK(batch.images[64] == 255 / 64.0f);
  CHECK(batch.images[128] == 204 / 64.0f);
}

TEST_CASE("pixels are scaled by the config's mean and deviation; the default rounds nothing") {
  VisionGptConfig config = small_config();
  data::CaptionedImage item = picture("red box", 8, 1);
  for (size_t i = 0; i < item.image.rgb.size(); ++i)
    item.image.rgb[i] = static_cast<uint8_t>(255 - 4 * i);  // every fourth byte, 255 among them
  auto value = [&](const CaptionBatch& batch, size_t i) {
    return batch.images[i % 3 * 64 + i / 3];  // planes of 8 x 8
  };
  CaptionBatch plain = pack({item}, 1, config);
  for (size_t i = 0; i < item.image.rgb.size(); ++i) {
    CHECK(value(plain, i) == (255.0f - item.image.rgb[i]) / 64.0f);
    CHECK_FALSE(std::signbit(value(plain, i)));
  }
  config.vision.pixel_mean = {0.5, 0.4, 0.25};
  config.vision.pixel_std = {0.5, 0.3, 2};
  CaptionBatch scaled = pack({item}, 1, config);
  for (size_t i = 0; i < item.image.rgb.size(); ++i) {
    const double v = item.image.rgb[i] / 255.0;
    const double expected = (v - config.vision.pixel_mean[i % 3]) / config.vision.pixel_std[i % 3];
    CHECK(value(scaled, i) == doctest::Approx(expected));
  }
}

TEST_CASE("what does not fit is refused") {
  VisionGptConfig config = small_config();
  // Row of 10: <bos>, two slots, six words, <eos> fit; a seventh word does not.
  CHECK_NOTHROW(pack({picture("red box red box red box", 8, 1)}, 1, config));
  CHECK_THROWS_WITH_AS(pack({picture("red box red box red box red", 8, 1)}, 1, config),
                       doctest::Contains("takes 11 tokens, the row holds 10"), Error);
  CHECK_THROWS_WITH_AS(pack({picture("red", 16, 1)}, 1, config),
                       doctest::Contains("expected 8 x 8"), Error);
  CHECK_THROWS_AS(pack({picture("red", 8, 1), picture("blue", 8, 2)}, 1, config), Error);
}

TEST_CASE("prompts hold the picture and no caption") {
  VisionGptConfig config = small_config();
  data::CaptionedImage item = picture("red box", 8, 3);
  CaptionBatch prompt = pack_prompts({&item.image}, 1, small_tokenizer(), config);
  CaptionBatch full = pack({item}, 1, config);
  CHECK(prompt.images == full.images);
  CHECK(prompt.slots == full.slots);
  CHECK(prompt.supervised == 0);
  CHECK(prompt.filled == 3);
  CHECK(prompt.tokens[3] == small_tokenizer().pad());
}

}  // namespace
}  // namespace fusec::models
