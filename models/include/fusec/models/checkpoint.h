// Named tensors in a .safetensors file (github.com/huggingface/safetensors, "Format"): 8 bytes
// little-endian header size, a JSON header {name: {dtype, shape, data_offsets}}, then the bytes.
// Other programs read and write the same files. Refused when reading, by a user Error that names
// the file and the fault: a header that does not parse or is longer than the file, an unknown
// element type, offsets that overlap, leave gaps, pass the end or disagree with the shape.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fusec/fusec.h"

namespace fusec::models {

struct NamedTensor {
  std::string name;
  TensorType type;
  std::string data;  // row-major bytes, exactly type.bytes()
};

struct Checkpoint {
  std::vector<NamedTensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Written to a temporary name and renamed. Equal tensors and metadata give equal bytes.
void write_safetensors(const std::string& path, const Checkpoint& checkpoint);
Checkpoint read_safetensors(const std::string& path);

// Every parameter of the executable, in its order.
void save_parameters(const Executable& exe, const std::string& path,
                     std::map<std::string, std::string> metadata = {});

// Fills every parameter of the executable; returns the file's metadata. Strict: a parameter that is
// missing, of another shape or type, or a tensor that the model does not have is a user Error, and
// then nothing has been written.
std::map<std::string, std::string> load_parameters(Executable& exe, const std::string& path);

}  // namespace fusec::models
