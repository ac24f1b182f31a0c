// What the benches of whole programs share: spread of times, age of the process, one JSON object.
#pragma once

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
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

// Seconds since the process was started, loading of its libraries included; in steps of 10 ms, as
// the system keeps it.
inline double process_age() {
  std::ifstream file("/proc/self/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t at = text.rfind(')');  // the program's name may hold anything
  for (int field = 2; field < 22 && at != std::string::npos; ++field) at = text.find(' ', at + 1);
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  if (at == std::string::npos) return 0;
  const double started = std::stod(text.substr(at)) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec) - started;
}

// Appended to `path` as one line, so that repeated runs can share a file; nothing without a path.
inline void write_line(const std::string& path, const nlohmann::ordered_json& object) {
  if (path.empty()) return;
  io::LineFile(path, UINT64_MAX).append(object.dump());
}

}  // namespace fusec::bench
