// Indexes of safetensors files.
#include "fusec/io/safetensors_index.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  return {R"({"metadata": {"total_size": 12, "note": ["x", {"y": 1}]},
  "weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors",
                 "model.norm.weight": "model-00001-of-00002.safetensors"}})",
          R"({"weight_map": {}})"};
}

void read_bytes(std::string_view bytes) { (void)io::parse_safetensors_index(bytes, "bytes"); }

}  // namespace fusec::fuzz
