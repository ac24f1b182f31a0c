// JPEG files: pixels near those that were written, at every scale and orientation; what is damaged,
// too large or of another kind is refused by name.
#include "jpeg_file.h"

#include <algorithm>
#include <cmath>

#include "fusec/io/image.h"
#include "fusec/io/pixels.h"
#include "scratch.h"

using namespace fusec;
using tests::contains;
using tests::exif_block;
using tests::jpeg_bytes;
using tests::JpegForm;
using tests::picture;
using tests::user_error;

namespace {

// Root of the mean square difference, in steps of 1 / 255.
double distance(const io::Image& a, const io::Image& b) {
  REQUIRE(a.width == b.width);
  REQUIRE(a.height == b.height);
  double sum = 0;
  for (size_t i = 0; i < a.rgb.size(); ++i) {
    const double d = double{1} * a.rgb[i] - b.rgb[i];
    sum += d * d;
  }
  return std::sqrt(sum / static_cast<double>(a.rgb.size()));
}

std::array<int, 3> pixel(const io::Image& image, int x, int y) {
  const uint8_t* p = &image.rgb[size_t{3} * static_cast<size_t>(y * image.width + x)];
  return {p[0], p[1], p[2]};
}

}  // namespace

TEST_CASE("jpeg: pixels come back nearly as they were, in every form of the file") {
  const io::Image image = picture(61, 47);
  for (bool subsampled : {false, true}) {
    for (bool progressive : {false, true}) {
      for (int restart : {0, 2}) {
        const JpegForm form{.quality = 95,
                            .subsampled = subsampled,
                            .progressive = progressive,
                            .restart = restart};
        // Halved chroma blurs the disc's edge.
        CHECK(distance(io::decode_jpeg(jpeg_bytes(image, form), "a.jpg"), image) <
              (subsampled ? 9 : 3));
      }
    }
  }
  CHECK(io::decode_image(jpeg_bytes(image), "a.jpg") == io::decode_jpeg(jpeg_bytes(image), "a"));
}

TEST_CASE("jpeg: grey becomes RGB") {
  const std::vector<uint8_t> grey(16 * 16, 77);
  const std::string bytes = jpeg_bytes(16, 16, grey.data(), {.stored = JCS_GRAYSCALE});
  CHECK(distance(io::decode_jpeg(bytes, "g.jpg"), io::solid(16, 16, 77, 77, 77)) < 1.5);
}

TEST_CASE("jpeg: inks become light, 255 being no ink as Adobe writes them") {
  std::vector<uint8_t> inks;
  for (int i = 0; i < 16 * 16; ++i) inks.insert(inks.end(), {255, 128, 0, 200});
  const io::Image expected = io::solid(16, 16, 200, 100, 0);
  for (J_COLOR_SPACE stored : {JCS_CMYK, JCS_YCCK}) {
    const std::string bytes = jpeg_bytes(16, 16, inks.data(), {.quality = 98, .stored = stored});
    CHECK(distance(io::decode_jpeg(bytes, "inks.jpg"), expected) < 3);
  }
  // Without Adobe's marker 0 is no ink.
  std::string bytes = jpeg_bytes(16, 16, inks.data(), {.quality = 98, .stored = JCS_CMYK});
  const size_t marker = bytes.find("\xff\xee");
  REQUIRE(marker != std::string::npos);
  bytes.erase(marker, 16);
  CHECK(distance(io::decode_jpeg(bytes, "inks.jpg"), io::solid(16, 16, 0, 27, 55)) < 3);
}

TEST_CASE("jpeg: decoded no smaller than asked for, and near the mean of the whole") {
  const io::Image image = picture(640, 480);
  const std::string bytes = jpeg_bytes(image, {.quality = 95, .subsampled = false});
  auto size = [&](const io::DecodeOptions& options) {
    const io::Image small = io::decode_jpeg(bytes, "a.jpg", options);
    return std::pair{small.width, small.height};
  };
  CHECK(size({}) == std::pair{640, 480});
  CHECK(size({.longer = 224}) == std::pair{320, 240});
  CHECK(size({.shorter = 224}) == std::pair{320, 240});
  CHECK(size({.shorter = 120, .longer = 160}) == std::pair{160, 120});
  CHECK(size({.shorter = 121, .longer = 1}) == std::pair{320, 240});
  CHECK(size({.shorter = 241}) == std::pair{640, 480});
  CHECK(size({.longer = 1}) == std::pair{80, 60});
  CHECK(size({.longer = 5000}) == std::pair{640, 480});
  for (int side : {32, 80, 160, 224, 300}) {
    CAPTURE(side);
    const io::Image small =
        io::decode_jpeg(bytes, "a.jpg", io::decode_options(io::ImageFit::stretch, side));
    CHECK(distance(io::resize(small, side, side), io::resize(image, side, side)) < 6);
  }
}

TEST_CASE("jpeg: turned as the Exif orientation says") {
  // Stored 32 x 16: red left, blue right, and green in the stored top left corner.
  io::Image stored = io::solid(32, 16, 200, 20, 20);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) {
      uint8_t* p = &stored.rgb[size_t{3} * static_cast<size_t>(32 * y + x)];
      if (x >= 16) p[0] = 20, p[2] = 200;
      if (x < 8 && y < 8) p[0] = 20, p[1] = 200;
    }
  }
  // Where the first stored row and column are seen (Exif 2.32, table 6), hence the corner.
  struct Seen {
    int orientation;
    bool turned, right, bottom;  // of the green corner
  };
  for (auto [orientation, turned, right, bottom] :
       {Seen{1, false, false, false}, Seen{2, false, true, false}, Seen{3, false, true, true},
        Seen{4, false, false, true}, Seen{5, true, false, false}, Seen{6, true, true, false},
        Seen{7, true, true, true}, Seen{8, true, false, true}}) {
    CAPTURE(orientation);
    for (bool little : {false, true}) {
      const std::string bytes = jpeg_bytes(
          stored, {.quality = 98, .subsampled = false, .exif = exif_block(orientation, little)});
      const io::Image seen = io::decode_jpeg(bytes, "a.jpg");
      REQUIRE(seen.width == (turned ? 16 : 32));
      REQUIRE(seen.height == (turned ? 32 : 16));
      const int x = right ? seen.width - 4 : 3, y = bottom ? seen.height - 4 : 3;
      CHECK(pixel(seen, x, y)[1] > 150);
      // Red is along the first stored column: the side of the corner in the stored x direction.
      const int red_x = turned ? seen.width - 1 - x : x, red_y = turned ? y : seen.height - 1 - y;
      CHECK(pixel(seen, red_x, red_y)[0] > 150);
      CHECK(pixel(seen, seen.width - 1 - x, seen.height - 1 - y)[2] > 150);
    }
  }
  // An Exif block that says nothing sensible leaves the picture as it is.
  const io::Image plain = io::decode_jpeg(jpeg_bytes(stored), "a.jpg");
  const std::string good = exif_block(6);
  for (size_t length = 0; length < good.size() - 8; ++length)
    CHECK(io::decode_jpeg(jpeg_bytes(stored, {.exif = good.substr(0, length)}), "a.jpg") == plain);
  CHECK(io::decode_jpeg(jpeg_bytes(stored, {.exif = exif_block(9)}), "a.jpg") == plain);
  tests::for_each_mutation(good, [&](const std::string& exif) {
    if (!exif.empty()) io::decode_jpeg(jpeg_bytes(stored, {.exif = exif}), "a.jpg");
  });
}

TEST_CASE("jpeg: what is no sound JPEG is refused with its name") {
  tests::Scratch scratch;
  auto refused = [&](const std::string& bytes, const std::string& reason,
                     const io::DecodeOptions& options = {}) {
    const std::string message = user_error([&] { io::decode_image(bytes, "b.jpg", options); });
    CHECK(contains(message, "b.jpg"));
    CHECK(contains(message, reason));
  };
  refused("", "is empty");
  refused("GIF89a and so on", "neither a PNG nor a JPEG image but a GIF image");
  refused("abc", "too short for any image");
  refused("\xff\xd8\xff", "unreadable JPEG");
  CHECK(
      contains(user_error([] { io::decode_jpeg("GIF89a..", "x"); }), "not a JPEG image but a GIF"));
  CHECK(contains(user_error([&] { io::read_image(scratch / "absent.jpg"); }), "No such file"));

  const io::Image image = picture(64, 64);
  for (bool progressive : {false, true}) {
    const std::string good = jpeg_bytes(image, {.progressive = progressive});
    refused(good.substr(0, good.size() / 2), "unreadable JPEG");
    refused(good.substr(0, good.size() - 2), "Premature end");
    for (size_t length = 3; length + 2 < good.size(); length += 7) {
      CHECK(contains(user_error([&] { io::decode_jpeg(good.substr(0, length), "b.jpg"); }),
                     "b.jpg: "));
    }
  }
  refused(jpeg_bytes(image), "64 x 64; expected sides", {.max_pixels = 64 * 63});
  refused(jpeg_bytes(image, {.arithmetic = true}), "arithmetic coding");
}

TEST_CASE("jpeg: a size that the file cannot hold is refused before pixels are allocated") {
  std::string bytes = jpeg_bytes(picture(16, 16));
  const size_t frame = bytes.find("\xff\xc0");
  REQUIRE(frame != std::string::npos);
  auto claim = [&](const char* sides) {  // height, width
    bytes.replace(frame + 5, 4, std::string(sides, 4));
    return user_error([&] { io::decode_jpeg(bytes, "big.jpg"); });
  };
  CHECK(contains(claim("\x20\x00\x20\x00"), "big.jpg: claims 8192 x 8192 pixels, which "));
  CHECK(contains(claim("\xff\x00\xf0\x00"), "61440 x 65280; expected sides of 1 to "));
}

TEST_CASE("jpeg: slips that leave the pixels as they are, as some cameras make, are read") {
  const std::string good = jpeg_bytes(picture(32, 20));
  const io::Image image = io::decode_jpeg(good, "a.jpg");
  std::string spectral = good;  // a baseline scan that does not say that it ends at 63
  const size_t scan = good.find("\xff\xda");
  REQUIRE(spectral[scan + 12] == 63);
  spectral[scan + 12] = 0;
  CHECK(io::decode_jpeg(spectral, "a.jpg") == image);
  CHECK(io::decode_jpeg(good + "and more", "a.jpg") == image);
  std::string filled = good;
  filled.insert(scan, "stray");
  CHECK(io::decode_jpeg(filled, "a.jpg") == image);
}

TEST_CASE("jpeg: scans without end are refused") {
  const std::string slow = jpeg_bytes(picture(16, 16), {.progressive = true, .slow = true});
  CHECK(contains(user_error([&] { io::decode_jpeg(slow, "slow.jpg"); }), "more than 100 scans"));
  // The last scan once more.
  std::string twice = jpeg_bytes(picture(16, 16), {.progressive = true});
  twice.insert(twice.size() - 2, twice.substr(twice.rfind("\xff\xda"), twice.size() - 2));
  CHECK(contains(user_error([&] { io::decode_jpeg(twice, "twice.jpg"); }), "progression"));
}

TEST_CASE("jpeg: any change of any byte is read or refused, and nothing else") {
  for (bool progressive : {false, true}) {
    const std::string good =
        jpeg_bytes(picture(9, 10), {.progressive = progressive, .exif = exif_block(6)});
    tests::for_each_mutation(good, [](const std::string& b) { io::decode_jpeg(b, "a.jpg"); });
  }
}
