// One model trained on packs, with its executables: update from one pack or several, evaluate, save
// and go on. Why one class: five graphs share parameters and states, which of them an update needs
// depends on how many packs it has, and a program should not have to know that.
//
// What a pack holds, where documents come from and what is kept beside the weights is the program's
// affair.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fusec/models/checkpoint.h"
#include "fusec/models/packed_graphs.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

struct PackedTrainerOptions {
  PackedModel model;
  std::string train = "all";  // see trainable() in graphs.h
  AdamWOptions optimizer;
  uint64_t seed = 0;       // of the first parameter values
  CompileOptions compile;  // `share` is ignored
};

// Inputs of one pack, as packed_graphs.h says; images and slots are empty for text alone.
struct PackInputs {
  std::span<const int32_t> tokens, positions, targets, cu_seqlens, slots;
  std::span<const float> images;
};

struct PackedStep {
  double loss_sum = 0;     // of all packs
  int64_t supervised = 0;  // tokens
  double grad_norm = 0;    // before clipping
  // The loss or the gradient norm was not finite: nothing was updated, the step does not count for
  // the optimizer, and `culprit` says what is known of the tensor at fault.
  bool skipped = false;
  std::string culprit;

  double loss() const { return supervised > 0 ? loss_sum / static_cast<double>(supervised) : 0; }
};

class PackedTrainer {
 public:
  // Compiles what updates of `packs` packs need (others are compiled when they come first) and
  // draws the first parameters.
  PackedTrainer(PackedTrainerOptions options, int64_t packs);

  // One update at learning rate `lr` from one pack or more: gradients of their summed losses over
  // their supervised tokens. Packs without any supervised token are no update: nothing moves, and
  // the step does not count.
  PackedStep step(std::span<const PackInputs> packs, double lr);

  // Sum of token losses and number of supervised tokens. Updates nothing.
  PackedStep evaluate(const PackInputs& pack);

  // All parameters and states, for load_parameters() and other readers and writers of weights; the
  // first has every parameter. For CompileOptions::share and merge_lora(), too.
  std::vector<LoadedPlan*> plans();
  // A checkpoint of this moment, and going on from one: see checkpoint.h. `steps` of what is loaded
  // counts for the optimizer.
  void save(const std::string& path, const CheckpointInfo& info);
  void load(const std::string& path, int64_t steps);

  const std::vector<ModuleCount>& modules() const { return modules_; }
  int64_t trained_parameters() const { return trained_parameters_; }
  int64_t steps() const { return steps_; }
  int64_t skipped() const { return skipped_; }
  const PackedTrainerOptions& options() const { return options_; }
  // The executable that runs forward and backward: its plan and backends.
  Executable& training() { return step_ ? *step_ : *accumulate_; }

 private:
  Executable compiled(const RecordedGraph& recorded);
  void prepare(bool one_pack);
  void feed(Executable& exe, const PackInputs& pack);
  PackedStep step_one(const PackInputs& pack, double lr);
  PackedStep step_many(std::span<const PackInputs> packs, double lr);

  PackedTrainerOptions options_;
  std::optional<Executable> step_, accumulate_, update_, evaluate_;
  std::vector<ModuleCount> modules_;
  int64_t trained_parameters_ = 0, steps_ = 0, skipped_ = 0;
};

}  // namespace fusec::models
