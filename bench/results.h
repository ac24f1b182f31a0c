// What the benches of whole programs share: spread of times, one JSON object.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "fusec/io/file.h"
#include "fusec/io/json.h"

namespace fusec::bench {

struct Spread {
  double median = 0, least = 0, most = 0;
};
inline Spread spread(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  if (v.empty()) return {};
  return {v[v.size() / 2], v.front(), v.back()};
}

// Appended to `path` as one line, so that repeated runs can share a file; nothing without a path.
inline void write_line(const std::string& path, const nlohmann::ordered_json& object) {
  if (path.empty()) return;
  io::LineFile(path, UINT64_MAX).append(object.dump());
}

}  // namespace fusec::bench
