// A GGUF file put together byte by byte, sound or not, for tests of its reader.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace fusec::tests {

template <class T>
std::string raw(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}
inline std::string raw_text(const std::string& text) { return raw<uint64_t>(text.size()) + text; }

struct GgufFile {
  uint32_t version = 3;
  uint64_t alignment = 32;
  uint64_t extra_keys = 0, extra_tensors = 0;  // claimed, not there
  std::string keys, tensors, payload;
  uint64_t key_count = 0, tensor_count = 0;

  // `value` is the bytes behind the type.
  GgufFile& key(const std::string& name, uint32_t type, const std::string& value) {
    keys += raw_text(name) + raw(type) + value;
    ++key_count;
    return *this;
  }
  GgufFile& array(const std::string& name, uint32_t type, uint64_t count,
                  const std::string& values) {
    return key(name, 9, raw(type) + raw(count) + values);
  }
  // `sizes` as the file has them, the fastest dimension first. The bytes follow those of the tensor
  // before, aligned; `shift` is added to the offset that is written.
  GgufFile& tensor(const std::string& name, const std::vector<uint64_t>& sizes, uint32_t format,
                   const std::string& bytes, uint64_t shift = 0) {
    payload.append((alignment - payload.size() % alignment) % alignment, '\0');
    tensors += raw_text(name) + raw(static_cast<uint32_t>(sizes.size()));
    for (uint64_t size : sizes) tensors += raw(size);
    tensors += raw(format) + raw<uint64_t>(payload.size() + shift);
    payload += bytes;
    ++tensor_count;
    return *this;
  }

  std::string bytes() const {
    std::string file = "GGUF" + raw(version) + raw(tensor_count + extra_tensors) +
                       raw(key_count + extra_keys) + keys + tensors;
    file.append((alignment - file.size() % alignment) % alignment, '\0');
    return file + payload;
  }
};

}  // namespace fusec::tests
