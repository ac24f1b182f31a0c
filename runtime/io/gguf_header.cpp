// A GGUF file's first bytes -> metadata and a list of tensors, every size checked against the file
// before anything is allocated for it; see gguf.h.
//   "GGUF", u32 version, u64 tensors, u64 keys
//   keys x    string key, u32 type, value       (a string: u64 length, bytes;
//   tensors x string name, u32 dimensions, u64 sizes, u32 format, u64 offset    an array: u32 type,
//   zeros up to a multiple of general.alignment (32), where offsets count from  u64 count, values)
#include <algorithm>
#include <cstring>
#include <set>

#include "fusec/base/error.h"
#include "fusec/base/utf8.h"
#include "fusec/io/json.h"
#include "gguf_parts.h"

namespace fusec::io {
namespace {

// The largest vocabularies take some 20 MB.
constexpr uint64_t kMaxHeader = 100'000'000;
constexpr uint64_t kMaxName = 65535;
constexpr uint32_t kMaxDimensions = 4;
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kDefaultAlignment = 32;
// The fewest bytes that a key with its value, and an entry of the tensors' list, can take.
constexpr uint64_t kLeastKey = 8 + 1 + 4 + 1, kLeastTensor = 8 + 1 + 4 + 4 + 8;

enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kValueTypes
};
// Bytes that one value of each type takes at least.
constexpr uint64_t kLeastBytes[kValueTypes] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};

class HeaderReader {
 public:
  HeaderReader(const ReadAt& read, uint64_t size, const std::string& file)
      : read_(read), size_(size), file_(file) {}

  [[noreturn]] void broken(const std::string& what) const {
    fail_user(file_ + " is not a sound GGUF file: " + what +
              "; it may be cut short or damaged, write or copy it again");
  }

  uint64_t at() const { return at_; }

  // Fails unless `count` things of at least `each` bytes can still follow.
  void expect(uint64_t count, uint64_t each, const std::string& what) const {
    if (count > (size_ - at_) / each) {
      broken(what + " needs at least " + std::to_string(count) + " x " + std::to_string(each) +
             " bytes, but " + std::to_string(size_ - at_) + " are left of its " +
             std::to_string(size_));
    }
    if (count > (kMaxHeader - at_) / each) {
      broken(what + " makes its header longer than " + std::to_string(kMaxHeader) + " bytes");
    }
  }

  template <class T>
  T number(const std::string& what) {
    T value;
    expect(1, sizeof value, what);
    bytes(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }

  std::string text(const std::string& what) {
    const auto length = number<uint64_t>(what);
    expect(length, 1, what);
    std::string value(length, '\0');
    bytes(value.data(), length);
    return value;
  }

  // A key or the name of a tensor.
  std::string name(const std::string& what) {
    std::string value = text(what);
    if (value.empty() || value.size() > kMaxName || !is_utf8(value)) {
      broken(what + " has " + std::to_string(value.size()) + " bytes, expected UTF-8 of 1 to " +
             std::to_string(kMaxName));
    }
    return value;
  }

 private:
  // The next `count` bytes, which are there; through a window, as most are few.
  void bytes(char* to, uint64_t count) {
    while (count > 0) {
      if (at_ < start_ || at_ >= start_ + window_.size()) {
        start_ = at_;
        window_.resize(std::min<uint64_t>(kWindow, size_ - at_));
        read_(start_, window_.data(), window_.size());
      }
      const uint64_t some = std::min(count, start_ + window_.size() - at_);
      std::memcpy(to, window_.data() + (at_ - start_), some);
      to += some;
      at_ += some;
      count -= some;
    }
  }

  static constexpr uint64_t kWindow = 1 << 16;

  const ReadAt& read_;
  uint64_t size_, at_ = 0, start_ = 0;  // start_: of the window in the file
  std::string window_;
  const std::string& file_;
};

bool read_flag(HeaderReader& in, const std::string& what) {
  const auto byte = in.number<uint8_t>(what);
  if (byte > 1) in.broken(what + " is a bool of " + std::to_string(byte) + ", expected 0 or 1");
  return byte == 1;
}

// Arrays of T, each element read by `next`.
template <class T, class Next>
GgufValue array_of(uint64_t count, Next next) {
  GgufValue value;
  auto& items = value.data.emplace<std::vector<T>>();
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) items.push_back(next());
  return value;
}

GgufValue read_array(HeaderReader& in, const std::string& what, int depth) {
  if (depth > kMaxArrayDepth) {
    in.broken(what + " has more than " + std::to_string(kMaxArrayDepth) +
              " arrays inside each other");
  }
  const auto type = in.number<uint32_t>(what);
  const auto count = in.number<uint64_t>(what);
  if (type >= kValueTypes) {
    in.broken(what + " is an array of unknown type " + std::to_string(type));
  }
  in.expect(count, kLeastBytes[type], what);
  switch (static_cast<ValueType>(type)) {
    case kU8: return array_of<uint64_t>(count, [&] { return in.number<uint8_t>(what); });
    case kI8: return array_of<int64_t>(count, [&] { return in.number<int8_t>(what); });
    case kU16: return array_of<uint64_t>(count, [&] { return in.number<uint16_t>(what); });
    case kI16: return array_of<int64_t>(count, [&] { return in.number<int16_t>(what); });
    case kU32: return array_of<uint64_t>(count, [&] { return in.number<uint32_t>(what); });
    case kI32: return array_of<int64_t>(count, [&] { return in.number<int32_t>(what); });
    case kU64: return array_of<uint64_t>(count, [&] { return in.number<uint64_t>(what); });
    case kI64: return array_of<int64_t>(count, [&] { return in.number<int64_t>(what); });
    case kF32: return array_of<double>(count, [&] { return in.number<float>(what); });
    case kF64: return array_of<double>(count, [&] { return in.number<double>(what); });
    case kBool: return array_of<bool>(count, [&] { return read_flag(in, what); });
    case kString: return array_of<std::string>(count, [&] { return in.text(what); });
    case kArray: return array_of<GgufValue>(count, [&] { return read_array(in, what, depth + 1); });
    case kValueTypes: break;
  }
  fail_internal("GGUF value type " + std::to_string(type));
}

GgufValue read_value(HeaderReader& in, const std::string& what) {
  const auto type = in.number<uint32_t>(what);
  GgufValue value;
  switch (static_cast<ValueType>(type)) {
    case kU8: value.data.emplace<uint64_t>(in.number<uint8_t>(what)); return value;
    case kI8: value.data.emplace<int64_t>(in.number<int8_t>(what)); return value;
    case kU16: value.data.emplace<uint64_t>(in.number<uint16_t>(what)); return value;
    case kI16: value.data.emplace<int64_t>(in.number<int16_t>(what)); return value;
    case kU32: value.data.emplace<uint64_t>(in.number<uint32_t>(what)); return value;
    case kI32: value.data.emplace<int64_t>(in.number<int32_t>(what)); return value;
    case kU64: value.data.emplace<uint64_t>(in.number<uint64_t>(what)); return value;
    case kI64: value.data.emplace<int64_t>(in.number<int64_t>(what)); return value;
    case kF32: value.data.emplace<double>(in.number<float>(what)); return value;
    case kF64: value.data.emplace<double>(in.number<double>(what)); return value;
    case kBool: value.data.emplace<bool>(read_flag(in, what)); return value;
    case kString: value.data.emplace<std::string>(in.text(what)); return value;
    case kArray: return read_array(in, what, 1);
    default: in.broken(what + " has unknown type " + std::to_string(type));
  }
}

GgufTensor read_tensor(HeaderReader& in, size_t number) {
  GgufTensor tensor;
  tensor.name = in.name("the name of tensor " + std::to_string(number));
  const std::string what = "tensor \"" + excerpt(tensor.name) + "\"";
  const auto dimensions = in.number<uint32_t>(what);
  if (dimensions > kMaxDimensions) {
    in.broken(what + " has " + std::to_string(dimensions) + " dimensions, expected at most " +
              std::to_string(kMaxDimensions));
  }
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = in.number<uint64_t>(what);
    if (size > uint64_t{kMaxElements}) {
      in.broken(what + " has a dimension of " + std::to_string(size));
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  int64_t elements = 1;  // in the order of numel(), so that no product of it overflows either
  for (int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(elements, size, &elements) || elements > kMaxElements) {
      in.broken(what + " has an impossible shape " + str(tensor.shape));
    }
  }
  const auto id = in.number<uint32_t>(what);
  tensor.format = gguf_format(id);
  if (tensor.format == nullptr) {
    in.broken(what + " has unknown format " + std::to_string(id) +
              " (read: " + readable_gguf_formats() + ")");
  }
  if (tensor.row() % tensor.format->elements != 0) {
    in.broken(what + " " + str(tensor.shape) + " has rows of " + std::to_string(tensor.row()) +
              ", expected a multiple of " + tensor.format->name + "'s " +
              std::to_string(tensor.format->elements));
  }
  tensor.offset = in.number<uint64_t>(what);
  return tensor;
}

uint64_t alignment_of(const HeaderReader& in, const GgufMetadata& metadata) {
  const std::string key = "general.alignment";
  if (!metadata.has(key)) return kDefaultAlignment;
  const auto* value = std::get_if<uint64_t>(&metadata.at(key).data);
  if (value == nullptr || *value == 0 || (*value & (*value - 1)) != 0 || *value > UINT32_MAX) {
    in.broken(key + " is " + describe(metadata.at(key)) + ", expected a power of two");
  }
  return *value;
}

// Turns offsets from the end of the header into offsets in the file.
void place(const HeaderReader& in, uint64_t alignment, uint64_t size,
           std::vector<GgufTensor>& tensors) {
  const uint64_t start = (in.at() + alignment - 1) / alignment * alignment;
  std::vector<const GgufTensor*> in_order;
  for (GgufTensor& tensor : tensors) {
    const std::string what = "tensor \"" + excerpt(tensor.name) + "\"";
    if (tensor.offset % alignment != 0) {
      in.broken(what + " begins at " + std::to_string(tensor.offset) +
                ", expected a multiple of the alignment " + std::to_string(alignment));
    }
    const uint64_t bytes = tensor.bytes();
    if (bytes > 0 &&
        (start > size || tensor.offset > size - start || bytes > size - start - tensor.offset)) {
      in.broken(what + " of " + std::to_string(bytes) + " bytes at " + std::to_string(start) +
                " + " + std::to_string(tensor.offset) + " passes the end of its " +
                std::to_string(size) + " bytes");
    }
    tensor.offset = bytes == 0 ? start : start + tensor.offset;
    if (bytes > 0) in_order.push_back(&tensor);
  }
  std::sort(in_order.begin(), in_order.end(),
            [](const GgufTensor* a, const GgufTensor* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < in_order.size(); ++i) {
    const GgufTensor &before = *in_order[i - 1], &tensor = *in_order[i];
    if (before.offset + before.bytes() > tensor.offset) {
      in.broken("tensors \"" + excerpt(before.name) + "\" and \"" + excerpt(tensor.name) +
                "\" overlap");
    }
  }
}

void check_version(const HeaderReader& in, uint32_t version) {
  if (version == 2 || version == 3) return;
  if ((version & 0xffff) == 0 && version != 0) {
    in.broken("it is big-endian, expected little-endian (convert it on the machine it is from)");
  }
  in.broken("it has version " + std::to_string(version) + ", expected 2 or 3");
}

}  // namespace

GgufHeader parse_gguf(const ReadAt& read, uint64_t size, const std::string& name) {
  HeaderReader in(read, size, name);
  const auto magic = in.number<uint32_t>("the word GGUF");
  if (std::memcmp(&magic, "GGUF", 4) != 0) in.broken("it does not begin with the word GGUF");
  const auto version = in.number<uint32_t>("the version");
  check_version(in, version);
  const auto tensor_count = in.number<uint64_t>("the number of tensors");
  const auto key_count = in.number<uint64_t>("the number of keys");
  in.expect(key_count, kLeastKey, "metadata of " + std::to_string(key_count) + " keys");
  std::map<std::string, GgufValue> values;
  for (uint64_t i = 0; i < key_count; ++i) {
    std::string key = in.name("metadata key " + std::to_string(i));
    const std::string what = "metadata \"" + excerpt(key) + "\"";
    if (values.contains(key)) in.broken(what + " stands twice");
    values.emplace(std::move(key), read_value(in, what));
  }
  GgufHeader header{version, GgufMetadata(name, std::move(values)), {}};
  const uint64_t alignment = alignment_of(in, header.metadata);
  in.expect(tensor_count, kLeastTensor, "a list of " + std::to_string(tensor_count) + " tensors");
  std::set<std::string_view> names;
  header.tensors.reserve(tensor_count);  // names are views into it
  for (uint64_t i = 0; i < tensor_count; ++i) {
    header.tensors.push_back(read_tensor(in, i));
    if (!names.insert(header.tensors.back().name).second) {
      in.broken("tensor \"" + excerpt(header.tensors.back().name) + "\" stands twice");
    }
  }
  place(in, alignment, size, header.tensors);
  return header;
}

GgufHeader parse_gguf(std::string_view bytes, const std::string& name) {
  return parse_gguf([&](uint64_t offset, char* to,
                        uint64_t count) { std::memcpy(to, bytes.data() + offset, count); },
                    bytes.size(), name);
}

}  // namespace fusec::io
