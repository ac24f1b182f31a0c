// Models that come with Fusec, by name: what `fusec --dump-ir vision-gpt:tiny` and the benches run.
#pragma once

#include <string>
#include <vector>

#include "fusec/models/graphs.h"

namespace fusec::models {

// "vision-gpt:tiny", "vision-gpt:d12", "vision-gpt:d20", "vision-gpt:d32", and the same presets
// without pictures: "gpt:tiny", ...
const std::vector<std::string>& bundled_names();

// What a name stands for. tiny: 32 rows, everything trained. The others: 8 rows of 2048 tokens,
// with one picture each and the encoder frozen, as pretraining runs it, or everything trained
// where there are no pictures. An unknown name is a user Error with the nearest one.
struct Bundled {
  VisionGptConfig config;
  int64_t rows = 0;
  std::string train;  // a selection for trainable()
};
Bundled bundled(const std::string& name);

// Its whole training step: forward, backward, clip, AdamW. Fails as bundled().
RecordedGraph build_bundled(const std::string& name);

}  // namespace fusec::models
