// PNG files, behind the wrapper that bounds what they may claim.
#include "fusec/io/image.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  for (int side : {1, 3, 16})
    out.push_back(written([&](const std::string& path) {
      io::Image image = io::solid(side, side + 1, 10, 200, 90);
      for (size_t i = 0; i < image.rgb.size(); i += 5) image.rgb[i] = static_cast<uint8_t>(i * 7);
      io::write_png(path, image);
    }));
  return out;
}

void read_bytes(std::string_view bytes) { (void)io::decode_png(bytes, "bytes"); }

}  // namespace fusec::fuzz
