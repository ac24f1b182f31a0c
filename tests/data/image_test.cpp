// PNG files: what is written is read back, what is damaged is refused by name.
#include "fusec/io/image.h"

#include <png.h>

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

// Writes `pixels` in any of libpng's simplified formats.
void write_as(const std::string& path, int format, int width, int height, const void* pixels) {
  png_image png{};
  png.version = PNG_IMAGE_VERSION;
  png.width = static_cast<png_uint_32>(width);
  png.height = static_cast<png_uint_32>(height);
  png.format = static_cast<png_uint_32>(format);
  REQUIRE(png_image_write_to_file(&png, path.c_str(), 0, pixels, 0, nullptr));
}

}  // namespace

TEST_CASE("png: pixels come back as they were") {
  tests::Scratch scratch;
  for (auto [width, height] : {std::pair{1, 1}, {3, 2}, {1, 17}, {136, 128}}) {
    io::Image image = noise(width, height, 7);
    io::write_png(scratch / "a.png", image);
    CHECK(io::read_png(scratch / "a.png") == image);
  }
}

TEST_CASE("png: transparent pixels are laid on white, grey becomes RGB") {
  tests::Scratch scratch;
  const uint8_t rgba[] = {10, 20, 30, 255, 10, 20, 30, 0};
  write_as(scratch / "alpha.png", PNG_FORMAT_RGBA, 2, 1, rgba);
  CHECK(io::read_png(scratch / "alpha.png").rgb ==
        std::vector<uint8_t>{10, 20, 30, 255, 255, 255});
  const uint8_t grey[] = {0, 77, 255};
  write_as(scratch / "grey.png", PNG_FORMAT_GRAY, 3, 1, grey);
  CHECK(io::read_png(scratch / "grey.png").rgb ==
        std::vector<uint8_t>{0, 0, 0, 77, 77, 77, 255, 255, 255});
}

TEST_CASE("png: bad files are user errors with path and reason") {
  tests::Scratch scratch;
  auto refused = [&](const std::string& path, const std::string& reason) {
    const std::string message = user_error([&] { io::read_png(path); });
    CHECK(contains(message, path));
    CHECK(contains(message, reason));
  };
  refused(scratch / "absent.png", "No such file");
  refused(scratch / ".", "is a folder");
  refused(scratch.file("empty.png", ""), "is empty");
  refused(scratch.file("text.png", "this is no picture"), "not a PNG image but an unknown format");
  refused(scratch.file("photo.png", "\xff\xd8\xff\xe0 and so on"), "but a JPEG image");

  io::write_png(scratch / "good.png", noise(40, 40, 1));
  const std::string good = io::read_file(scratch / "good.png");
  refused(scratch.file("cut.png", good.substr(0, good.size() / 2)), "damaged PNG");
  std::string flipped = good;
  flipped[good.size() / 2] = static_cast<char>(flipped[good.size() / 2] ^ 0x10);
  refused(scratch.file("flipped.png", flipped), "damaged PNG");
  // Sound, but over the limit of a side.
  const std::vector<uint8_t> row(3 * 20000);
  write_as(scratch / "wide.png", PNG_FORMAT_RGB, 20000, 1, row.data());
  refused(scratch / "wide.png", "20000 x 1");
}

TEST_CASE("png: no prefix of a file crashes the reader") {
  tests::Scratch scratch;
  io::write_png(scratch / "good.png", noise(9, 9, 2));
  const std::string good = io::read_file(scratch / "good.png");
  // The last 12 bytes are the IEND chunk, which libpng can do without.
  for (size_t length = 1; length + 12 < good.size(); length += 5) {
    const std::string path = scratch.file("cut.png", good.substr(0, length));
    CHECK(contains(user_error([&] { io::read_png(path); }), "PNG"));
  }
}

TEST_CASE("png: a size that the file cannot hold is refused before pixels are allocated") {
  tests::Scratch scratch;
  io::write_png(scratch / "good.png", noise(9, 9, 2));
  std::string bytes = io::read_file(scratch / "good.png");
  // IHDR with 8192 x 8192 pixels, and its checksum (over type and data, as PNG's appendix has it).
  bytes.replace(16, 8, std::string("\x00\x00\x20\x00\x00\x00\x20\x00", 8));
  uint32_t crc = 0xffffffffu;
  for (size_t i = 12; i < 29; ++i) {
    crc ^= static_cast<unsigned char>(bytes[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  for (int i = 0; i < 4; ++i) bytes[29 + i] = static_cast<char>(~crc >> (24 - 8 * i));
  CHECK(contains(user_error([&] { io::decode_png(bytes, "big.png"); }),
                 "big.png: claims 8192 x 8192 pixels, which "));
}

TEST_CASE("images of either kind are told apart by their bytes, and held to the caller's limit") {
  tests::Scratch scratch;
  const io::Image image = noise(9, 9, 2);
  io::write_png(scratch / "a.jpg", image);  // whatever its name
  CHECK(io::read_image(scratch / "a.jpg") == image);
  CHECK(io::read_image(scratch / "a.jpg", {.longer = 2, .max_pixels = 81}) == image);
  CHECK(contains(user_error([&] { io::read_image(scratch / "a.jpg", {.max_pixels = 80}); }),
                 "9 x 9; expected sides of 1 to 16384 and at most 80 pixels"));
}

TEST_CASE("png: a large picture of one colour is far smaller than its pixels, and is read") {
  tests::Scratch scratch;
  const io::Image white = io::solid(2048, 2048, 255, 255, 255);
  io::write_png(scratch / "white.png", white);
  CHECK(std::filesystem::file_size(scratch / "white.png") < white.rgb.size() / 500);
  CHECK(io::read_png(scratch / "white.png") == white);
  const std::vector<uint8_t> grey(4096 * 4096, 255);
  write_as(scratch / "grey.png", PNG_FORMAT_GRAY, 4096, 4096, grey.data());
  CHECK(io::read_png(scratch / "grey.png").width == 4096);
}

TEST_CASE("png: any change of any byte is read or refused, and nothing else") {
  tests::Scratch scratch;
  io::write_png(scratch / "good.png", noise(5, 4, 2));
  const std::string good = io::read_file(scratch / "good.png");
  tests::for_each_mutation(good, [](const std::string& bytes) { io::decode_png(bytes, "a.png"); });
}

TEST_CASE("png: what cannot be written is refused, and leaves nothing behind") {
  tests::Scratch scratch;
  io::Image image = noise(2, 2, 3);
  CHECK(contains(user_error([&] { io::write_png(scratch / "no/such/a.png", image); }), "folder"));
  image.rgb.pop_back();
  CHECK(contains(user_error([&] { io::write_png(scratch / "a.png", image); }), "expected 12"));
  CHECK(contains(user_error([&] { io::write_png(scratch / "a.png", {}); }), "0 x 0"));
  CHECK(std::filesystem::is_empty(scratch / "."));
}

TEST_CASE("resize: the mean of what each pixel covers") {
  io::Image image{4, 2, {0,  0, 0, 10, 0, 0, 20, 0, 0, 31, 0, 0,
                         20, 0, 0, 30, 0, 0, 40, 0, 0, 50, 0, 0}};
  // (0 + 10 + 20 + 30) / 4 = 15 and (20 + 31 + 40 + 50) / 4 = 35.25
  CHECK(io::resize(image, 2, 1).rgb == std::vector<uint8_t>{15, 0, 0, 35, 0, 0});
  // 3 columns out of 4: each is 4/3 wide: (0 + 10/3) / (4/3) = 2.5 rounds to 3 in the first row.
  CHECK(io::resize(image, 3, 2).rgb[0] == 3);
  // Twice as large repeats pixels.
  io::Image large = io::resize(image, 8, 4);
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 8; ++x)
      CHECK(large.rgb[3 * (8 * y + x)] == image.rgb[3 * (4 * (y / 2) + x / 2)]);
  CHECK(io::resize(image, 4, 2) == image);
  CHECK(io::resize(io::solid(137, 91, 200, 3, 255), 32, 48) == io::solid(32, 48, 200, 3, 255));
  CHECK(contains(user_error([&] { io::resize(image, 0, 4); }), "0 x 4"));
}

TEST_CASE("pad_to_square: white around the middle") {
  io::Image padded = io::pad_to_square(io::solid(1, 3, 9, 9, 9));
  CHECK(padded.width == 3);
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x) CHECK(padded.rgb[3 * (3 * y + x)] == (x == 1 ? 9 : 255));
}
