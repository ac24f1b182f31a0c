// 8-bit RGB images and the PNG and JPEG files they come from: what a model sees, with no colour
// management. Decoding gives the same bytes everywhere.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec::io {

// Neither side of an image that is read or written may be larger.
inline constexpr int kMaxImageSide = 16384;
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 27;  // 384 MiB of RGB

// Row-major, top row first, 3 bytes a pixel: rgb.size() == 3 * width * height.
struct Image {
  int width = 0, height = 0;  // pixels
  std::vector<uint8_t> rgb;
  bool operator==(const Image&) const = default;
};

// An image of one colour.
FUSEC_API Image solid(int width, int height, uint8_t r, uint8_t g, uint8_t b);

struct DecodeOptions {
  // A JPEG is decoded at the least of 1/8, 1/4, 1/2 and all of its size at which its shorter and
  // its longer side have at least so many pixels, if it has them at all: what is made smaller
  // anyway costs a fraction of the time then. Both 0: at its own size.
  int shorter = 0, longer = 0;
  int64_t max_pixels = kMaxImagePixels;  // that a file may claim, 1 to kMaxImagePixels
};

// Any PNG or JPEG, told apart by its first bytes. Bytes that are neither, are damaged, or claim a
// size above the limits or beyond what so many bytes can hold are a user Error that begins with
// `name`; nothing is allocated for such pixels.
FUSEC_API Image decode_image(std::string_view bytes, const std::string& name,
                             const DecodeOptions& options = {});

// The same of a file; one that cannot be read is a user Error, too.
FUSEC_API Image read_image(const std::string& path, const DecodeOptions& options = {});

// Any JPEG with Huffman coding and 8 bits (baseline, progressive; grey, RGB, CMYK as Adobe writes
// it), turned as its Exif orientation says, as a viewer would. Data that libjpeg would repair with
// made-up pixels (a file cut short) is damaged here.
FUSEC_API Image decode_jpeg(std::string_view bytes, const std::string& name,
                            const DecodeOptions& options = {});

// Any PNG (grey, palette, 16 bit, interlaced) as 8-bit sRGB; transparent pixels are laid on white.
// Refused as by decode_image().
FUSEC_API Image decode_png(std::string_view bytes, const std::string& name,
                           int64_t max_pixels = kMaxImagePixels);

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
