// GGUF files: the header, then each tensor that can be read.
#include "fusec/io/gguf.h"

#include "../../data/gguf_file.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  using tests::GgufFile, tests::raw, tests::raw_text;
  GgufFile keys;
  keys.key("general.architecture", 8, raw_text("llama")).key("u8", 0, raw<uint8_t>(1));
  keys.key("i16", 3, raw<int16_t>(-5)).key("f32", 6, raw(0.5f)).key("on", 7, raw<uint8_t>(1));
  keys.array("words", 8, 2, raw_text("a") + raw_text("bc")).array("i32", 5, 1, raw<int32_t>(-1));
  keys.array("deep", 9, 1, raw<uint32_t>(7) + raw<uint64_t>(2) + std::string("\0\1", 2));
  keys.tensor("a", {3, 2}, 0, std::string(24, 'a'));
  GgufFile blocks;
  blocks.alignment = 8;
  blocks.key("general.alignment", 4, raw<uint32_t>(8));
  struct Blocks {
    uint32_t format;
    uint64_t elements;
    size_t bytes;
  };
  for (auto [format, elements, bytes] :
       {Blocks{2, 32, 18}, Blocks{7, 32, 24}, Blocks{8, 32, 34}, Blocks{11, 256, 110},
        Blocks{12, 256, 144}, Blocks{14, 256, 210}, Blocks{39, 32, 17}}) {
    blocks.tensor("t" + std::to_string(format), {elements, 2}, format,
                  std::string(2 * bytes, '\x3a'));
  }
  return {keys.bytes(), blocks.bytes(), GgufFile().bytes()};
}

void read_bytes(std::string_view bytes) {
  (void)io::parse_gguf(bytes, "bytes");
  const io::GgufReader file(as_file(bytes));
  for (const io::GgufTensor& tensor : file.header().tensors)
    if (tensor.format->decode) (void)file.read(tensor.name);
}

}  // namespace fusec::fuzz
