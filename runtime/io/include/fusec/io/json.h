// JSON text from a file that may hold anything -> a value, or a user Error. What nlohmann-json lets
// pass and a reader of data must not: a key given twice (one of the two would be dropped without a
// word), and nesting without end (a few bytes of text would become a hundred of memory each).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec::io {

// `place` begins the message ("a.jsonl:3"). `max_depth` counts arrays and objects inside each
// other: 1 allows {"a": 1}. Text that is not UTF-8, is not JSON, repeats a key or nests deeper is a
// user Error with the column (from 1, in bytes).
FUSEC_API nlohmann::json parse_json(std::string_view text, const std::string& place, int max_depth);

// "a string", "an empty array": what a value is, for messages.
FUSEC_API std::string describe(const nlohmann::json& value);

// Text of unknown length for a message: at most `most` bytes, cut between characters.
FUSEC_API std::string excerpt(std::string_view text, size_t most = 80);

}  // namespace fusec::io
