// The machine code of one kernel as plain data, between a code generator, the disk cache, a saved
// plan and the CPU device. It holds no relocation: code and constants refer to one another by
// distance, so it runs at any address of its alignment, mapped read-only. Calls into the C library
// go through slots of 8 bytes, which the device fills before it makes the memory executable.
//
// As bytes, little endian:
//    0  u32  bytes of code      4  u32  entry      8  u32  alignment     12  u32  number of imports
//   16  imports: u32 slot, u32 length of the symbol, the symbol
//    .  code
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

// A name of imports.def whose address belongs at byte `slot` of the code.
struct CodeImport {
  uint32_t slot = 0;
  std::string symbol;
  bool operator==(const CodeImport&) const = default;
};

struct CodeImage {
  std::string code;
  uint32_t entry = 0;      // where the KernelFn begins
  uint32_t alignment = 1;  // a power of two, at most kMaxCodeAlignment
  std::vector<CodeImport> imports;
  bool operator==(const CodeImage&) const = default;
};

inline constexpr uint32_t kMaxCodeAlignment = 4096;

// The symbols of imports.def.
FUSEC_API const std::vector<std::string_view>& code_import_names();

FUSEC_API std::string to_bytes(const CodeImage& image);

// Reads to_bytes() back. Checks every bound and name; what is wrong is a user Error.
FUSEC_API CodeImage parse_code_image(std::string_view bytes);

}  // namespace fusec
