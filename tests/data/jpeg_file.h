// JPEG files as cameras and programs write them, made with libjpeg, for tests of the reader.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "fusec/io/image.h"

namespace fusec::tests {

struct JpegForm {
  int quality = 90;
  bool subsampled = true;  // 4:2:0
  bool progressive = false;
  bool slow = false;  // progressive, with a scan a coefficient
  bool arithmetic = false;
  int restart = 0;                   // MCUs between markers; 0: none
  J_COLOR_SPACE stored = JCS_YCbCr;  // or JCS_GRAYSCALE, JCS_CMYK, JCS_YCCK
  std::string exif;                  // of an APP1 marker
};

// A TIFF structure that holds an orientation alone.
inline std::string exif_block(int orientation, bool little = true) {
  const std::string value(1, static_cast<char>(orientation));
  using namespace std::string_literals;
  if (little)
    return "Exif\0\0II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0"s + value + "\0\0\0\0\0\0\0"s;
  return "Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0"s + value + "\0\0\0\0\0\0"s;
}

// `pixels`: 1, 3 or 4 bytes each, as the form says (YCbCr from RGB, YCCK from CMYK).
inline std::string jpeg_bytes(int width, int height, const uint8_t* pixels, const JpegForm& form) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);  // ends the process: the input is ours
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;  // NOLINT: libjpeg's type
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  const bool grey = form.stored == JCS_GRAYSCALE, inks = form.stored >= JCS_CMYK;
  info.input_components = grey ? 1 : inks ? 4 : 3;
  info.in_color_space = grey ? JCS_GRAYSCALE : inks ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_colorspace(&info, form.stored);
  jpeg_set_quality(&info, form.quality, TRUE);
  if (form.progressive) jpeg_simple_progression(&info);
  std::vector<jpeg_scan_info> scans;
  if (form.slow) {
    scans.push_back({3, {0, 1, 2}, 0, 0, 0, 0});
    for (int component = 0; component < 3; ++component)
      for (int i = 1; i < DCTSIZE2; ++i) scans.push_back({1, {component}, i, i, 0, 0});
    info.scan_info = scans.data();
    info.num_scans = static_cast<int>(scans.size());
  }
  info.arith_code = form.arithmetic;
  info.restart_interval = static_cast<unsigned>(form.restart);
  if (!form.subsampled)
    for (int i = 0; i < info.num_components; ++i)
      info.comp_info[i].h_samp_factor = info.comp_info[i].v_samp_factor = 1;
  jpeg_start_compress(&info, TRUE);
  if (!form.exif.empty()) {
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(form.exif.data()),
                      static_cast<unsigned>(form.exif.size()));
  }
  std::vector<uint8_t> row(static_cast<size_t>(width * info.input_components));
  while (info.next_scanline < info.image_height) {
    row.assign(pixels + row.size() * info.next_scanline,
               pixels + row.size() * (info.next_scanline + 1));
    JSAMPROW line = row.data();
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(memory), size);
  jpeg_destroy_compress(&info);
  std::free(memory);
  return bytes;
}

inline std::string jpeg_bytes(const io::Image& image, const JpegForm& form = {}) {
  return jpeg_bytes(image.width, image.height, image.rgb.data(), form);
}

// Soft colours with a bright disc: what survives JPEG with small errors.
inline io::Image picture(int width, int height) {
  io::Image image = io::solid(width, height, 0, 0, 0);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      uint8_t* p = &image.rgb[size_t{3} * static_cast<size_t>(y * width + x)];
      const int dx = 4 * x - width, dy = 4 * y - height;
      const bool disc = dx * dx + dy * dy < width * height;
      p[0] = static_cast<uint8_t>(40 + 150 * x / width);
      p[1] = static_cast<uint8_t>(disc ? 210 : 60);
      p[2] = static_cast<uint8_t>(30 + 170 * y / height);
    }
  }
  return image;
}

}  // namespace fusec::tests
