// Safetensors bytes <-> named, typed ranges of a file; see safetensors.h.
#include "fusec/io/safetensors.h"

#include <algorithm>

#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::io {
namespace {

using nlohmann::json;

struct TypeName {
  const char* name;
  DType type;
};
constexpr TypeName kTypes[] = {{"F64", f64}, {"F32", f32}, {"BF16", bf16},
                               {"F16", f16}, {"I64", i64}, {"I32", i32},
                               {"U8", u8},   {"BOOL", b8}, {"F8_E4M3", f8e4m3}};
// The format's own limit on the header.
constexpr uint64_t kMaxHeader = 100'000'000;
// {"name": {"shape": [...]}}
constexpr int kHeaderDepth = 3;

[[noreturn]] void broken(const std::string& file, const std::string& what) {
  fail_user(file + " is not a sound safetensors file: " + what +
            "; it may be cut short or damaged, write or copy it again");
}

uint64_t header_size(std::string_view bytes, uint64_t file_size, const std::string& file) {
  if (std::min<uint64_t>(bytes.size(), file_size) < 8) {
    broken(file, "it has " + std::to_string(file_size) + " bytes, expected at least 8");
  }
  uint64_t size = 0;
  for (int i = 0; i < 8; ++i) size |= uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  if (size > kMaxHeader || size > file_size - 8) {
    broken(file,
           "its header claims " + std::to_string(size) + " bytes of " + std::to_string(file_size));
  }
  return size;
}

uint64_t natural(const json& value, const std::string& file, const std::string& what) {
  if (!value.is_number_unsigned()) {
    broken(file, what + " holds " + describe(value) + ", expected a whole number of 0 or more");
  }
  return value.get<uint64_t>();
}

const json& field(const json& entry, const char* key, const std::string& file,
                  const std::string& what) {
  auto it = entry.find(key);
  if (it == entry.end()) broken(file, what + " has no \"" + key + "\"");
  return *it;
}

// `payload` is the number of bytes behind the header, which begin at `start`.
TensorEntry parse_entry(const std::string& file, const std::string& name, const json& entry,
                        uint64_t start, uint64_t payload) {
  const std::string what = "tensor \"" + excerpt(name) + "\"";
  if (!entry.is_object()) {
    broken(file, what + " is " + describe(entry) + ", expected {dtype, shape, data_offsets}");
  }
  const json& type = field(entry, "dtype", file, what);
  auto known = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeName& t) {
    return type.is_string() && type.get_ref<const std::string&>() == t.name;
  });
  if (known == std::end(kTypes)) {
    broken(file, what + " has unknown element type " + excerpt(type.dump()) +
                     " (known: F64, F32, BF16, F16, I64, I32, U8, BOOL, F8_E4M3)");
  }
  TensorEntry tensor{name, {{}, known->type}, 0};
  const json& shape = field(entry, "shape", file, what);
  const json& offsets = field(entry, "data_offsets", file, what);
  if (!shape.is_array() || !offsets.is_array() || offsets.size() != 2) {
    broken(file, what + ": expected \"shape\" to be an array and \"data_offsets\" one of two");
  }
  uint64_t bytes = static_cast<uint64_t>(size_of(known->type));
  for (const json& size : shape) {
    const uint64_t n = natural(size, file, what + "'s shape");
    if (n > uint64_t{INT64_MAX} || __builtin_mul_overflow(bytes, n, &bytes)) {
      broken(file, what + " has an impossible shape");
    }
    tensor.type.shape.push_back(static_cast<int64_t>(n));
  }
  const uint64_t begin = natural(offsets[0], file, what + "'s data_offsets");
  const uint64_t end = natural(offsets[1], file, what + "'s data_offsets");
  if (begin > end || end > payload) {
    broken(file, what + " lies outside the file's " + std::to_string(payload) + " bytes");
  }
  if (end - begin != bytes) {
    broken(file, what + " " + excerpt(tensor.type.str()) + " needs " + std::to_string(bytes) +
                     " bytes, found " + std::to_string(end - begin));
  }
  tensor.offset = start + begin;
  return tensor;
}

// Every byte behind the header belongs to exactly one tensor.
void check_layout(SafetensorsHeader& header, uint64_t start, uint64_t file_size,
                  const std::string& file) {
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorEntry& a, const TensorEntry& b) {
              if (a.offset != b.offset) return a.offset < b.offset;
              return a.type.bytes() < b.type.bytes();  // empty ones share their neighbour's offset
            });
  uint64_t at = start;
  for (const TensorEntry& tensor : header.tensors) {
    if (tensor.offset != at) broken(file, "its tensors overlap or leave a gap");
    at += static_cast<uint64_t>(tensor.type.bytes());
  }
  if (at != file_size) {
    broken(file, "it has " + std::to_string(file_size - at) + " bytes that no tensor owns");
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view bytes, uint64_t file_size,
                                           const std::string& name) {
  const uint64_t size = header_size(bytes, file_size, name);
  if (bytes.size() < 8 + size) {
    fail_internal("parse_safetensors_header: a header of " + std::to_string(size) +
                  " bytes, found " + std::to_string(bytes.size() - 8) + " of them");
  }
  const uint64_t start = 8 + size;
  json text;
  try {
    text = parse_json(bytes.substr(8, size), name, kHeaderDepth);
  } catch (const Error& error) {
    broken(name, "its header does not parse (" + error.message() + ")");
  }
  if (!text.is_object()) broken(name, "its header is " + describe(text) + ", expected an object");
  SafetensorsHeader header;
  for (const auto& [key, entry] : text.items()) {
    if (key != "__metadata__") {
      header.tensors.push_back(parse_entry(name, key, entry, start, file_size - start));
      continue;
    }
    if (!entry.is_object()) broken(name, "its metadata is " + describe(entry));
    for (const auto& [word, value] : entry.items()) {
      if (!value.is_string()) {
        broken(name,
               "metadata \"" + excerpt(word) + "\" is " + describe(value) + ", expected a string");
      }
      header.metadata[word] = value.get<std::string>();
    }
  }
  check_layout(header, start, file_size, name);
  return header;
}

SafetensorsHeader parse_safetensors(std::string_view file, const std::string& name) {
  return parse_safetensors_header(file, file.size(), name);
}

SafetensorsReader::SafetensorsReader(const std::string& path) : file_(path, "a .safetensors file") {
  std::string head(std::min<uint64_t>(8, file_.size()), '\0');
  file_.read_at(0, head.data(), head.size());
  head.resize(8 + header_size(head, file_.size(), path));
  file_.read_at(8, head.data() + 8, head.size() - 8);
  header_ = parse_safetensors_header(head, file_.size(), path);
}

std::string SafetensorsReader::read(const TensorEntry& tensor) const {
  std::string bytes(static_cast<size_t>(tensor.type.bytes()), '\0');
  file_.read_at(tensor.offset, bytes.data(), bytes.size());
  return bytes;
}

void write_safetensors(const std::string& path, const std::vector<NamedType>& tensors,
                       const std::map<std::string, std::string>& metadata,
                       const std::function<std::string_view(size_t)>& bytes_of, bool durable) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const NamedType& t : tensors) {
    auto known = std::find_if(std::begin(kTypes), std::end(kTypes),
                              [&](const TypeName& row) { return row.type == t.type.dtype; });
    if (header.contains(t.name)) {
      fail_internal("write_safetensors: two tensors named " + t.name);
    }
    const uint64_t end = offset + static_cast<uint64_t>(t.type.bytes());
    header[t.name] = {
        {"dtype", known->name}, {"shape", t.type.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // the payload starts aligned
  std::string head;
  for (int i = 0; i < 8; ++i) head += static_cast<char>(text.size() >> (8 * i));
  AtomicFile file(path);
  file.append(head + text);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string_view bytes = bytes_of(i);
    if (static_cast<int64_t>(bytes.size()) != tensors[i].type.bytes()) {
      fail_internal("write_safetensors: " + tensors[i].name + " " + tensors[i].type.str() +
                    " holds " + std::to_string(bytes.size()) + " bytes");
    }
    file.append(bytes);
  }
  file.commit(durable);
}

}  // namespace fusec::io
