#include "exif.h"

#include <cstdint>
#include <utility>

namespace fusec::io {
namespace {

constexpr std::string_view kBegin("Exif\0\0", 6);
constexpr uint64_t kOrientation = 0x0112, kShort = 3;

// A TIFF structure in either byte order. Numbers outside of it are 0, which nothing here takes for
// a place or a tag.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes), little_(bytes.starts_with("II")) {}

  bool known() const { return (little_ || bytes_.starts_with("MM")) && number(2, 2) == 42; }
  uint64_t number(uint64_t at, uint64_t size) const {
    if (at > bytes_.size() || size > bytes_.size() - at) return 0;
    uint64_t value = 0;
    for (uint64_t i = 0; i < size; ++i) {
      const uint64_t byte = little_ ? size - 1 - i : i;
      value = value << 8 | static_cast<unsigned char>(bytes_[at + byte]);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool little_;
};

}  // namespace

int exif_orientation(std::string_view block) {
  if (!block.starts_with(kBegin)) return 1;
  const Tiff tiff(block.substr(kBegin.size()));
  const uint64_t folder = tiff.number(4, 4);
  if (!tiff.known() || folder == 0) return 1;
  const uint64_t entries = tiff.number(folder, 2);
  for (uint64_t i = 0; i < entries; ++i) {
    const uint64_t entry = folder + 2 + 12 * i;
    if (tiff.number(entry, 2) != kOrientation) continue;
    const uint64_t value = tiff.number(entry + 8, 2);
    const bool valid = tiff.number(entry + 2, 2) == kShort && value >= 1 && value <= 8;
    return valid ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image oriented(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const bool turned = orientation >= 5;  // rows become columns
  const bool right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool bottom = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image result{turned ? image.height : image.width, turned ? image.width : image.height,
               std::vector<uint8_t>(image.rgb.size())};
  // `right`, `bottom`: the picture's first column (row) is the stored last one.
  uint8_t* out = result.rgb.data();
  for (int y = 0; y < result.height; ++y) {
    for (int x = 0; x < result.width; ++x, out += 3) {
      int column = turned ? y : x, row = turned ? x : y;
      if (right) column = image.width - 1 - column;
      if (bottom) row = image.height - 1 - row;
      const uint8_t* pixel =
          &image.rgb[size_t{3} * (size_t{1} * static_cast<size_t>(row) * image.width + column)];
      out[0] = pixel[0];
      out[1] = pixel[1];
      out[2] = pixel[2];
    }
  }
  return result;
}

}  // namespace fusec::io
