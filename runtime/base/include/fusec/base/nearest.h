// "Did you mean ...?": the nearest valid name to a wrong one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"

namespace fusec {

// The candidate of smallest edit distance (Levenshtein), or "" if none is within half the length
// of `name` (at least 2).
FUSEC_API std::string nearest(std::string_view name, const std::vector<std::string>& candidates);

// " (did you mean \"x\"?)" or " (known: a, b, c)" - ready to append to a message.
FUSEC_API std::string suggest(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace fusec
