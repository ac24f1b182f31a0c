// Named tensors in a .safetensors file (github.com/huggingface/safetensors, "Format"): 8 bytes
// little-endian header size, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes.
// Other programs read and write the same files. Refused when reading, by a user Error that names
// the file and the fault: a header that does not parse or is longer than the file, a name given
// twice, an unknown element type, offsets that overlap, leave gaps, pass the end or disagree with
// the shape.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/base/tensor_type.h"
#include "fusec/io/file.h"

namespace fusec::io {

struct TensorEntry {
  std::string name;
  TensorType type;
  uint64_t offset = 0;  // of its first byte in the file; it has type.bytes() of them, row-major
};

struct SafetensorsHeader {
  std::vector<TensorEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
};

// Reads the header of a file of `file_size` bytes from its first bytes, which must hold the whole
// header (extra bytes are ignored). `name` is for messages. Touches nothing but `bytes`, and
// allocates at most about a hundred bytes for each byte of the header.
FUSEC_API SafetensorsHeader parse_safetensors_header(std::string_view bytes, uint64_t file_size,
                                                     const std::string& name);

// The same of a whole file in memory.
FUSEC_API SafetensorsHeader parse_safetensors(std::string_view file, const std::string& name);

// A file read piece by piece: a model need not fit into memory twice.
class FUSEC_API SafetensorsReader {
 public:
  explicit SafetensorsReader(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const SafetensorsHeader& header() const { return header_; }
  // The bytes of one of header().tensors.
  std::string read(const TensorEntry& tensor) const;

 private:
  InputFile file_;
  SafetensorsHeader header_;
};

struct NamedType {
  std::string name;
  TensorType type;
};

// Writes through an AtomicFile. `bytes_of` is called once for each tensor, in order; what it
// returns must hold until its next call. Equal names, types, bytes and metadata give equal files.
// With `durable`, the file outlasts a power cut.
FUSEC_API void write_safetensors(const std::string& path, const std::vector<NamedType>& tensors,
                                 const std::map<std::string, std::string>& metadata,
                                 const std::function<std::string_view(size_t)>& bytes_of,
                                 bool durable = false);

}  // namespace fusec::io
