// The tensors of a model that was cut into several .safetensors files, by name, as
// model.safetensors.index.json lists them: {"weight_map": {tensor: file}, "metadata": {...}}. The
// files lie in the index's folder. Refused, by a user Error with the names at fault: a file that is
// missing or not sound, a tensor that its file does not hold, one that two files hold, one that the
// index does not list, and a file's name that leads out of the folder.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/io/safetensors.h"

namespace fusec::io {

struct SafetensorsIndex {
  std::map<std::string, std::string> file_of;  // by tensor
};

// `name` is for messages. Touches nothing but `json`, and allocates at most about a hundred bytes
// for each byte of it.
FUSEC_API SafetensorsIndex parse_safetensors_index(std::string_view json, const std::string& name);

struct ShardTensor {
  TensorEntry entry;
  const SafetensorsReader* shard = nullptr;  // the view's
};

// All files are opened, and the index held against their headers, at once. Its functions may be
// called by several threads.
class FUSEC_API ShardedSafetensors {
 public:
  explicit ShardedSafetensors(const std::string& index_path);

  const std::string& path() const { return path_; }
  // In the order of their names.
  const std::map<std::string, ShardTensor>& tensors() const { return tensors_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  // A user Error if there is none of that name.
  const ShardTensor& tensor(const std::string& name) const;
  // The bytes of a tensor, row-major.
  std::string read(const std::string& name) const;

 private:
  std::string path_;
  std::vector<std::unique_ptr<SafetensorsReader>> shards_;
  std::map<std::string, ShardTensor> tensors_;
};

}  // namespace fusec::io
