// One model trained on packs from a data pipeline: updates of one pack or of several, validation,
// checkpoints. What CaptionTrainer is for captions, without knowing what a token means.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fusec/data/pipeline.h"
#include "fusec/models/checkpoint.h"
#include "fusec/models/packed_graphs.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

struct PackedTrainerOptions {
  PackedModel model;
  std::string train = "all";  // see trainable() in graphs.h
  int64_t accumulate = 1;     // batches an update
  AdamWOptions optimizer;
  uint64_t seed = 0;       // of the first parameter values
  CompileOptions compile;  // `share` is ignored
};

struct PackedStepResult {
  double loss = 0;       // mean over the update's supervised tokens; 0 if there are none
  double grad_norm = 0;  // before clipping
  int64_t supervised = 0, filled = 0, documents = 0, images = 0;
  uint64_t epoch = 0;  // of the data, of the last batch
  // The loss or the gradient norm was not finite: nothing was updated, the step does not count for
  // the optimizer, and `culprit` says what was found.
  bool skipped = false;
  std::string culprit;
};

// The shape of packs that `batches` have.
PackShape pack_shape(const data::BatchShape& batches);

class PackedTrainer {
 public:
  // Compiles, and draws the first parameters.
  explicit PackedTrainer(PackedTrainerOptions options);

  // One update at learning rate `lr` from the pipeline's next `accumulate` batches. The pipeline
  // must not end (EpochEnd::carry), have the trainer's shapes, and be the same in every call: the
  // batch after them is taken, too, and copied to the device while they are computed.
  PackedStepResult step(data::BatchPipeline& data, double lr);
  // Where the data stand after what was trained on: what a checkpoint records, one batch before the
  // pipeline's own state. Nothing before the first step.
  const data::PipelineState* consumed() const { return taken_ ? &taken_.state() : nullptr; }

  // Mean loss over the supervised tokens of one epoch, which the pipeline must end
  // (EpochEnd::flush); 0 for none. Updates nothing.
  double evaluate(data::BatchPipeline& data);

  // A checkpoint of this moment; fails as save_checkpoint(). Step and random numbers of the state
  // are filled in here.
  void save(const std::string& path, CheckpointInfo info) const;
  // Goes on from a checkpoint, bit for bit. The caller has compared run, tokenizer and data; a
  // model or seed other than this one's is a user Error, and then this trainer is as it was.
  TrainState resume(const std::string& path);
  // Weights of a checkpoint of this model alone; moments and step stay.
  void take_weights(const std::string& path);

  // The plans that hold the parameters: one, or accumulation and update.
  std::vector<LoadedPlan*> plans();
  std::vector<const LoadedPlan*> plans() const;
  // The executable that reads batches: its plan, backends and parameters.
  Executable& training() { return training_; }
  const Executable& training() const { return training_; }

  const PackedTrainerOptions& options() const { return options_; }
  const std::vector<ModuleCount>& modules() const { return modules_; }
  int64_t trained_parameters() const { return trained_parameters_; }
  int64_t steps() const { return steps_; }
  int64_t skipped() const { return skipped_; }

 private:
  void count(const RecordedGraph& recorded);
  void look_ahead(data::BatchPipeline& data);

  PackedTrainerOptions options_;
  Executable training_;  // the step, or the accumulation of one batch
  std::optional<Executable> update_, evaluation_;
  data::BatchPipeline::Lease taken_, ahead_;  // the last batch trained on, and the next
  std::vector<ModuleCount> modules_;
  int64_t trained_parameters_ = 0, steps_ = 0, skipped_ = 0;
};

}  // namespace fusec::models
