// A model's configuration file.
#include "fusec/models/config.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  for (const std::string& preset : models::VisionGptConfig::preset_names())
    out.push_back(models::config_text(models::VisionGptConfig::preset(preset)));
  return out;
}

void read_bytes(std::string_view bytes) { (void)models::parse_config(bytes, "bytes"); }

}  // namespace fusec::fuzz
