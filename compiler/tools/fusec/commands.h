// The commands of the fusec tool that show no stage: build, cache.
#pragma once

#include <string>
#include <vector>

#include "fusec/inspect.h"

namespace fusec::tool {

// "code: 59 kernels, 59 from the cache, 0 compiled".
std::string code_line(const Inspection& result);

// fusec build: writes the saved plan to `path` and says what it wrote. `device`: as --device.
void write_saved_plan(const std::string& image, const std::string& device, const std::string& path);

// fusec cache [clear]: shows or empties the folder of compiled code. A wrong word is a user Error.
void cache_command(const std::vector<std::string>& words);

}  // namespace fusec::tool
