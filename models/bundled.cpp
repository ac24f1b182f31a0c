// A bundled model's name to its recorded training step; see bundled.h.
#include "fusec/models/bundled.h"

#include <algorithm>

#include "fusec/base/nearest.h"

namespace fusec::models {
namespace {

const std::string kPrefix = "vision-gpt:";

}  // namespace

const std::vector<std::string>& bundled_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const std::string& preset : VisionGptConfig::preset_names()) {
      all.push_back(kPrefix + preset);
    }
    return all;
  }();
  return names;
}

RecordedGraph build_bundled(const std::string& name) {
  const auto& names = bundled_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    fail_user("unknown bundled model \"" + name + "\"" + suggest(name, names));
  }
  VisionGptConfig config = VisionGptConfig::preset(name.substr(kPrefix.size()));
  if (config.name == "tiny") return record_training_step(config, 32, "all", {});
  return record_training_step(config, 8, "resampler,projector,embedding,trunk,head", {});
}

}  // namespace fusec::models
