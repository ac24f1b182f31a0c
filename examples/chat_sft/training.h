// The loop: updates from packed batches, learning-rate schedule, validation, metrics, checkpoints.
#pragma once

#include <memory>

#include "fusec/models/packed_trainer.h"
#include "metrics_file.h"
#include "options.h"
#include "setup.h"

namespace fusec::examples {

struct SftData {
  std::unique_ptr<data::BatchPipeline> train, validation;
  int64_t documents = 0;  // of one pass; 0 if the run is bounded by steps alone
};

struct SftLog {
  int64_t steps = 0;
  double seconds = 0, seconds_in_steps = 0;
  double data_share = 0;  // of the time in steps that was spent waiting for batches
  std::optional<double> best_loss;
  int64_t best_step = -1;
  std::string best;          // its checkpoint; "": none
  bool interrupted = false;  // by a signal; a checkpoint of `steps` is there
};

std::string checkpoint_folder(const SftOptions& options);
std::string metrics_path(const SftOptions& options);

// The checkpoint that --resume names, or "". Reads headers alone. User Errors as vision_pretrain's:
// none there, other settings, an unfinished run in --out that a new one would overwrite.
std::string find_start(const SftOptions& options, const SftSetup& setup);

// Runs from `checkpoint`, or from the trainer's first weights, to the end of the steps or epochs,
// until --patience is over, or until a signal. Epochs count consumed documents. Ten steps in a row
// that are not finite are a user Error.
SftLog run_training(models::PackedTrainer& trainer, SftData& data, const SftOptions& options,
                    const SftSetup& setup, const std::string& checkpoint);

}  // namespace fusec::examples
