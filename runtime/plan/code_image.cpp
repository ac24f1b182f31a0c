#include "fusec/plan/code_image.h"

#include <algorithm>
#include <bit>

#include "fusec/plan/byte_reader.h"

namespace fusec {

const std::vector<std::string_view>& code_import_names() {
  static const std::vector<std::string_view> names = {
#define FUSEC_IMPORT(symbol) #symbol,
#include "fusec/plan/imports.def"
  };
  return names;
}

std::string to_bytes(const CodeImage& image) {
  std::string out;
  put_number(out, image.code.size(), 4);
  put_number(out, image.entry, 4);
  put_number(out, image.alignment, 4);
  put_number(out, image.imports.size(), 4);
  for (const CodeImport& import : image.imports) {
    put_number(out, import.slot, 4);
    put_number(out, import.symbol.size(), 4);
    out += import.symbol;
  }
  return out + image.code;
}

CodeImage parse_code_image(std::string_view bytes) {
  ByteReader in(bytes, "code of a kernel");
  CodeImage image;
  uint64_t size = in.number(4, "the size of the code");
  image.entry = static_cast<uint32_t>(in.number(4, "the entry"));
  image.alignment = static_cast<uint32_t>(in.number(4, "the alignment"));
  uint64_t imports = in.number(4, "the number of imports");
  if (image.entry >= size)
    in.fail("its entry " + std::to_string(image.entry) + " lies outside the " +
            std::to_string(size) + " bytes of code");
  if (!std::has_single_bit(image.alignment) || image.alignment > kMaxCodeAlignment)
    in.fail("found alignment " + std::to_string(image.alignment) +
            ", expected a power of two up to " + std::to_string(kMaxCodeAlignment));
  const std::vector<std::string_view>& known = code_import_names();
  for (uint64_t i = 0; i < imports; ++i) {
    CodeImport import;
    import.slot = static_cast<uint32_t>(in.number(4, "a slot"));
    import.symbol = in.take(in.number(4, "the length of a symbol"), "a symbol");
    if (import.slot % 8 != 0 || size < 8 || import.slot > size - 8)
      in.fail("the slot at byte " + std::to_string(import.slot) +
              " is not 8 aligned bytes of the code");
    if (std::find(known.begin(), known.end(), import.symbol) == known.end())
      in.fail("it calls \"" + import.symbol.substr(0, 40) +
              "\", which this version of Fusec does not offer to kernels");
    image.imports.push_back(std::move(import));
  }
  image.code = in.take(size, "code");
  if (in.left() > 0) in.fail(std::to_string(in.left()) + " bytes follow its end");
  return image;
}

}  // namespace fusec
