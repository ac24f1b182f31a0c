// Images as squares and as planes of numbers; the resize beside one that has no shortcut.
#include "fusec/io/pixels.h"

#include "fusec/base/philox.h"
#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::user_error;

namespace {

io::Image noise(int width, int height, uint64_t seed) {
  io::Image image = io::solid(width, height, 0, 0, 0);
  for (size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<uint8_t>(philox(seed, i)[0]);
  return image;
}

// The definition, in integers: the mean over the covered rectangle, halves upwards.
io::Image resize_by_definition(const io::Image& image, int width, int height) {
  io::Image result = io::solid(width, height, 0, 0, 0);
  auto overlap = [](int64_t t, int64_t target, int64_t s, int64_t source) {
    return std::max<int64_t>(
        0, std::min((t + 1) * source, (s + 1) * target) - std::max(t * source, s * target));
  };
  const int64_t total = int64_t{image.width} * image.height;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      int64_t sums[3] = {};
      for (int v = 0; v < image.height; ++v) {
        for (int u = 0; u < image.width; ++u) {
          const int64_t w = overlap(x, width, u, image.width) * overlap(y, height, v, image.height);
          for (int c = 0; c < 3; ++c)
            sums[c] += w * image.rgb[static_cast<size_t>(3 * (v * image.width + u) + c)];
        }
      }
      for (int c = 0; c < 3; ++c)
        result.rgb[static_cast<size_t>(3 * (y * width + x) + c)] =
            static_cast<uint8_t>((2 * sums[c] + total) / (2 * total));
    }
  }
  return result;
}

}  // namespace

TEST_CASE("resize: the bytes of its definition, for any ratio") {
  uint64_t seed = 0;
  for (auto [w, h, width, height] :
       {std::array{1, 1, 5, 3}, std::array{7, 5, 3, 2}, std::array{16, 16, 4, 4},
        std::array{13, 31, 13, 8}, std::array{30, 20, 29, 19}, std::array{9, 9, 20, 17},
        std::array{40, 3, 7, 11}, std::array{24, 18, 22, 17}, std::array{2, 2, 1, 1}}) {
    const io::Image image = noise(w, h, ++seed);
    CHECK(io::resize(image, width, height) == resize_by_definition(image, width, height));
  }
  // Means that end in exactly one half, at the edge of the division.
  io::Image pair = io::solid(2, 1, 0, 0, 0);
  for (int a = 0; a < 256; ++a) {
    for (int b : {a, 255 - a, (a + 1) % 256}) {
      pair.rgb = {uint8_t(a), uint8_t(b), 0, uint8_t(b), uint8_t(b), 255};
      const io::Image mean = io::resize(pair, 1, 1);
      CHECK(mean.rgb == std::vector<uint8_t>{uint8_t((a + b + 1) / 2), uint8_t(b), 128});
    }
  }
  // As large as sums get: every value stays what it was.
  CHECK(io::resize(io::solid(16384, 8192, 255, 0, 127), 3, 5) == io::solid(3, 5, 255, 0, 127));
}

TEST_CASE("squares: padded, cropped or stretched") {
  io::Image wide = io::solid(40, 20, 10, 20, 30);
  for (int y = 0; y < 20; ++y) wide.rgb[static_cast<size_t>(3 * 40 * y)] = 250;
  const io::Image padded = io::square(wide, io::ImageFit::pad, 8);
  CHECK(padded == io::resize(io::pad_to_square(wide), 8, 8));
  CHECK(padded.rgb[0] == 255);
  CHECK(io::square(wide, io::ImageFit::crop, 10) == io::solid(10, 10, 10, 20, 30));
  const io::Image stretched = io::square(wide, io::ImageFit::stretch, 20);
  CHECK(stretched.rgb[0] == 130);
  CHECK(stretched.rgb[3] == 10);
  io::Image tall = io::solid(20, 40, 10, 20, 30);
  for (size_t x = 0; x < 20; ++x) tall.rgb[3 * x] = 250;
  CHECK(io::square(tall, io::ImageFit::crop, 20) == io::solid(20, 20, 10, 20, 30));
  for (io::ImageFit fit : {io::ImageFit::pad, io::ImageFit::crop, io::ImageFit::stretch})
    CHECK(io::parse_image_fit(io::name_of(fit)) == fit);
  CHECK(contains(user_error([] { io::parse_image_fit("corp"); }), "did you mean \"crop\""));
  CHECK(io::decode_options(io::ImageFit::pad, 9).longer == 9);
  CHECK(io::decode_options(io::ImageFit::crop, 9).shorter == 9);
}

TEST_CASE("pixels: planes of scaled values") {
  io::Image image = noise(5, 3, 4);
  for (int i = 0; i < 256 && i < 45; ++i) image.rgb[static_cast<size_t>(i)] = uint8_t(i * 37);
  std::vector<float> planes(45);
  io::PixelTable(io::PixelScale::white_is_zero()).write_planes(image, planes.data());
  for (size_t i = 0; i < 15; ++i)
    for (size_t c = 0; c < 3; ++c)
      CHECK(planes[15 * c + i] == (255.0f - image.rgb[3 * i + c]) / 64.0f);
  const io::PixelScale clip{{0.5, 0.25, 0}, {0.5, 2, 1}};
  io::PixelTable(clip).write_planes(io::solid(1, 1, 255, 255, 51), planes.data());
  CHECK(planes[0] == 1);
  CHECK(planes[1] == 0.375f);
  CHECK(planes[2] == static_cast<float>(0.2));
  CHECK(contains(user_error([] { io::PixelTable({{0, 0, 0}, {1, 0, 1}}); }), "channel 1"));
}

TEST_CASE("pixels: every byte is white-is-0 exactly") {
  io::Image image = io::solid(256, 1, 0, 0, 0);
  for (size_t i = 0; i < 256; ++i) image.rgb[3 * i] = static_cast<uint8_t>(i);
  std::vector<float> planes(3 * 256);
  io::PixelTable(io::PixelScale::white_is_zero()).write_planes(image, planes.data());
  for (int i = 0; i < 256; ++i)
    CHECK(planes[static_cast<size_t>(i)] == (255.0f - static_cast<float>(i)) / 64.0f);
}
