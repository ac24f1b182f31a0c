// Containers to one view of their tensors; see weight_source.h.
#include "weight_source.h"

namespace fusec::models {
namespace {

struct SafetensorsSource : WeightSource {
  explicit SafetensorsSource(std::shared_ptr<const io::SafetensorsReader> opened)
      : file(std::move(opened)) {
    path = file->path();
    tensors = file->header().tensors;
  }
  std::string read(const io::TensorEntry& tensor) const override { return file->read(tensor); }
  std::shared_ptr<const io::SafetensorsReader> file;
};

struct ShardedSource : WeightSource {
  explicit ShardedSource(const std::string& index_path) : file(index_path) {
    path = index_path;
    for (const auto& [name, tensor] : file.tensors()) tensors.push_back(tensor.entry);
  }
  std::string read(const io::TensorEntry& tensor) const override { return file.read(tensor.name); }
  io::ShardedSafetensors file;
};

struct GgufSource : WeightSource {
  explicit GgufSource(std::shared_ptr<const io::GgufReader> opened) : file(std::move(opened)) {
    path = file->path();
    for (const io::GgufTensor& t : file->header().tensors)
      tensors.push_back({t.name, {t.shape, f32}, t.offset});
  }
  std::string read(const io::TensorEntry& tensor) const override {
    const io::GgufTensor& stored = file->tensor(tensor.name);
    std::string bytes(static_cast<size_t>(tensor.type.bytes()), '\0');
    // A string's memory is aligned for any scalar.
    file->read_into(stored, 0, stored.rows(), reinterpret_cast<float*>(bytes.data()));
    return bytes;
  }
  std::string stored(const io::TensorEntry& tensor) const override {
    return file->tensor(tensor.name).format->name;
  }
  std::shared_ptr<const io::GgufReader> file;
};

}  // namespace

std::string WeightSource::stored(const io::TensorEntry& tensor) const {
  return std::string(name_of(tensor.type.dtype));
}

std::unique_ptr<WeightSource> open_safetensors(std::shared_ptr<const io::SafetensorsReader> file) {
  return std::make_unique<SafetensorsSource>(std::move(file));
}
std::unique_ptr<WeightSource> open_sharded(const std::string& index_path) {
  return std::make_unique<ShardedSource>(index_path);
}
std::unique_ptr<WeightSource> open_gguf(std::shared_ptr<const io::GgufReader> file) {
  return std::make_unique<GgufSource>(std::move(file));
}

}  // namespace fusec::models
