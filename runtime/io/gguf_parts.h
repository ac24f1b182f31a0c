// What the files of the GGUF reader share.
#pragma once

#include <functional>

#include "fusec/io/gguf.h"

namespace fusec::io {

// Fills `bytes` with the file's `count` bytes at `offset`, which all lie in the file.
using ReadAt = std::function<void(uint64_t offset, char* bytes, uint64_t count)>;

// parse_gguf of a file of `size` bytes; asks for little more than its header.
GgufHeader parse_gguf(const ReadAt& read, uint64_t size, const std::string& name);

// Null if the format lists no such type.
const GgufFormat* gguf_format(uint32_t id);
// "f32, f16, ...": the names of those that can be read.
std::string readable_gguf_formats();

}  // namespace fusec::io
