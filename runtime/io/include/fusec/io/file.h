// Whole files in and out of memory, with errors that name the path and the system's reason.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec::io {

// The bytes of a file. One that is missing, unreadable or over max_bytes is a user Error.
FUSEC_API std::string read_file(const std::string& path, uint64_t max_bytes = uint64_t{1} << 32);

// Writes to "<path>.tmp<pid>" and renames it, so that a reader sees the old file or the new one,
// never half of it. The folder must exist. Two threads must not write the same path at once.
FUSEC_API void write_file(const std::string& path, std::string_view bytes);

}  // namespace fusec::io
