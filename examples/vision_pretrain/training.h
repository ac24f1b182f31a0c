// The training loop: batches in shuffled order, learning-rate schedule, validation, metrics,
// checkpoints.
#pragma once

#include <vector>

#include "dataset.h"
#include "fusec/models/train_state.h"
#include "fusec/models/trainer.h"
#include "metrics.h"
#include "options.h"
#include "picture.h"

namespace fusec::examples {

struct TrainingLog {
  std::vector<Curve> curves;  // training loss (mean over log_every steps), then each held-out set
  int64_t steps = 0;
  double seconds = 0;  // validations included
  double seconds_in_steps = 0;
  bool interrupted = false;  // by a signal; a checkpoint of `steps` is there
};

// Runs from `state`, which the trainer must be in, until `steps` or `minutes` is reached or a
// signal comes. The lowest mean of the validation losses is what best.safetensors is kept for.
//
// A checkpoint that cannot be written (a full disk) is a warning: the earlier ones are as they
// were, and the next is tried when it is due. After a signal there is no next, and it is a user
// Error. A loss or gradient that is not finite is reported with its step; no checkpoint is taken
// after it; ten in a row are a user Error, and the last good checkpoint stays.
TrainingLog run_training(models::CaptionTrainer& trainer, const Dataset& data,
                         const RunOptions& options, Metrics& metrics,
                         const models::TrainState& state);

}  // namespace fusec::examples
