// The start-up tables of a run: what will be trained, in how much memory, and by which backends.
#pragma once

#include "dataset.h"
#include "fusec/models/trainer.h"

namespace fusec::examples {

void print_data_table(const Dataset& data, const models::CaptionTrainer& trainer);
void print_model_table(const models::CaptionTrainer& trainer);
// Planned bytes by class and the largest tensors at the peak: nothing here is measured, it is what
// the plan reserves.
void print_memory_table(const Executable& step);
void print_backend_table(const models::CaptionTrainer& trainer, const Executable& step);

}  // namespace fusec::examples
