// One captioning model with its executables: train a step, evaluate, caption. Why one class: the
// four graphs share parameters, and a program that trains should not have to know that.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "fusec/models/batch.h"
#include "fusec/models/checkpoint.h"
#include "fusec/models/graphs.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

using CaptionedItems = std::vector<const data::CaptionedImage*>;

struct TrainerOptions {
  VisionGptConfig model;
  int64_t rows = 32;          // a batch
  std::string train = "all";  // see trainable() in graphs.h
  AdamWOptions optimizer;
  uint64_t seed = 0;       // of the first parameter values
  CompileOptions compile;  // `share` is ignored
};

struct StepResult {
  double loss = 0;                     // mean over the batch's supervised tokens
  double grad_norm = 0;                // before clipping
  int64_t supervised = 0, filled = 0;  // tokens, as in CaptionBatch
  // The loss or the gradient norm was not finite: nothing was updated, the step does not count for
  // the optimizer, and `culprit` names the first tensor at fault.
  bool skipped = false;
  std::string culprit;
};

class CaptionTrainer {
 public:
  // Records and compiles the training step and draws the first parameters. The tokenizer's
  // vocabulary must fit the model's, else a user Error.
  CaptionTrainer(TrainerOptions options, WordTokenizer tokenizer);

  // A checkpoint of this moment. Step and random numbers of `state` are filled in here; `run` is
  // what resume() will ask to be the same. Fails as save_checkpoint().
  void save(const std::string& path, TrainState state,
            const std::map<std::string, std::string>& run) const;
  // Goes on from a checkpoint: weights, moments and step are those of the saved trainer, bit for
  // bit. Another run, tokenizer, model or seed, and what load_checkpoint() refuses, is a user
  // Error, and then this trainer is as it was.
  TrainState resume(const std::string& path, const std::map<std::string, std::string>& run);
  // First weights from a file of weights or a checkpoint instead of random ones; the optimizer
  // starts anew. A file that records another tokenizer is a user Error.
  Import import_weights(const std::string& path);
  // Steps that were skipped so far.
  int64_t skipped() const { return skipped_; }

  // One update from at most `rows` items at learning rate `lr`.
  StepResult step(const CaptionedItems& items, double lr);

  // Mean token loss over all items (any number), in their order; 0 for none. Updates nothing.
  double evaluate(const CaptionedItems& items);

  // Greedy captions of any number of images, in their order. The pictures are encoded once; each
  // token re-runs the decoder over the whole batch, until every row has ended or is full. A model
  // of text alone says the same of each.
  std::vector<std::string> caption(const std::vector<const io::Image*>& images);

  // The training step's executable: its plan, backends and parameters.
  Executable& training() { return training_; }
  // Parameters by module, and how many of all parameters are trained.
  const std::vector<ModuleCount>& modules() const { return modules_; }
  int64_t trained_parameters() const { return trained_parameters_; }
  const TrainerOptions& options() const { return options_; }
  const WordTokenizer& tokenizer() const { return tokenizer_; }
  int64_t steps() const { return steps_; }

 private:
  // Compiled on first use, so that training starts without waiting for them.
  Executable& compiled(std::optional<Executable>& slot,
                       RecordedGraph (*record)(const VisionGptConfig&, int64_t));
  void caption_batch(const std::vector<const io::Image*>& images,
                     std::vector<std::string>& captions);
  int32_t best_token(const float* logits) const;

  TrainerOptions options_;
  WordTokenizer tokenizer_;
  Executable training_;
  std::optional<Executable> evaluation_, encoder_, decoder_;
  std::vector<ModuleCount> modules_;
  int64_t trained_parameters_ = 0, steps_ = 0, skipped_ = 0;
};

}  // namespace fusec::models
