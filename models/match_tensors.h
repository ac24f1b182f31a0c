// The tensors of a file <-> the buffers that a model wants filled. Everything that does not fit is
// said at once: whoever imports weights renames ten tensors in one go, not in ten attempts.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/io/safetensors.h"

namespace fusec::models {

struct WantedTensor {
  std::string name;    // in the file
  std::string buffer;  // in the executable
  TensorType type;
};

struct TensorMatch {
  WantedTensor target;
  const io::TensorEntry* source;  // of the file's header
};

// none: types must be equal. floats: f32, bf16 and f16 stand for each other.
enum class Conversion : uint8_t { none, floats };

// One match for each wanted tensor, in their order; valid as long as `tensors`, those of the file
// at `path`. Of them, names that are `ignored` (if that is not empty) need no match. What is
// missing, unexpected, or of another shape or type is listed in one user Error.
std::vector<TensorMatch> match_tensors(const std::string& path,
                                       const std::vector<io::TensorEntry>& tensors,
                                       const std::vector<WantedTensor>& wanted,
                                       Conversion conversion,
                                       const std::function<bool(const std::string&)>& ignored);
// The same of a file's tensors; ignored are those that begin with `ignored` if it is not empty.
std::vector<TensorMatch> match_tensors(const io::SafetensorsReader& file,
                                       const std::vector<WantedTensor>& wanted,
                                       Conversion conversion, const std::string& ignored);

// Values of one of f32, bf16, f16 as another; equal types pass through as they are.
std::string convert_floats(std::string bytes, DType from, DType to);

// False if one of the values (of any type) is NaN or infinite.
bool all_finite(std::string_view bytes, DType type);

}  // namespace fusec::models
