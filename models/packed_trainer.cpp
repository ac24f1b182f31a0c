// Batches of packs to updates and losses; see packed_trainer.h.
#include "fusec/models/packed_trainer.h"

#include <cmath>

#include "fusec/base/error.h"
#include "fusec/models/init.h"

namespace fusec::models {
namespace {

double scalar(const Executable& exe, const char* name) { return exe.get<float>(name).at(0); }

// Input by input: they are in the device's memory with take_staged().
void stage_batch(Executable& exe, const data::PackedBatch& batch, const PackedModel& model) {
  exe.stage<int32_t>("tokens", batch.tokens);
  exe.stage<int32_t>("positions", batch.positions);
  exe.stage<int32_t>("cu_seqlens", batch.cu_seqlens);
  exe.stage<int32_t>("targets", batch.targets);
  if (model.config.text_only()) return;
  exe.stage<float>("images", batch.images);
  exe.stage<int32_t>("slots", batch.slots);
}

}  // namespace

PackShape pack_shape(const data::BatchShape& batches) {
  return {
      .tokens = batches.tokens, .max_documents = batches.segments, .max_images = batches.images};
}

PackedTrainer::PackedTrainer(PackedTrainerOptions options) : options_(std::move(options)) {
  if (options_.accumulate < 1)
    fail_user("an update of " + std::to_string(options_.accumulate) +
              " batches, expected 1 or more");
  const PackedModel& model = options_.model;
  options_.compile.share = nullptr;
  auto build = [&](const RecordedGraph& recorded) {
    return compile(*recorded.graph, recorded.outputs, options_.compile);
  };
  if (options_.accumulate == 1) {
    const RecordedGraph step =
        record_packed_training_step(model, options_.train, options_.optimizer);
    count(step);
    training_ = build(step);
  } else {
    const RecordedGraph batch = record_packed_accumulation(model, options_.train);
    count(batch);
    training_ = build(batch);
    options_.compile.share = &training_;
    update_ = build(record_packed_update(model, options_.train, options_.optimizer));
    options_.compile.share = nullptr;
  }
  init_parameters(training_, model.config, options_.seed);
}

void PackedTrainer::count(const RecordedGraph& recorded) {
  modules_ = count_parameters(*recorded.graph);
  for (const Tensor& p : trainable(*recorded.graph, options_.model.config, options_.train))
    trained_parameters_ += numel(p.shape());
}

void PackedTrainer::look_ahead(data::BatchPipeline& data) {
  ahead_ = data.next();
  if (!ahead_) fail_internal("a pipeline that ends gave no batch to train on");
  stage_batch(training_, *ahead_, options_.model);
}

PackedStepResult PackedTrainer::step(data::BatchPipeline& data, double lr) {
  PackedStepResult result;
  double sum = 0, tokens = 0;
  Executable& last = update_ ? *update_ : training_;
  set_adamw_inputs(last, options_.optimizer, lr, ++steps_);
  bool finite = true;
  if (!ahead_) {
    look_ahead(data);
    training_.take_staged();
  }
  for (int64_t i = 0; i < options_.accumulate; ++i) {
    taken_ = std::move(ahead_);
    look_ahead(data);  // is copied while this batch is computed
    finite = training_.run().finite;
    sum += scalar(training_, "loss_sum");
    tokens += scalar(training_, "count");
    result.supervised += taken_->supervised;
    result.filled += taken_->filled;
    result.documents += taken_->documents;
    result.images += taken_->image_count;
    result.epoch = taken_->epoch;
    // Before another batch takes the place of the one at fault.
    if (!finite && !update_)
      if (const std::optional<NonFinite> found = training_.diagnose())
        result.culprit = found->str();
    training_.take_staged();
  }
  if (update_) {
    update_->set("count", static_cast<float>(tokens));
    finite = update_->run().finite;
    if (!finite) clear_gradients(training_);
  }
  result.loss = tokens > 0 ? sum / tokens : 0;
  result.grad_norm = scalar(last, "grad_norm");
  if (finite) return result;
  --steps_, ++skipped_;
  result.skipped = true;
  // After several batches the gradient that was at fault is gone.
  if (result.culprit.empty())
    result.culprit = std::isfinite(sum) ? "the gradients" : "the loss of one of the batches";
  return result;
}

double PackedTrainer::evaluate(data::BatchPipeline& data) {
  if (!evaluation_) {
    const RecordedGraph recorded = record_packed_evaluation(options_.model);
    CompileOptions compile_options = options_.compile;
    compile_options.share = &training_;
    compile_options.dump_dir.clear();  // the folder holds the training step
    evaluation_ = compile(*recorded.graph, recorded.outputs, compile_options);
  }
  double sum = 0, tokens = 0;
  while (const data::BatchPipeline::Lease batch = data.next()) {
    stage_batch(*evaluation_, *batch, options_.model);
    evaluation_->take_staged();
    evaluation_->run();
    sum += scalar(*evaluation_, "loss_sum");
    tokens += scalar(*evaluation_, "count");
  }
  return tokens > 0 ? sum / tokens : 0;
}

std::vector<LoadedPlan*> PackedTrainer::plans() {
  std::vector<LoadedPlan*> all = {&training_};
  if (update_) all.push_back(&*update_);
  return all;
}

std::vector<const LoadedPlan*> PackedTrainer::plans() const {
  std::vector<const LoadedPlan*> all = {&training_};
  if (update_) all.push_back(&*update_);
  return all;
}

void PackedTrainer::save(const std::string& path, CheckpointInfo info) const {
  info.model = options_.model.config;
  info.state.step = steps_;
  info.state.rng_key = options_.seed;
  info.state.rng_counter = static_cast<uint64_t>(steps_);
  save_checkpoint(plans(), path, info);
}

TrainState PackedTrainer::resume(const std::string& path) {
  const CheckpointInfo info = read_checkpoint_info(path);
  const std::string recorded = config_text(info.model), now = config_text(options_.model.config);
  if (recorded != now)
    fail_user(path + ": made for another model\n  checkpoint: " + recorded +
              "\n  this run:   " + now + "\nGive the flags of the run that wrote it.");
  if (info.state.rng_key != options_.seed)
    fail_user(path + ": made with seed " + std::to_string(info.state.rng_key) +
              ", this run has seed " + std::to_string(options_.seed) + "; give the same one");
  load_checkpoint(plans(), path);
  steps_ = info.state.step;
  return info.state;
}

void PackedTrainer::take_weights(const std::string& path) { load_parameters(plans(), path); }

}  // namespace fusec::models
