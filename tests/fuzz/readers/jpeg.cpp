// JPEG files, whole and made smaller, behind the wrapper that bounds what they may claim.
#include "../../data/jpeg_file.h"
#include "fusec/io/pixels.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  using tests::jpeg_bytes;
  const io::Image image = tests::picture(19, 13);
  const std::vector<uint8_t> inks(8 * 8 * 4, 120), grey(8 * 8, 9);
  return {jpeg_bytes(image), jpeg_bytes(image, {.subsampled = false, .restart = 1}),
          jpeg_bytes(image, {.progressive = true, .exif = tests::exif_block(6)}),
          jpeg_bytes(8, 8, inks.data(), {.stored = JCS_YCCK}),
          jpeg_bytes(8, 8, grey.data(), {.stored = JCS_GRAYSCALE})};
}

void read_bytes(std::string_view bytes) {
  // Small limits keep an input from taking seconds; what they refuse allocates nothing.
  io::DecodeOptions options = io::decode_options(io::ImageFit::crop, 5);
  options.max_pixels = 1 << 20;
  (void)io::decode_jpeg(bytes, "bytes", options);
  options.shorter = 0;
  (void)io::decode_image(bytes, "bytes", options);
}

}  // namespace fusec::fuzz
