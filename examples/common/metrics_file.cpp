// Lines of JSON to a file; see metrics_file.h.
#include "metrics_file.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "fusec/base/error.h"

namespace fusec::examples {

void MetricsFile::write(const nlohmann::ordered_json& line) {
  try {
    file_.append(line.dump());
  } catch (const Error& error) {
    if (!warned_)
      std::fprintf(stderr, "warning: %s\nmetrics are incomplete from here on; training goes on\n",
                   error.message().c_str());
    warned_ = true;
  }
}

}  // namespace fusec::examples
