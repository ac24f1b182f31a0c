// PNG bytes <-> 8-bit RGB pixels, and the exact area-average resize. libpng's simplified interface
// does the decoding; sizes are checked from the header, before anything is allocated for pixels.
#include "fusec/io/image.h"

#include <png.h>

#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/io/file.h"

namespace fusec::io {
namespace {

constexpr uint64_t kMaxPngBytes = uint64_t{1} << 30;
constexpr int64_t kMaxPixels = int64_t{1} << 27;  // 384 MiB of RGB

std::string size_text(int64_t width, int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

bool size_is_legal(int64_t width, int64_t height) {
  return width >= 1 && height >= 1 && width <= kMaxImageSide && height <= kMaxImageSide &&
         width * height <= kMaxPixels;
}

std::string limits_text() {
  return "expected sides of 1 to " + std::to_string(kMaxImageSide) + " and at most " +
         std::to_string(kMaxPixels) + " pixels";
}

void check_image(const Image& image, const std::string& what) {
  if (!size_is_legal(image.width, image.height))
    fail_user(what + ": image of " + size_text(image.width, image.height) + "; " + limits_text());
  const size_t expected = size_t{3} * image.width * image.height;
  if (image.rgb.size() != expected) {
    fail_user(what + ": image of " + size_text(image.width, image.height) + " holds " +
              std::to_string(image.rgb.size()) + " bytes; expected " + std::to_string(expected));
  }
}

// Frees what libpng holds for one image, on every way out.
class PngHandle {
 public:
  PngHandle() { image_.version = PNG_IMAGE_VERSION; }
  ~PngHandle() { png_image_free(&image_); }
  PngHandle(const PngHandle&) = delete;
  PngHandle& operator=(const PngHandle&) = delete;
  png_image* get() { return &image_; }
  png_image* operator->() { return &image_; }

 private:
  png_image image_{};
};

constexpr std::string_view kSignature("\x89PNG\r\n\x1a\n", 8);

// libpng's own message for a foreign file is as long as it is short of help.
void check_signature(std::string_view bytes, const std::string& path) {
  if (bytes.substr(0, kSignature.size()) == kSignature) return;
  const char* kind = "an unknown format";
  if (bytes.substr(0, 3) == "\xff\xd8\xff") kind = "a JPEG image";
  if (bytes.substr(0, 4) == "GIF8") kind = "a GIF image";
  if (bytes.substr(0, 4) == "RIFF") kind = "a WebP image";
  if (bytes.size() < kSignature.size()) kind = "too short for any image";
  fail_user(path + ": not a PNG image but " + kind +
            "; convert it to PNG, or remove its line from the data");
}

// Deflate shrinks by less than 1032 to 1, so a small file cannot hold a large picture: one that
// claims to is refused before memory is set aside for its pixels.
void check_plausible(std::string_view bytes, uint64_t width, uint64_t height,
                     const std::string& path) {
  // IHDR is the first chunk: signature 8, length and type 8, width and height 8. libpng has read
  // it.
  const uint64_t depth = static_cast<unsigned char>(bytes[24]);
  const unsigned colour = static_cast<unsigned char>(bytes[25]);
  const uint64_t channels = colour == 2 ? 3 : colour == 4 ? 2 : colour == 6 ? 4 : 1;
  const uint64_t packed = (width * channels * depth + 7) / 8 * height;
  if (packed / 1032 <= bytes.size()) return;
  fail_user(path + ": claims " + size_text(width, height) + " pixels, which " +
            std::to_string(bytes.size()) +
            " bytes cannot hold: damaged PNG image; write or copy it again");
}

// How much of a source pixel lies under each target pixel along one axis, in units of
// 1 / target pixels: the weights of one target pixel sum to `source`.
struct Span {
  int first = 0;
  std::vector<uint32_t> weights;
};

std::vector<Span> area_spans(int source, int target) {
  std::vector<Span> spans(target);
  for (int64_t t = 0; t < target; ++t) {
    const int64_t begin = t * source, end = begin + source;
    spans[t].first = static_cast<int>(begin / target);
    for (int64_t s = begin / target; s * target < end; ++s) {
      spans[t].weights.push_back(static_cast<uint32_t>(std::min(end, (s + 1) * target) -
                                                       std::max(begin, s * target)));
    }
  }
  return spans;
}

}  // namespace

Image solid(int width, int height, uint8_t r, uint8_t g, uint8_t b) {
  if (!size_is_legal(width, height))
    fail_user("image of " + size_text(width, height) + "; " + limits_text());
  Image image{width, height, std::vector<uint8_t>(size_t{3} * width * height)};
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    image.rgb[i] = r;
    image.rgb[i + 1] = g;
    image.rgb[i + 2] = b;
  }
  return image;
}

Image decode_png(std::string_view bytes, const std::string& path) {
  if (bytes.empty()) fail_user(path + ": is empty; expected a PNG image");
  check_signature(bytes, path);
  PngHandle png;
  if (!png_image_begin_read_from_memory(png.get(), bytes.data(), bytes.size())) {
    fail_user(path + ": not a readable PNG image: " + png->message +
              "; write or copy it again, or remove its line from the data");
  }
  if (!size_is_legal(png->width, png->height))
    fail_user(path + ": image of " + size_text(png->width, png->height) + "; " + limits_text());
  check_plausible(bytes, png->width, png->height, path);
  png->format = PNG_FORMAT_RGB;
  Image image{static_cast<int>(png->width), static_cast<int>(png->height),
              std::vector<uint8_t>(PNG_IMAGE_SIZE(*png.get()))};
  png_color white = {255, 255, 255};
  if (!png_image_finish_read(png.get(), &white, image.rgb.data(), 0, nullptr))
    fail_user(path + ": damaged PNG image: " + png->message +
              "; write or copy it again, or remove its line from the data");
  return image;
}

Image read_png(const std::string& path) { return decode_png(read_file(path, kMaxPngBytes), path); }

void write_png(const std::string& path, const Image& image) {
  check_image(image, path);
  PngHandle png;
  png->width = static_cast<png_uint_32>(image.width);
  png->height = static_cast<png_uint_32>(image.height);
  png->format = PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(*png.get());
  std::string bytes(size, '\0');
  if (!png_image_write_to_memory(png.get(), bytes.data(), &size, 0, image.rgb.data(), 0, nullptr))
    fail_internal(path + ": libpng cannot encode this image: " + png->message);
  write_file(path, std::string_view(bytes).substr(0, size));
}

Image resize(const Image& image, int width, int height) {
  check_image(image, "resize");
  if (!size_is_legal(width, height))
    fail_user("resize to " + size_text(width, height) + "; " + limits_text());
  if (width == image.width && height == image.height) return image;
  const std::vector<Span> columns = area_spans(image.width, width);
  const std::vector<Span> rows = area_spans(image.height, height);
  const uint64_t total = uint64_t(image.width) * image.height;

  Image result{width, height, std::vector<uint8_t>(size_t{3} * width * height)};
  std::vector<uint64_t> sums(size_t{3} * width);
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), 0);
    for (size_t j = 0; j < rows[y].weights.size(); ++j) {
      const uint8_t* source = &image.rgb[size_t{3} * image.width * (rows[y].first + j)];
      for (int x = 0; x < width; ++x) {
        const uint8_t* pixel = source + size_t{3} * columns[x].first;
        uint64_t r = 0, g = 0, b = 0;
        for (uint64_t weight : columns[x].weights) {
          r += weight * pixel[0];
          g += weight * pixel[1];
          b += weight * pixel[2];
          pixel += 3;
        }
        sums[3 * x] += r * rows[y].weights[j];
        sums[3 * x + 1] += g * rows[y].weights[j];
        sums[3 * x + 2] += b * rows[y].weights[j];
      }
    }
    uint8_t* target = &result.rgb[size_t{3} * width * y];
    for (size_t i = 0; i < sums.size(); ++i)
      target[i] = static_cast<uint8_t>((2 * sums[i] + total) / (2 * total));
  }
  return result;
}

Image pad_to_square(const Image& image) {
  check_image(image, "pad_to_square");
  const int side = std::max(image.width, image.height);
  if (image.width == image.height) return image;
  Image result = solid(side, side, 255, 255, 255);
  const int left = (side - image.width) / 2, top = (side - image.height) / 2;
  const size_t row_bytes = size_t{3} * image.width;
  for (int y = 0; y < image.height; ++y) {
    std::copy_n(&image.rgb[row_bytes * y], row_bytes,
                &result.rgb[(size_t{3} * side) * (top + y) + size_t{3} * left]);
  }
  return result;
}

}  // namespace fusec::io
