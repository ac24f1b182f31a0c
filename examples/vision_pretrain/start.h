// Where a run begins: with random weights, with imported ones, or where a checkpoint stands.
#pragma once

#include <string>

#include "dataset.h"
#include "fusec/models/train_state.h"
#include "fusec/models/trainer.h"
#include "options.h"

namespace fusec::examples {

std::string checkpoint_folder(const RunOptions& options);
std::string metrics_path(const RunOptions& options);

// The checkpoint that --resume names, or "" for a new run. Reads no more than headers, so that what
// is wrong is said before the model is compiled. User Errors: no such checkpoint; settings that
// differ from the recorded ones; a new run into a folder that holds the checkpoints of an
// unfinished one, which it would overwrite.
std::string find_start(const RunOptions& options);

// Fills the trainer accordingly and prints with what. A new run removes the checkpoints of the
// finished one that it replaces. The state's metrics_bytes fit the metrics file of --out.
models::TrainState begin_run(models::CaptionTrainer& trainer, const Dataset& data,
                             const RunOptions& options, const std::string& checkpoint);

}  // namespace fusec::examples
