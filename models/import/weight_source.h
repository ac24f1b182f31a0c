// The tensors of a file or folder of any container, under the names they have there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fusec/io/gguf.h"
#include "fusec/io/safetensors.h"
#include "fusec/io/safetensors_index.h"

namespace fusec::models {

struct WeightSource {
  virtual ~WeightSource() = default;
  // The row-major bytes of one of `tensors`.
  virtual std::string read(const io::TensorEntry& tensor) const = 0;
  // A type as the file calls it: "bf16", "q4_1".
  virtual std::string stored(const io::TensorEntry& tensor) const;

  std::string path;                      // for messages
  std::vector<io::TensorEntry> tensors;  // quantised ones as f32
};

std::unique_ptr<WeightSource> open_safetensors(std::shared_ptr<const io::SafetensorsReader> file);
std::unique_ptr<WeightSource> open_sharded(const std::string& index_path);
std::unique_ptr<WeightSource> open_gguf(std::shared_ptr<const io::GgufReader> file);

}  // namespace fusec::models
