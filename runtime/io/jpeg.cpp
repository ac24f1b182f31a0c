// JPEG bytes -> 8-bit RGB pixels, upright, through libjpeg-turbo. Its errors leave by longjmp, past
// C frames only: everything with a destructor lives outside of guarded(). Sizes are checked from
// the header, before anything is allocated for pixels.
#include <csetjmp>
#include <cstdio>

#include <jpeglib.h>

#include <jerror.h>

#include <algorithm>

#include "exif.h"
#include "image_checks.h"
#include "image_kind.h"

namespace fusec::io {
namespace {

constexpr int kExifMarker = JPEG_APP0 + 1;
constexpr int kMostScans = 100;  // real files have about ten; each costs a walk over all blocks

// What libjpeg calls back with, and where its errors jump to.
struct Callbacks {
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void leave(j_common_ptr info) {
  auto* callbacks = static_cast<Callbacks*>(info->client_data);
  info->err->format_message(info, callbacks->message);
  std::longjmp(callbacks->jump, 1);
}

// Corrupt data that libjpeg would go on from with grey or wrong pixels is an error. Not so what
// leaves the pixels as they are.
void warn(j_common_ptr info, int level) {
  if (level >= 0) return;
  switch (info->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL: return;
    default: leave(info);
  }
}

void count_scans(j_common_ptr info) {
  auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number <= kMostScans) return;
  auto* callbacks = static_cast<Callbacks*>(info->client_data);
  std::snprintf(callbacks->message, sizeof callbacks->message, "more than %d scans", kMostScans);
  std::longjmp(callbacks->jump, 1);
}

class JpegReader {
 public:
  JpegReader(std::string_view bytes, const std::string& path) : bytes_(bytes), path_(path) {
    info_.err = jpeg_std_error(&callbacks_.errors);
    callbacks_.errors.error_exit = leave;
    callbacks_.errors.emit_message = warn;
    callbacks_.progress.progress_monitor = count_scans;
  }
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  Image read(const DecodeOptions& options) {
    guarded([this] {
      jpeg_create_decompress(&info_);
      info_.client_data = &callbacks_;
      info_.progress = &callbacks_.progress;
      jpeg_save_markers(&info_, kExifMarker, 0xffff);
      jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
      jpeg_read_header(&info_, TRUE);
    });
    check_size(info_.image_width, info_.image_height, path_, options.max_pixels);
    check_plausible();
    choose_colours();
    info_.scale_num = static_cast<unsigned>(eighths(options));
    info_.scale_denom = 8;
    guarded([this] { jpeg_start_decompress(&info_); });
    return oriented(info_.out_color_space == JCS_CMYK ? inked_pixels() : pixels(), orientation());
  }

 private:
  // User Error with libjpeg's message if `work`, which may call C functions only, fails.
  template <class Work>
  void guarded(const Work& work) {
    if (!succeeds(work)) {
      fail_user(path_ + ": unreadable JPEG image: " + callbacks_.message +
                "; write or copy it again, or remove its line from the data");
    }
  }
  template <class Work>
  bool succeeds(const Work& work) {
    info_.client_data = &callbacks_;
    if (setjmp(callbacks_.jump) != 0) return false;
    work();
    return true;
  }

  // A block of 8 x 8 takes a bit at least, in one scan or another: what claims to be larger is
  // refused before memory is set aside for it. Arithmetic coding has no such bound.
  void check_plausible() const {
    if (info_.arith_code)
      fail_user(path_ + ": JPEG image with arithmetic coding; write it with Huffman coding");
    uint64_t blocks = 0;
    for (int i = 0; i < info_.num_components; ++i) {
      const jpeg_component_info& part = info_.comp_info[i];
      blocks += uint64_t{part.width_in_blocks} * part.height_in_blocks;
    }
    if (blocks / 8 <= bytes_.size()) return;
    fail_user(path_ + ": claims " + size_text(info_.image_width, info_.image_height) +
              " pixels, which " + std::to_string(bytes_.size()) +
              " bytes cannot hold: damaged JPEG image; write or copy it again");
  }

  void choose_colours() {
    switch (info_.jpeg_color_space) {
      case JCS_GRAYSCALE:
      case JCS_RGB:
      case JCS_YCbCr: info_.out_color_space = JCS_RGB; return;
      case JCS_CMYK:
      case JCS_YCCK: info_.out_color_space = JCS_CMYK; return;
      default:
        fail_user(path_ + ": JPEG image of " + std::to_string(info_.num_components) +
                  " components of an unknown kind; expected grey, RGB or CMYK: convert it");
    }
  }

  // The least scale that leaves enough pixels. Only powers of two: for the others libjpeg-turbo has
  // no vector code, and 3/8 takes as long as the whole.
  int eighths(const DecodeOptions& options) const {
    if (options.shorter <= 0 && options.longer <= 0) return 8;
    const int64_t least = std::min(info_.image_width, info_.image_height);
    const int64_t most = std::max(info_.image_width, info_.image_height);
    for (int scale : {1, 2, 4}) {
      if ((least * scale + 7) / 8 >= options.shorter && (most * scale + 7) / 8 >= options.longer)
        return scale;
    }
    return 8;
  }

  Image blank() const {
    const auto width = static_cast<int>(info_.output_width);
    const auto height = static_cast<int>(info_.output_height);
    return {width, height, std::vector<uint8_t>(size_t{3} * width * height)};
  }

  Image pixels() {
    Image image = blank();
    uint8_t* rgb = image.rgb.data();
    guarded([this, rgb] {
      const size_t row_bytes = size_t{3} * info_.output_width;
      while (info_.output_scanline < info_.output_height) {
        JSAMPROW row = rgb + row_bytes * info_.output_scanline;
        jpeg_read_scanlines(&info_, &row, 1);
      }
    });
    return image;
  }

  // Inks to light without a colour profile. Adobe's files hold 255 for no ink.
  Image inked_pixels() {
    Image image = blank();
    std::vector<uint8_t> inks(size_t{4} * info_.output_width);
    uint8_t* row = inks.data();
    const unsigned flip = info_.saw_Adobe_marker ? 0 : 255;
    uint8_t* out = image.rgb.data();
    for (int y = 0; y < image.height; ++y) {
      guarded([this, row] {
        JSAMPROW line = row;
        jpeg_read_scanlines(&info_, &line, 1);
      });
      for (const uint8_t* ink = row; ink != row + inks.size(); ink += 4) {
        for (int c = 0; c < 3; ++c)
          *out++ = static_cast<uint8_t>(((ink[c] ^ flip) * (ink[3] ^ flip) + 127) / 255);
      }
    }
    return image;
  }

  int orientation() const {
    for (const jpeg_marker_struct* m = info_.marker_list; m; m = m->next) {
      if (m->marker != kExifMarker) continue;
      const std::string_view block(reinterpret_cast<const char*>(m->data), m->data_length);
      if (const int found = exif_orientation(block); found != 1) return found;
    }
    return 1;
  }

  std::string_view bytes_;
  const std::string& path_;
  Callbacks callbacks_{};
  jpeg_decompress_struct info_{};
};

}  // namespace

Image decode_jpeg(std::string_view bytes, const std::string& path, const DecodeOptions& options) {
  check_kind(ImageKind::jpeg, bytes, path);
  return JpegReader(bytes, path).read(options);
}

}  // namespace fusec::io
