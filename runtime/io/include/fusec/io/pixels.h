// Images -> what an encoder reads: squares of one side, then planes of scaled f32.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "fusec/base/export.h"
#include "fusec/io/image.h"

namespace fusec::io {

// How an image of any shape becomes a square.
enum class ImageFit : uint8_t {
  pad,      // all of it, on white
  crop,     // its middle
  stretch,  // all of it, the ratio of its sides lost
};
// "pad", "crop", "stretch"; another name is a user Error with the nearest.
FUSEC_API ImageFit parse_image_fit(const std::string& name);
FUSEC_API const char* name_of(ImageFit fit);

// At what size to decode an image that square() gets: no smaller than it needs.
FUSEC_API DecodeOptions decode_options(ImageFit fit, int side);

// side x side pixels, by area average.
FUSEC_API Image square(const Image& image, ImageFit fit, int side);

// A value is (byte / 255 - mean) / deviation, by channel.
struct FUSEC_API PixelScale {
  std::array<double, 3> mean = {0, 0, 0}, deviation = {1, 1, 1};
  // (255 - byte) / 64: a white background is 0, so that empty patches carry nothing but their
  // position; strokes and fills have values around 1 to 4.
  static PixelScale white_is_zero();
  bool operator==(const PixelScale&) const = default;
};

// The scaled values of all bytes: looking one up costs less than computing it, and every value is
// rounded once, from f64.
class FUSEC_API PixelTable {
 public:
  // User Error unless the numbers are finite and no deviation is 0.
  explicit PixelTable(const PixelScale& scale);
  // [3, height, width] f32 to `out`. An inconsistent image is a user Error.
  void write_planes(const Image& image, float* out) const;

 private:
  std::array<std::array<float, 256>, 3> values_;
};

}  // namespace fusec::io
