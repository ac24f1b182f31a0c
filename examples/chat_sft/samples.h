// Validation conversations answered by the model as it is: what a run has learned, to read.
#pragma once

#include "fusec/models/packed_trainer.h"
#include "options.h"
#include "setup.h"

namespace fusec::examples {

// Greedy answers to the first question of the first `count` validation documents, decoded with a
// cache; prints them beside what the documents say, and how many are equal.
void print_samples(models::PackedTrainer& trainer, const SftOptions& options, const SftSetup& setup,
                   int64_t count);

// The next batch's packs as colours show them (show_pack.h).
void print_batch(const data::PackedBatch& batch, const SftSetup& setup);

}  // namespace fusec::examples
