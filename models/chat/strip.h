// What Python's str.strip() takes off, which is what Jinja's `trim` does, and JSON strings as
// Python's json.dumps(ensure_ascii=False) writes them.
#pragma once

#include <string>
#include <string_view>

namespace fusec::models {

// Without the white space (in Python's sense: Unicode's, and the separators U+001C to U+001F) at
// the beginning, or at the end.
std::string_view strip_begin(std::string_view text);
std::string_view strip_end(std::string_view text);

std::string json_quoted(std::string_view text);

}  // namespace fusec::models
