// Tensors of an open GGUF file -> f32, in pieces of whole blocks; see gguf.h.
#include "fusec/io/gguf.h"

#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"
#include "gguf_parts.h"

namespace fusec::io {
namespace {

constexpr int64_t kPieceBytes = int64_t{1} << 18;

// " (it is part 1 of 3, from 0)" of a model that was cut into several files, opened one by one.
std::string part_of(const GgufMetadata& metadata) {
  if (!metadata.has("split.no") || !metadata.has("split.count")) return "";
  if (metadata.integer("split.count") < 2) return "";
  return " (it is part " + std::to_string(metadata.integer("split.no")) + " of " +
         std::to_string(metadata.integer("split.count")) + ", from 0)";
}

}  // namespace

int64_t GgufTensor::rows() const {
  int64_t n = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) n *= shape[i];
  return n;
}

uint64_t GgufTensor::bytes() const {
  return static_cast<uint64_t>(numel(shape) / format->elements * format->bytes);
}

GgufReader::GgufReader(const std::string& path)
    : file_(path, "a .gguf file"),
      header_(parse_gguf([&](uint64_t offset, char* bytes,
                             uint64_t count) { file_.read_at(offset, bytes, count); },
                         file_.size(), path)) {
  for (size_t i = 0; i < header_.tensors.size(); ++i) index_[header_.tensors[i].name] = i;
}

const GgufTensor& GgufReader::tensor(const std::string& name) const {
  auto it = index_.find(name);
  if (it != index_.end()) return header_.tensors[it->second];
  std::vector<std::string> names;
  for (const GgufTensor& known : header_.tensors) names.push_back(known.name);
  const std::string near = nearest(name, names);
  fail_user(path() + part_of(header_.metadata) + ": no tensor \"" + name + "\"" +
            (near.empty() ? " among its " + std::to_string(names.size())
                          : "; did you mean \"" + excerpt(near) + "\"?"));
}

std::vector<float> GgufReader::read(const std::string& name) const {
  const GgufTensor& found = tensor(name);
  std::vector<float> values(static_cast<size_t>(numel(found.shape)));
  read_into(found, 0, found.rows(), values.data());
  return values;
}

void GgufReader::read_into(const GgufTensor& tensor, int64_t first_row, int64_t rows,
                           float* out) const {
  const GgufFormat& format = *tensor.format;
  if (format.decode == nullptr) {
    fail_unsupported(path() + ": tensor \"" + excerpt(tensor.name) + "\" is stored as " +
                     format.name + ", which is not read; expected one of " +
                     readable_gguf_formats());
  }
  if (first_row < 0 || rows < 0 || first_row > tensor.rows() - rows) {
    fail_internal("GgufReader::read_into: rows " + std::to_string(first_row) + " + " +
                  std::to_string(rows) + " of " + std::to_string(tensor.rows()));
  }
  const int64_t row_blocks = tensor.row() / format.elements;
  const int64_t end = (first_row + rows) * row_blocks, most = kPieceBytes / format.bytes;
  std::vector<unsigned char> piece;
  for (int64_t at = first_row * row_blocks; at < end;) {
    const int64_t count = std::min(most, end - at);
    piece.resize(static_cast<size_t>(count * format.bytes));
    file_.read_at(tensor.offset + static_cast<uint64_t>(at * format.bytes),
                  reinterpret_cast<char*>(piece.data()), piece.size());
    format.decode(piece.data(), count, out);
    out += count * format.elements;
    at += count;
  }
}

}  // namespace fusec::io
