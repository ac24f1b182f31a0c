// Options and data to updates and loss curves; see training.h.
#include "training.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fmt/format.h>

#include "fusec/models/checkpoint_store.h"
#include "interrupt.h"
#include "progress.h"
#include "start.h"

namespace fusec::examples {
namespace {

constexpr int kMostSkipped = 10;  // in a row

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Loop {
 public:
  Loop(models::CaptionTrainer& trainer, const Dataset& data, const RunOptions& options,
       Metrics& metrics, const models::TrainState& state)
      : trainer_(trainer),
        data_(data),
        options_(options),
        metrics_(metrics),
        store_(checkpoint_folder(options), options.keep),
        state_(state),
        cursor_(static_cast<int64_t>(data.train.size()), state.cursor_seed) {
    if (state.cursor_count != cursor_.count()) {
      fail_user(
          fmt::format("the checkpoint walks over {} samples, the data set has {}: give the "
                      "--data of the run that wrote it",
                      state.cursor_count, cursor_.count()));
    }
    cursor_.set_state(state.cursor);
    std::vector<std::string> sets;
    for (const HeldOut& set : data.held_out) sets.push_back(set.name);
    log_.curves = read_curves(metrics_path(options), state.metrics_bytes, sets);
  }

  TrainingLog run() {
    for (;;) {
      const bool over = share() >= 1;
      if (over && state_.window_steps > 0) log_point();
      if (interrupt_.requested()) {
        park();
        break;
      }
      const bool validate_now = over || state_.step % options_.eval_every == 0;
      if (validate_now && state_.validated != state_.step) validate();
      if (over ? !state_.finished : save_is_due()) save(over);
      if (over) break;
      step();
    }
    log_.steps = state_.step;
    log_.seconds = elapsed();
    log_.seconds_in_steps = state_.seconds_in_steps;
    bar_.finish(progress());
    return std::move(log_);
  }

 private:
  double elapsed() const { return state_.seconds + seconds_since(start_); }
  double tokens_per_second() const {
    return static_cast<double>(state_.tokens) / std::max(1e-9, state_.seconds_in_steps);
  }

  // How much of the run is done: by steps or by time, whichever is further.
  double share() const {
    double by_steps = options_.steps > 0 ? static_cast<double>(state_.step) / options_.steps : 0;
    double by_time = options_.minutes > 0 ? elapsed() / (60 * options_.minutes) : 0;
    return std::max(by_steps, by_time);
  }

  Progress progress() const {
    return {.step = state_.step,
            .steps = options_.steps,
            .share = std::min(1.0, share()),
            .loss = state_.smoothed_loss,
            .lr = lr_,
            .tokens_per_second = tokens_per_second(),
            .seconds = elapsed()};
  }

  void step() {
    models::CaptionedItems items;
    for (int64_t i : cursor_.next(options_.trainer.rows)) items.push_back(&data_.train[i]);
    ++state_.step;
    lr_ = options_.lr * options_.schedule.factor(share());
    Clock::time_point begin = Clock::now();
    last_ = trainer_.step(items, lr_);
    state_.seconds_in_steps += seconds_since(begin);
    state_.finished = false;
    state_.documents += options_.trainer.rows;
    state_.tokens += last_.filled;
    if (last_.skipped) return skipped_step();
    skipped_in_a_row_ = 0;
    double& smooth = state_.smoothed_loss;
    smooth = smooth == 0 ? last_.loss : 0.95 * smooth + 0.05 * last_.loss;
    state_.window_loss += last_.loss;
    ++state_.window_finite;
    if (++state_.window_steps == options_.log_every) log_point();
    bar_.update(progress());
  }

  // A step that is not finite updated nothing and is not counted. Now and then is bearable, a row
  // of them is not.
  void skipped_step() {
    const std::string what =
        fmt::format("step {}: loss {}, gradient norm {}", state_.step, last_.loss, last_.grad_norm);
    bar_.say(fmt::format("{}: skipped ({} so far): {}", what, trainer_.skipped(), last_.culprit));
    metrics_.skipped(state_.step, last_);
    --state_.step;
    if (++skipped_in_a_row_ < kMostSkipped) return;
    const std::string good = newest();
    fail_user(fmt::format(
        "{}: not finite for {} steps in a row ({}), training has diverged. Lower --lr (now {}), or "
        "set --clip (now {}) or a longer --warmup{}",
        what, skipped_in_a_row_, last_.culprit, options_.lr, options_.trainer.optimizer.clip,
        good.empty() ? "; no checkpoint was taken before it"
                     : "; a new run with --init=" + good + " starts from the last good weights"));
  }

  void log_point() {
    models::StepResult mean = last_;
    mean.loss = state_.window_finite > 0 ? state_.window_loss / state_.window_finite : NAN;
    metrics_.train(state_.step, mean, lr_, tokens_per_second(), elapsed());
    log_.curves[0].points.emplace_back(static_cast<double>(state_.step), mean.loss);
    state_.window_loss = 0;
    state_.window_finite = 0;
    state_.window_steps = 0;
  }

  void validate() {
    std::vector<std::pair<std::string, double>> losses;
    std::string line = fmt::format("validation at step {}:", state_.step);
    double sum = 0;
    for (size_t i = 0; i < data_.held_out.size(); ++i) {
      const HeldOut& set = data_.held_out[i];
      double loss = trainer_.evaluate(pointers(set.items));
      losses.emplace_back(set.name, loss);
      log_.curves[i + 1].points.emplace_back(static_cast<double>(state_.step), loss);
      line += fmt::format("  {} {:.4f}", set.name, loss);
      sum += loss;
    }
    metrics_.validation(state_.step, losses);
    state_.validated = state_.step;
    bar_.say(line);
    const double mean = sum / static_cast<double>(data_.held_out.size());
    const bool better = std::isfinite(mean) && (!state_.best_loss || mean < *state_.best_loss);
    if (state_.step > 0 && better) save_best(mean);
  }

  bool save_is_due() const {
    return options_.save_every > 0 && state_.step > 0 && state_.step != saved_ &&
           state_.step % options_.save_every == 0;
  }

  std::string newest() const {
    const auto entries = store_.list();
    return entries.empty() ? "" : entries.back().path;
  }

  // Writes a checkpoint of this moment to `path`. The metrics go first: the checkpoint counts on
  // them.
  void write(const std::string& path) {
    metrics_.sync();
    state_.metrics_bytes = metrics_.size();
    state_.cursor = cursor_.state();
    models::TrainState state = state_;
    state.seconds = elapsed();
    trainer_.save(path, state, options_.fixed);
  }

  void warn(const Error& error) {
    const std::string good = newest();
    bar_.say("");
    std::fprintf(
        stderr, "warning: no checkpoint at step %lld: %s\ntraining goes on; %s\n",
        static_cast<long long>(state_.step), error.message().c_str(),
        good.empty() ? "there is no earlier one" : ("the last good one is " + good).c_str());
  }

  void save(bool finished) {
    state_.finished = finished;
    saved_ = state_.step;
    try {
      const std::string path = store_.save(state_.step, [&](const std::string& p) { write(p); });
      bar_.say("checkpoint " + path);
    } catch (const Error& error) {
      warn(error);
    }
  }

  void save_best(double loss) {
    const auto old_loss = state_.best_loss;
    const int64_t old_step = state_.best_step;
    state_.best_loss = loss;
    state_.best_step = state_.step;
    try {
      store_.save_best([&](const std::string& path) { write(path); });
    } catch (const Error& error) {
      state_.best_loss = old_loss;  // the next validation that beats what is on disk tries again
      state_.best_step = old_step;
      warn(error);
    }
  }

  void park() {
    log_.interrupted = true;
    try {
      const std::string path = store_.save(state_.step, [&](const std::string& p) { write(p); });
      bar_.say("checkpoint " + path);
    } catch (Error& error) {
      const std::string good = newest();
      error.add_note(good.empty() ? "nothing of this run was saved"
                                  : "--resume=" + good + " goes on from the last good checkpoint");
      throw;
    }
  }

  models::CaptionTrainer& trainer_;
  const Dataset& data_;
  const RunOptions& options_;
  Metrics& metrics_;
  models::CheckpointStore store_;
  models::TrainState state_;  // `seconds` is that of the start: elapsed() adds to it
  data::ShuffledCursor cursor_;
  InterruptGuard interrupt_;
  ProgressBar bar_;
  TrainingLog log_;
  Clock::time_point start_ = Clock::now();
  models::StepResult last_;
  double lr_ = 0;
  int64_t saved_ = -1;  // step of the last checkpoint, tried or written
  int skipped_in_a_row_ = 0;
};

}  // namespace

TrainingLog run_training(models::CaptionTrainer& trainer, const Dataset& data,
                         const RunOptions& options, Metrics& metrics,
                         const models::TrainState& state) {
  return Loop(trainer, data, options, metrics, state).run();
}

}  // namespace fusec::examples
