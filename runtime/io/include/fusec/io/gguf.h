// Weights and facts of a model in a .gguf file (github.com/ggml-org/ggml, docs/gguf.md), versions 2
// and 3, little-endian: metadata by key, then tensors by name, many of them in quantised blocks,
// which are read as f32. Shapes are this project's, outermost first: the file lists the fastest
// dimension first. Refused, by a user Error that names the file and the fault: another version or
// byte order, a header that ends too early or is longer than 100 MB, a key or a tensor named twice,
// a type that the format does not list, tensors that overlap, pass the end or break the alignment.
// A tensor in a format that is listed but not read (IQ and ternary formats) makes no other one
// unreadable: reading it alone is refused, with the format's name.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/base/shape.h"
#include "fusec/io/file.h"

namespace fusec::io {

// Widths of numbers are dropped; an array in an array is a vector of values.
struct GgufValue {
  std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<bool>,
               std::vector<uint64_t>, std::vector<int64_t>, std::vector<double>,
               std::vector<std::string>, std::vector<GgufValue>>
      data;
};

// "a string", "an array of 3 floats": what a value is, for messages.
FUSEC_API std::string describe(const GgufValue& value);

// What stands in the file beside its tensors. Each query is a user Error if the key is not there
// (ask has() first for those that may be missing) or holds another kind of value.
class FUSEC_API GgufMetadata {
 public:
  // `file` is for messages.
  GgufMetadata(std::string file, std::map<std::string, GgufValue> values)
      : file_(std::move(file)), values_(std::move(values)) {}

  const std::map<std::string, GgufValue>& values() const { return values_; }
  bool has(const std::string& key) const { return values_.contains(key); }
  const GgufValue& at(const std::string& key) const;

  bool flag(const std::string& key) const;
  int64_t integer(const std::string& key) const;  // also of a value that was written unsigned
  double number(const std::string& key) const;    // also of an integer
  const std::string& text(const std::string& key) const;
  std::vector<int64_t> integers(const std::string& key) const;
  std::vector<double> numbers(const std::string& key) const;
  const std::vector<std::string>& texts(const std::string& key) const;

 private:
  [[noreturn]] void mismatch(const std::string& key, const char* expected) const;
  // The value of `key` if it is a T, else a user Error.
  template <class T>
  const T& get(const std::string& key, const char* expected) const;

  std::string file_;
  std::map<std::string, GgufValue> values_;
};

// How elements are stored: in blocks of so many elements and bytes, along the last dimension.
struct GgufFormat {
  uint32_t id;
  const char* name;
  int64_t elements, bytes;
  // `count` blocks to count * elements floats; null where the format is not read.
  void (*decode)(const unsigned char* blocks, int64_t count, float* out);
};

struct GgufTensor {
  std::string name;
  Shape shape;
  const GgufFormat* format = nullptr;  // static
  uint64_t offset = 0;                 // of its first byte in the file

  int64_t row() const { return shape.empty() ? 1 : shape.back(); }  // elements
  int64_t rows() const;                                             // of row() elements each
  uint64_t bytes() const;                                           // in the file
};

struct GgufHeader {
  uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;  // in the order of the file's list
};

// The header of a whole file in memory. `name` is for messages. Touches nothing but `bytes`, and
// allocates at most about twenty bytes for each byte of the header.
FUSEC_API GgufHeader parse_gguf(std::string_view bytes, const std::string& name);

// A file read piece by piece. Its functions may be called by several threads at once.
class FUSEC_API GgufReader {
 public:
  explicit GgufReader(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const GgufHeader& header() const { return header_; }
  bool has(const std::string& name) const { return index_.contains(name); }
  // A user Error if there is none of that name. Of a model that was cut into several files, each
  // with the key "split.count", every file is opened by itself.
  const GgufTensor& tensor(const std::string& name) const;

  // All elements of a tensor, row-major.
  std::vector<float> read(const std::string& name) const;
  // Rows first_row .. first_row + rows - 1 of one of header().tensors to `out`, which has room for
  // rows * tensor.row() floats. A format that is not read, or a file that became shorter, is an
  // Error; `out` may be written in part then. Uses a buffer of about 256 KB besides.
  void read_into(const GgufTensor& tensor, int64_t first_row, int64_t rows, float* out) const;

 private:
  InputFile file_;
  GgufHeader header_;
  std::map<std::string, size_t> index_;
};

}  // namespace fusec::io
