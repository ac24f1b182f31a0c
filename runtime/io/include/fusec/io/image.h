// 8-bit RGB images and the PNG files they come from: what a model sees, with no colour management.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::io {

// Neither side of an image that is read or written may be larger.
inline constexpr int kMaxImageSide = 16384;

// Row-major, top row first, 3 bytes a pixel: rgb.size() == 3 * width * height.
struct Image {
  int width = 0, height = 0;  // pixels
  std::vector<uint8_t> rgb;
  bool operator==(const Image&) const = default;
};

// An image of one colour.
FUSEC_API Image solid(int width, int height, uint8_t r, uint8_t g, uint8_t b);

// Any PNG (grey, palette, 16 bit, interlaced) as 8-bit sRGB; transparent pixels are laid on white.
// Bytes that are not one, are damaged, or claim a size above the limits or beyond what so many
// bytes can hold are a user Error that begins with `name`; nothing is allocated for such pixels.
FUSEC_API Image decode_png(std::string_view bytes, const std::string& name);

// The same of a file; one that cannot be read is a user Error, too.
FUSEC_API Image read_png(const std::string& path);

// Writes to a temporary name in the same folder and renames, so that a reader never sees half a
// file. An empty or inconsistent image, or a path that cannot be written, is a user Error.
FUSEC_API void write_png(const std::string& path, const Image& image);

// Area average: each new pixel is the mean of the source rectangle that it covers, in sRGB values,
// rounded to nearest (exact integer sums, so the same bytes everywhere). The ratio of the sides
// may change. An empty image or a side outside 1..kMaxImageSide is a user Error.
FUSEC_API Image resize(const Image& image, int width, int height);

// Centres the image on the smallest square that holds it; the rest is white.
FUSEC_API Image pad_to_square(const Image& image);

}  // namespace fusec::io
