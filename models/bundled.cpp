// A bundled model's name to its recorded training step; see bundled.h.
#include "fusec/models/bundled.h"

#include <algorithm>

#include "fusec/base/nearest.h"

namespace fusec::models {
namespace {

const std::string kVision = "vision-gpt:", kText = "gpt:";

}  // namespace

const std::vector<std::string>& bundled_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const std::string& family : {kVision, kText}) {
      for (const std::string& preset : VisionGptConfig::preset_names()) {
        all.push_back(family + preset);
      }
    }
    return all;
  }();
  return names;
}

Bundled bundled(const std::string& name) {
  const auto& names = bundled_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    fail_user("unknown bundled model \"" + name + "\"" + suggest(name, names));
  }
  const std::string preset = name.substr(name.find(':') + 1);
  Bundled b{VisionGptConfig::preset(preset), preset == "tiny" ? 32 : 8, "all"};
  if (name.starts_with(kText)) {
    b.config.resampler.queries = 0;
  } else if (preset != "tiny") {
    b.train = "resampler,projector,embedding,trunk,head";
  }
  return b;
}

RecordedGraph build_bundled(const std::string& name) {
  Bundled b = bundled(name);
  return record_training_step(b.config, b.rows, b.train, {});
}

}  // namespace fusec::models
