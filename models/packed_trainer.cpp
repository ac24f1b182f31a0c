// Packs to updates and losses; see packed_trainer.h.
#include "fusec/models/packed_trainer.h"

#include <algorithm>
#include <cmath>

#include "fusec/models/init.h"

namespace fusec::models {
namespace {

bool is_supervised(const PackInputs& pack) {
  return std::any_of(pack.targets.begin(), pack.targets.end(), [](int32_t t) { return t >= 0; });
}

PackedStep losses(const Executable& exe) {
  PackedStep result;
  result.loss_sum = exe.item<float>("loss_sum");
  result.supervised = static_cast<int64_t>(exe.item<float>("count"));
  return result;
}

}  // namespace

PackedTrainer::PackedTrainer(PackedTrainerOptions options, int64_t packs)
    : options_(std::move(options)) {
  if (packs < 1)
    fail_user("an update takes " + std::to_string(packs) + " packs, expected 1 or more");
  options_.compile.share = nullptr;
  prepare(packs == 1);
  init_parameters(training(), options_.model.config, options_.seed);
}

Executable PackedTrainer::compiled(const RecordedGraph& recorded) {
  CompileOptions o = options_.compile;
  if (step_ || accumulate_) {
    o.share = &training();
    o.dump_dir.clear();  // the folder holds what came first
  }
  return compile(*recorded.graph, recorded.outputs, o);
}

void PackedTrainer::prepare(bool one_pack) {
  if (one_pack ? step_.has_value() : update_.has_value()) return;
  const PackedTrainerOptions& o = options_;
  RecordedGraph first = one_pack ? record_packed_training_step(o.model, o.train, o.optimizer)
                                 : record_packed_accumulation(o.model, o.train);
  if (modules_.empty()) {
    modules_ = count_parameters(*first.graph);
    for (const Tensor& p : trainable(*first.graph, o.model.config, o.train))
      trained_parameters_ += numel(p.shape());
  }
  (one_pack ? step_ : accumulate_) = compiled(first);
  if (!one_pack) update_ = compiled(record_packed_update(o.model, o.train, o.optimizer));
}

void PackedTrainer::feed(Executable& exe, const PackInputs& pack) {
  exe.set("tokens", pack.tokens);
  exe.set("positions", pack.positions);
  exe.set("targets", pack.targets);
  exe.set("cu_seqlens", pack.cu_seqlens);
  if (options_.model.config.text_only()) return;
  exe.set("slots", pack.slots);
  exe.set("images", pack.images);
}

PackedStep PackedTrainer::step(std::span<const PackInputs> packs, double lr) {
  if (packs.empty()) fail_user("an update takes one pack or more, found none");
  if (std::none_of(packs.begin(), packs.end(), is_supervised)) return {};
  prepare(packs.size() == 1);
  ++steps_;
  PackedStep result = packs.size() == 1 ? step_one(packs[0], lr) : step_many(packs, lr);
  if (result.skipped) --steps_, ++skipped_;
  return result;
}

PackedStep PackedTrainer::step_one(const PackInputs& pack, double lr) {
  Executable& exe = *step_;
  feed(exe, pack);
  set_adamw_inputs(exe, options_.optimizer, lr, steps_);
  const bool finite = exe.run().finite;
  PackedStep result = losses(exe);
  result.grad_norm = exe.item<float>("grad_norm");
  result.skipped = !finite;
  if (finite) return result;
  const std::optional<NonFinite> culprit = exe.diagnose();
  result.culprit = culprit ? culprit->str() : "every tensor is finite on its own";
  return result;
}

PackedStep PackedTrainer::step_many(std::span<const PackInputs> packs, double lr) {
  PackedStep result;
  for (size_t i = 0; i < packs.size(); ++i) {
    feed(*accumulate_, packs[i]);
    accumulate_->run();
    const PackedStep one = losses(*accumulate_);
    result.loss_sum += one.loss_sum;
    result.supervised += one.supervised;
    if (!std::isfinite(one.loss_sum) && result.culprit.empty())
      result.culprit = "the loss of pack " + std::to_string(i + 1) + " of " +
                       std::to_string(packs.size()) + " is not finite";
  }
  update_->set("count", static_cast<float>(result.supervised));
  set_adamw_inputs(*update_, options_.optimizer, lr, steps_);
  bool finite = result.culprit.empty();
  if (finite) {
    finite = update_->run().finite;
    result.grad_norm = update_->item<float>("grad_norm");
    if (!finite) {
      const std::optional<NonFinite> culprit = update_->diagnose();
      result.culprit = culprit ? culprit->str() : "every tensor is finite on its own";
    }
  }
  result.skipped = !finite;
  if (!finite) clear_gradients(*update_);
  return result;
}

PackedStep PackedTrainer::evaluate(const PackInputs& pack) {
  if (!evaluate_) evaluate_ = compiled(record_packed_evaluation(options_.model));
  feed(*evaluate_, pack);
  evaluate_->run();
  return losses(*evaluate_);
}

std::vector<LoadedPlan*> PackedTrainer::plans() {
  std::vector<LoadedPlan*> all = {&training()};
  for (std::optional<Executable>* exe : {&step_, &accumulate_, &update_})
    if (exe->has_value() && &**exe != all[0]) all.push_back(&**exe);
  return all;
}

void PackedTrainer::save(const std::string& path, const CheckpointInfo& info) {
  std::vector<const LoadedPlan*> all;
  for (const LoadedPlan* plan : plans()) all.push_back(plan);
  save_checkpoint(all, path, info);
}

void PackedTrainer::load(const std::string& path, int64_t steps) {
  load_checkpoint(plans(), path);
  steps_ = steps;
}

}  // namespace fusec::models
