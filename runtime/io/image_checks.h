// Sizes of images: what is legal, and how messages say it.
#pragma once

#include <string>

#include "fusec/base/error.h"
#include "fusec/io/image.h"

namespace fusec::io {

inline std::string size_text(int64_t width, int64_t height) {
  return std::to_string(width) + " x " + std::to_string(height);
}

inline bool size_is_legal(int64_t width, int64_t height, int64_t max_pixels = kMaxImagePixels) {
  return width >= 1 && height >= 1 && width <= kMaxImageSide && height <= kMaxImageSide &&
         width * height <= max_pixels;
}

inline void check_size(int64_t width, int64_t height, const std::string& what,
                       int64_t max_pixels = kMaxImagePixels) {
  if (size_is_legal(width, height, max_pixels)) return;
  fail_user(what + ": image of " + size_text(width, height) + "; expected sides of 1 to " +
            std::to_string(kMaxImageSide) + " and at most " + std::to_string(max_pixels) +
            " pixels");
}

inline void check_image(const Image& image, const std::string& what) {
  check_size(image.width, image.height, what);
  const size_t expected = size_t{3} * image.width * image.height;
  if (image.rgb.size() != expected) {
    fail_user(what + ": image of " + size_text(image.width, image.height) + " holds " +
              std::to_string(image.rgb.size()) + " bytes; expected " + std::to_string(expected));
  }
}

}  // namespace fusec::io
