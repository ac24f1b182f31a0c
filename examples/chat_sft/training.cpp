// Batches to updates, lines of metrics and checkpoints; see training.h.
#include "training.h"

#include <fmt/format.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "fusec/models/checkpoint_store.h"
#include "interrupt.h"
#include "progress.h"

namespace fusec::examples {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int kMostSkipped = 10;  // in a row

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool lies_in(const std::string& file, const std::string& folder) {
  std::error_code error;
  return fs::equivalent(fs::path(file).parent_path(), folder, error) && !error;
}

class Loop {
 public:
  Loop(models::PackedTrainer& trainer, SftData& data, const SftOptions& options,
       const SftSetup& setup, models::TrainState state)
      : trainer_(trainer),
        data_(data),
        options_(options),
        setup_(setup),
        store_(checkpoint_folder(options), options.keep),
        metrics_(metrics_path(options), state.metrics_bytes),
        state_(std::move(state)) {}

  SftLog run() {
    for (;;) {
      const bool over = share() >= 1 || patience_over();
      if (over && state_.window_steps > 0) log_point();
      if (interrupt_.requested()) {
        log_.interrupted = true;
        write_newest();
        break;
      }
      const bool due = over || state_.step % options_.eval_every == 0;
      if (due && state_.validated != state_.step) validate();
      // What validation decided may end the run.
      if (!over && patience_over()) continue;
      if (over ? !state_.finished : save_is_due()) save(over);
      if (over) break;
      step();
    }
    log_.steps = state_.step;
    log_.seconds = elapsed();
    log_.seconds_in_steps = state_.seconds_in_steps;
    log_.data_share = waited() / std::max(1e-9, state_.seconds_in_steps - first_seconds_in_steps_);
    log_.best_loss = state_.best_loss;
    log_.best_step = state_.best_step;
    if (state_.best_loss && fs::exists(store_.best())) log_.best = store_.best();
    bar_.finish(progress());
    return log_;
  }

 private:
  double elapsed() const { return state_.seconds + seconds_since(start_); }
  double waited() const { return data_.train->wait_seconds() - first_wait_; }

  // How much of the run is done after `step` updates: by steps, or by documents so far.
  double share(int64_t step) const {
    const double by_steps = options_.steps > 0 ? static_cast<double>(step) / options_.steps : 0;
    const double passes =
        data_.documents > 0 ? static_cast<double>(state_.documents) / data_.documents : 0;
    return std::max(by_steps, options_.epochs > 0 ? passes / options_.epochs : 0);
  }
  double share() const { return share(state_.step); }

  bool patience_over() const {
    return options_.patience > 0 && state_.best_loss &&
           state_.validated - state_.best_step >= options_.patience * options_.eval_every;
  }

  Progress progress() const {
    return {.step = state_.step,
            .steps = options_.steps,
            .share = std::min(1.0, share()),
            .loss = state_.smoothed_loss,
            .lr = lr_,
            .tokens_per_second =
                static_cast<double>(state_.tokens) / std::max(1e-9, state_.seconds_in_steps),
            .seconds = elapsed()};
  }

  void step() {
    lr_ = options_.lr * options_.schedule.factor(share(state_.step + 1));
    const Clock::time_point begin = Clock::now();
    last_ = trainer_.step(*data_.train, lr_);
    if (!measured_) {  // the first step waits for the pipeline to begin
      measured_ = true;
      first_wait_ = data_.train->wait_seconds();
      first_seconds_in_steps_ = state_.seconds_in_steps + seconds_since(begin);
    }
    state_.seconds_in_steps += seconds_since(begin);
    state_.finished = false;
    const data::PipelineStatistics& read = trainer_.consumed()->statistics;
    state_.documents = read.packs.documents_out + read.documents_dropped();
    state_.tokens += last_.filled;
    if (last_.skipped) return skipped_step();
    ++state_.step;
    skipped_in_a_row_ = 0;
    double& smooth = state_.smoothed_loss;
    smooth = smooth == 0 ? last_.loss : 0.95 * smooth + 0.05 * last_.loss;
    state_.window_loss += last_.loss;
    ++state_.window_finite;
    if (++state_.window_steps == options_.log_every) log_point();
    bar_.update(progress());
  }

  void skipped_step() {
    bar_.say(fmt::format("after step {}: skipped ({} so far): {}", state_.step, trainer_.skipped(),
                         last_.culprit));
    metrics_.write({{"kind", "skipped"}, {"step", state_.step + 1}, {"culprit", last_.culprit}});
    if (++skipped_in_a_row_ < kMostSkipped) return;
    fail_user(fmt::format(
        "step {} was not finite {} times in a row ({}), training has diverged. Lower --lr (now "
        "{}), "
        "or set --clip (now {}) or a longer --warmup",
        state_.step + 1, skipped_in_a_row_, last_.culprit, options_.lr, options_.optimizer.clip));
  }

  void log_point() {
    const double mean = state_.window_finite > 0 ? state_.window_loss / state_.window_finite : NAN;
    metrics_.write({{"kind", "train"},
                    {"step", state_.step},
                    {"loss", mean},
                    {"grad_norm", last_.grad_norm},
                    {"lr", lr_},
                    {"supervised", last_.supervised},
                    {"filled", last_.filled},
                    {"documents", state_.documents},
                    {"epoch", last_.epoch},
                    {"tokens_per_second", progress().tokens_per_second},
                    {"seconds", elapsed()}});
    state_.window_loss = 0;
    state_.window_finite = 0;
    state_.window_steps = 0;
  }

  void validate() {
    const double loss = trainer_.evaluate(*data_.validation);
    if (data_.validation->statistics().supervised == 0)
      fail_user("the validation set (--val) has nothing to ask this model: " +
                data_.validation->statistics().text());
    metrics_.write({{"kind", "validation"}, {"step", state_.step}, {"loss", loss}});
    state_.validated = state_.step;
    bar_.say(fmt::format("validation at step {}: {:.4f}", state_.step, loss));
    if (!std::isfinite(loss) || (state_.best_loss && loss >= *state_.best_loss)) return;
    const auto old_loss = state_.best_loss;
    const int64_t old_step = state_.best_step;
    state_.best_loss = loss;
    state_.best_step = state_.step;
    if (state_.step == 0 || !options_.keep_best) return;
    try {
      store_.save_best([&](const std::string& path) { write(path); });
    } catch (const Error& error) {
      state_.best_loss = old_loss;  // the next one that beats what is on disk tries again
      state_.best_step = old_step;
      warn(error);
    }
  }

  bool save_is_due() const {
    return options_.save_every > 0 && state_.step > 0 && state_.step != saved_ &&
           state_.step % options_.save_every == 0;
  }

  // The metrics go first: the checkpoint counts on them.
  void write(const std::string& path) {
    metrics_.sync();
    state_.metrics_bytes = metrics_.size();
    models::CheckpointInfo info;
    info.tokenizer = setup_.info.tokenizer_hash;
    info.state = state_;
    info.state.seconds = elapsed();
    info.run = options_.fixed;
    const data::PipelineState* consumed = trainer_.consumed();
    info.data = data::pipeline_state_text(consumed ? *consumed : data_.train->state());
    trainer_.save(path, std::move(info));
  }

  void write_newest() {
    bar_.say("checkpoint " + store_.save(state_.step, [&](const std::string& p) { write(p); }));
  }

  void warn(const Error& error) {
    bar_.say("");
    std::fprintf(stderr, "warning: no checkpoint at step %lld: %s\ntraining goes on\n",
                 static_cast<long long>(state_.step), error.message().c_str());
  }

  void save(bool finished) {
    state_.finished = finished;
    saved_ = state_.step;
    try {
      write_newest();
    } catch (const Error& error) {
      warn(error);
    }
  }

  models::PackedTrainer& trainer_;
  SftData& data_;
  const SftOptions& options_;
  const SftSetup& setup_;
  models::CheckpointStore store_;
  MetricsFile metrics_;
  models::TrainState state_;  // `seconds` is that of the start: elapsed() adds to it
  InterruptGuard interrupt_;
  ProgressBar bar_;
  SftLog log_;
  Clock::time_point start_ = Clock::now();
  models::PackedStepResult last_;
  double lr_ = 0, first_wait_ = 0, first_seconds_in_steps_ = 0;
  bool measured_ = false;
  int64_t saved_ = -1;  // step of the last checkpoint, tried or written
  int skipped_in_a_row_ = 0;
};

}  // namespace

std::string checkpoint_folder(const SftOptions& o) { return o.out + "/checkpoints"; }
std::string metrics_path(const SftOptions& o) { return o.out + "/metrics.jsonl"; }

std::string find_start(const SftOptions& o, const SftSetup& setup) {
  const models::CheckpointStore store(checkpoint_folder(o), o.keep);
  std::string checkpoint;
  if (o.resume) {
    checkpoint = models::find_checkpoint(o.resume->empty() ? o.out : *o.resume);
    const models::CheckpointInfo info = models::read_checkpoint_info(checkpoint);
    models::refuse_changed_run(checkpoint, info.run, o.fixed);
    if (info.tokenizer != setup.info.tokenizer_hash)
      fail_user(checkpoint + ": made with tokenizer " + info.tokenizer + ", this run has " +
                setup.info.tokenizer_hash);
  }
  const bool continues = !checkpoint.empty() && lies_in(checkpoint, store.folder());
  const auto entries = store.list();
  if (continues || entries.empty()) return checkpoint;
  if (!models::read_checkpoint_info(entries.back().path).state.finished)
    fail_user(
        fmt::format("{} holds the checkpoints of a run that stopped at step {} before its "
                    "end: --resume goes on with it; to start anew, remove that folder or "
                    "choose another --out",
                    store.folder(), entries.back().step));
  return checkpoint;
}

SftLog run_training(models::PackedTrainer& trainer, SftData& data, const SftOptions& o,
                    const SftSetup& setup, const std::string& checkpoint) {
  const models::CheckpointStore store(checkpoint_folder(o), o.keep);
  store.remove_leftovers();
  models::TrainState state;
  if (!checkpoint.empty()) {
    const std::string text = models::read_checkpoint_info(checkpoint).data;
    if (text.empty()) fail_user(checkpoint + ": no run of chat_sft: it has no place in its data");
    data.train->set_state(data::parse_pipeline_state(text, checkpoint + ": data"));
    state = trainer.resume(checkpoint);
    fmt::print("going on after step {} of {}\n", state.step, checkpoint);
  }
  if (checkpoint.empty() || !lies_in(checkpoint, store.folder())) {
    store.clear();
    state.metrics_bytes = 0;
  }
  return Loop(trainer, data, o, setup, std::move(state)).run();
}

}  // namespace fusec::examples
