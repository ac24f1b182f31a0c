// Amounts of memory as people write them.
#pragma once

#include <cstdint>
#include <string>

#include "fusec/base/export.h"

namespace fusec {

// "512", "64K", "64M", "1.5G" -> bytes (K, M, G are powers of 1024; the letter may be small). A
// user Error that names `what` ("--memory-budget") for anything else.
FUSEC_API int64_t parse_bytes(const std::string& text, const std::string& what);

// "83.11 MB"; 10^6 bytes, as everywhere in reports.
FUSEC_API std::string size_text(int64_t bytes);

}  // namespace fusec
