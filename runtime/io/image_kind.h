// Which of the formats that are read some bytes are.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fusec::io {

enum class ImageKind : uint8_t { png, jpeg };

inline constexpr uint64_t kMaxImageBytes = uint64_t{1} << 30;  // of a file

// User Error that says what the bytes are, unless they begin as `kind` does.
void check_kind(ImageKind kind, std::string_view bytes, const std::string& path);

}  // namespace fusec::io
