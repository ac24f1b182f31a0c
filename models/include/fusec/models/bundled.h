// Models that come with Fusec, by name: what `fusec --dump-ir vision-gpt:tiny` and the benches run.
#pragma once

#include <string>
#include <vector>

#include "fusec/models/graphs.h"

namespace fusec::models {

// "vision-gpt:tiny", "vision-gpt:d12", "vision-gpt:d20", "vision-gpt:d32".
const std::vector<std::string>& bundled_names();

// The whole training step (forward, backward, clip, AdamW). tiny: 32 rows, everything trained. The
// others: 8 rows of 2048 tokens with one picture each, the encoder frozen, as pretraining runs it.
// An unknown name is a user Error with the nearest one.
RecordedGraph build_bundled(const std::string& name);

}  // namespace fusec::models
