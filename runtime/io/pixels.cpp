#include "fusec/io/pixels.h"

#include <algorithm>
#include <cmath>

#include "fusec/base/nearest.h"
#include "image_checks.h"

namespace fusec::io {
namespace {

// The middle square.
Image crop_to_square(const Image& image) {
  check_image(image, "crop_to_square");
  const int side = std::min(image.width, image.height);
  if (image.width == image.height) return image;
  const int left = (image.width - side) / 2, top = (image.height - side) / 2;
  Image result{side, side, std::vector<uint8_t>(size_t{3} * side * side)};
  for (int y = 0; y < side; ++y) {
    std::copy_n(&image.rgb[size_t{3} * (size_t{1} * image.width * (top + y) + left)],
                size_t{3} * side, &result.rgb[size_t{3} * side * y]);
  }
  return result;
}

}  // namespace

ImageFit parse_image_fit(const std::string& name) {
  if (name == "pad") return ImageFit::pad;
  if (name == "crop") return ImageFit::crop;
  if (name == "stretch") return ImageFit::stretch;
  fail_user("image fit \"" + name + "\"" + suggest(name, {"pad", "crop", "stretch"}));
}

const char* name_of(ImageFit fit) {
  switch (fit) {
    case ImageFit::pad: return "pad";
    case ImageFit::crop: return "crop";
    case ImageFit::stretch: return "stretch";
  }
  return "";
}

DecodeOptions decode_options(ImageFit fit, int side) {
  DecodeOptions options;
  (fit == ImageFit::pad ? options.longer : options.shorter) = side;
  return options;
}

Image square(const Image& image, ImageFit fit, int side) {
  switch (fit) {
    case ImageFit::pad: return resize(pad_to_square(image), side, side);
    case ImageFit::crop: return resize(crop_to_square(image), side, side);
    case ImageFit::stretch: break;
  }
  return resize(image, side, side);
}

PixelScale PixelScale::white_is_zero() {
  const double step = -64.0 / 255;
  return {{1, 1, 1}, {step, step, step}};
}

PixelTable::PixelTable(const PixelScale& scale) {
  for (size_t c = 0; c < 3; ++c) {
    if (!std::isfinite(scale.mean[c]) || !std::isfinite(scale.deviation[c]) ||
        scale.deviation[c] == 0) {
      fail_user("pixels of channel " + std::to_string(c) + ": mean " +
                std::to_string(scale.mean[c]) + ", deviation " +
                std::to_string(scale.deviation[c]) +
                "; expected finite numbers and a deviation other than 0");
    }
    for (size_t i = 0; i < 256; ++i) {
      values_[c][i] =
          static_cast<float>((static_cast<double>(i) / 255 - scale.mean[c]) / scale.deviation[c]);
    }
  }
}

void PixelTable::write_planes(const Image& image, float* out) const {
  check_image(image, "pixels");
  const size_t plane = size_t{1} * static_cast<size_t>(image.width) * image.height;
  const uint8_t* rgb = image.rgb.data();
  float *r = out, *g = out + plane, *b = out + 2 * plane;
  for (size_t i = 0; i < plane; ++i) {
    r[i] = values_[0][rgb[3 * i]];
    g[i] = values_[1][rgb[3 * i + 1]];
    b[i] = values_[2][rgb[3 * i + 2]];
  }
}

}  // namespace fusec::io
