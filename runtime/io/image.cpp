// Image files of either kind, told apart by their first bytes, and what needs no library.
#include "fusec/io/image.h"

#include <algorithm>

#include "fusec/io/file.h"
#include "image_checks.h"
#include "image_kind.h"

namespace fusec::io {
namespace {

constexpr std::string_view kPng("\x89PNG\r\n\x1a\n", 8);
constexpr std::string_view kJpeg = "\xff\xd8\xff";

bool is_kind(ImageKind kind, std::string_view bytes) {
  return bytes.starts_with(kind == ImageKind::png ? kPng : kJpeg);
}

std::string found_kind(std::string_view bytes) {
  if (bytes.size() < kPng.size()) return "too short for any image";
  if (bytes.starts_with(kPng)) return "a PNG image";
  if (bytes.starts_with(kJpeg)) return "a JPEG image";
  if (bytes.starts_with("GIF8")) return "a GIF image";
  if (bytes.starts_with("RIFF")) return "a WebP image";
  return "an unknown format";
}

}  // namespace

// The libraries' own messages for a foreign file are as long as they are short of help.
void check_kind(ImageKind kind, std::string_view bytes, const std::string& path) {
  if (is_kind(kind, bytes)) return;
  const std::string name = kind == ImageKind::png ? "PNG" : "JPEG";
  if (bytes.empty()) fail_user(path + ": is empty; expected a " + name + " image");
  fail_user(path + ": not a " + name + " image but " + found_kind(bytes) + "; convert it to " +
            name + ", or remove its line from the data");
}

Image decode_image(std::string_view bytes, const std::string& path, const DecodeOptions& options) {
  if (is_kind(ImageKind::png, bytes)) return decode_png(bytes, path, options.max_pixels);
  if (is_kind(ImageKind::jpeg, bytes)) return decode_jpeg(bytes, path, options);
  if (bytes.empty()) fail_user(path + ": is empty; expected a PNG or JPEG image");
  fail_user(path + ": neither a PNG nor a JPEG image but " + found_kind(bytes) +
            "; convert it, or remove its line from the data");
}

Image read_image(const std::string& path, const DecodeOptions& options) {
  return decode_image(read_file(path, kMaxImageBytes), path, options);
}

Image solid(int width, int height, uint8_t r, uint8_t g, uint8_t b) {
  check_size(width, height, "solid");
  Image image{width, height, std::vector<uint8_t>(size_t{3} * width * height)};
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    image.rgb[i] = r;
    image.rgb[i + 1] = g;
    image.rgb[i + 2] = b;
  }
  return image;
}

Image pad_to_square(const Image& image) {
  check_image(image, "pad_to_square");
  const int side = std::max(image.width, image.height);
  check_size(side, side, "pad_to_square");
  if (image.width == image.height) return image;
  Image result{side, side, std::vector<uint8_t>(size_t{3} * side * side, 255)};
  const int left = (side - image.width) / 2, top = (side - image.height) / 2;
  const size_t row_bytes = size_t{3} * image.width;
  for (int y = 0; y < image.height; ++y) {
    std::copy_n(&image.rgb[row_bytes * y], row_bytes,
                &result.rgb[(size_t{3} * side) * (top + y) + size_t{3} * left]);
  }
  return result;
}

}  // namespace fusec::io
