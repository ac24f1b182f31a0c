// PNG bytes <-> 8-bit RGB pixels. libpng's simplified interface does the decoding; sizes are
// checked from the header, before anything is allocated for pixels.
#include <png.h>

#include "fusec/io/file.h"
#include "image_checks.h"
#include "image_kind.h"

namespace fusec::io {
namespace {

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

}  // namespace

Image decode_png(std::string_view bytes, const std::string& path, int64_t max_pixels) {
  check_kind(ImageKind::png, bytes, path);
  PngHandle png;
  if (!png_image_begin_read_from_memory(png.get(), bytes.data(), bytes.size())) {
    fail_user(path + ": not a readable PNG image: " + png->message +
              "; write or copy it again, or remove its line from the data");
  }
  check_size(png->width, png->height, path, max_pixels);
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

Image read_png(const std::string& path) {
  return decode_png(read_file(path, kMaxImageBytes), path);
}

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

}  // namespace fusec::io
