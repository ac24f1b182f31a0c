// The start-up table of the data; the others are in run_tables.h.
#pragma once

#include "dataset.h"
#include "fusec/models/trainer.h"
#include "run_tables.h"

namespace fusec::examples {

void print_data_table(const Dataset& data, const models::CaptionTrainer& trainer);

}  // namespace fusec::examples
