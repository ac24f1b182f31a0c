// The table of model families: how config.json calls them, what their configs leave unsaid, and
// what their tensors are called. A family that differs from these in such things alone is a row.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/models/model_info.h"

namespace fusec::models {

// How a tensor lies in a file.
enum class Layout : uint8_t {
  same,
  flat,    // in another shape of as many elements
  rotary,  // GGUF's llama: rows of a head as pairs (0, half), (1, half + 1), ...
};

// '#' is the number of a layer. A null name: files of that kind do not have the tensor.
struct NameRow {
  const char* ours;
  const char* huggingface;
  const char* gguf;
  Layout layout = Layout::same;  // in Hugging Face's files; rotary: in GGUF's of `rotary_pairs`
};

struct Family {
  std::string model_type;
  std::string architecture;  // of config.json
  ModelPart part;
  std::string gguf;     // general.architecture; "" if none
  bool rotary_pairs;    // GGUF: q and k are stored for interleaved rotary positions
  bool attention_bias;  // q, k, v always have biases
  QkNorm qk_norm;
  const std::vector<NameRow>* names;
  VitConfig vision;  // of a tower: what its config may leave out
  // Names that a file may hold and the model does not use: as a whole, or up to a '*'.
  std::vector<std::string> unused;
};

const std::vector<Family>& families();
// Null if there is none.
const Family* find_family(const std::string& model_type);
const Family* find_gguf_family(const std::string& architecture);

// The row of this project's tensor `name` and the number of its layer (-1: none).
struct NamePlace {
  const NameRow* row = nullptr;  // null: no row
  int64_t layer = -1;
};
NamePlace place_of(const Family& family, const std::string& name);
// `pattern` with its '#' replaced.
std::string at_layer(const char* pattern, int64_t layer);
// Does `pattern` (a name, or the beginning of one and '*'; '#' is any number) fit `name`?
bool fits(const std::string& pattern, const std::string& name);

}  // namespace fusec::models
