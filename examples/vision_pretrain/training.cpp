// Options and data to updates and loss curves; see training.h.
#include "training.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "progress.h"

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
       Metrics& metrics)
      : trainer_(trainer),
        data_(data),
        options_(options),
        metrics_(metrics),
        cursor_(static_cast<int64_t>(data.train.size()), options.trainer.seed) {
    log_.curves.push_back({"train", {}});
    for (const HeldOut& set : data.held_out) log_.curves.push_back({set.name, {}});
  }

  TrainingLog run() {
    validate(0);
    while (share() < 1) {
      ++log_.steps;
      step();
      if (log_.steps % options_.eval_every == 0 && share() < 1) validate(log_.steps);
    }
    if (logged_ > 0) log_point();
    log_.seconds = seconds_since(start_);
    bar_.finish(progress());
    validate(log_.steps);
    return std::move(log_);
  }

 private:
  // How much of the run is done: by steps or by time, whichever is further.
  double share() const {
    double by_steps = options_.steps > 0 ? static_cast<double>(log_.steps) / options_.steps : 0;
    double by_time = options_.minutes > 0 ? seconds_since(start_) / (60 * options_.minutes) : 0;
    return std::max(by_steps, by_time);
  }

  Progress progress() const {
    return {.step = log_.steps,
            .steps = options_.steps,
            .share = std::min(1.0, share()),
            .loss = loss_,
            .lr = lr_,
            .tokens_per_second = tokens_ / std::max(1e-9, log_.seconds_in_steps),
            .seconds = seconds_since(start_)};
  }

  void step() {
    models::CaptionedItems items;
    for (int64_t i : cursor_.next(options_.trainer.rows)) items.push_back(&data_.train[i]);
    lr_ = options_.lr * options_.schedule.factor(share());
    Clock::time_point begin = Clock::now();
    last_ = trainer_.step(items, lr_);
    log_.seconds_in_steps += seconds_since(begin);
    if (last_.skipped) return skipped_step();
    skipped_in_a_row_ = 0;
    tokens_ += static_cast<double>(last_.filled);
    loss_ = loss_ == 0 ? last_.loss : 0.95 * loss_ + 0.05 * last_.loss;
    sum_ += last_.loss;
    if (++logged_ == options_.log_every) log_point();
    bar_.update(progress());
  }

  // A step that is not finite updated nothing. Now and then is bearable, a row of them is not.
  void skipped_step() {
    bar_.say(fmt::format("step {} skipped ({} so far): loss {}, gradient norm {}: {}", log_.steps,
                         trainer_.skipped(), last_.loss, last_.grad_norm, last_.culprit));
    metrics_.skipped(log_.steps, last_);
    if (++skipped_in_a_row_ == kMostSkipped)
      fail_user(
          fmt::format("{} steps in a row were skipped, the last for loss {}, gradient norm "
                      "{} ({}): training has diverged; lower --lr (now {}) or set --clip",
                      kMostSkipped, last_.loss, last_.grad_norm, last_.culprit, options_.lr));
  }

  void log_point() {
    last_.loss = sum_ / static_cast<double>(logged_);
    metrics_.train(log_.steps, last_, lr_, tokens_ / std::max(1e-9, log_.seconds_in_steps),
                   seconds_since(start_));
    log_.curves[0].points.emplace_back(static_cast<double>(log_.steps), last_.loss);
    sum_ = 0;
    logged_ = 0;
  }

  void validate(int64_t step) {
    std::vector<std::pair<std::string, double>> losses;
    std::string line = fmt::format("validation at step {}:", step);
    for (size_t i = 0; i < data_.held_out.size(); ++i) {
      const HeldOut& set = data_.held_out[i];
      double loss = trainer_.evaluate(pointers(set.items));
      losses.emplace_back(set.name, loss);
      log_.curves[i + 1].points.emplace_back(static_cast<double>(step), loss);
      line += fmt::format("  {} {:.4f}", set.name, loss);
    }
    metrics_.validation(step, losses);
    bar_.say(line);
  }

  models::CaptionTrainer& trainer_;
  const Dataset& data_;
  const RunOptions& options_;
  Metrics& metrics_;
  data::ShuffledCursor cursor_;
  ProgressBar bar_;
  TrainingLog log_;
  Clock::time_point start_ = Clock::now();
  models::StepResult last_;
  double lr_ = 0, loss_ = 0, tokens_ = 0;
  double sum_ = 0;      // of the losses since the last logged point
  int64_t logged_ = 0;  // steps since then
  int skipped_in_a_row_ = 0;
};

}  // namespace

Metrics::Metrics(const std::string& path) : file_(path, std::ios::trunc) {
  if (!file_) fail_user(path + ": cannot be written");
}

void Metrics::train(int64_t step, const models::StepResult& result, double lr,
                    double tokens_per_second, double seconds) {
  nlohmann::ordered_json line = {{"kind", "train"},
                                 {"step", step},
                                 {"loss", result.loss},
                                 {"grad_norm", result.grad_norm},
                                 {"lr", lr},
                                 {"tokens_per_second", tokens_per_second},
                                 {"seconds", seconds}};
  file_ << line.dump() << std::endl;
}

void Metrics::skipped(int64_t step, const models::StepResult& result) {
  nlohmann::ordered_json line = {{"kind", "skipped"}, {"step", step}, {"culprit", result.culprit}};
  file_ << line.dump() << std::endl;
}

void Metrics::validation(int64_t step, const std::vector<std::pair<std::string, double>>& losses) {
  nlohmann::ordered_json line = {{"kind", "validation"}, {"step", step}};
  for (const auto& [name, loss] : losses) line[name] = loss;
  file_ << line.dump() << std::endl;
}

void Metrics::captions(const std::string& set, double exact, double name, double words,
                       size_t count) {
  nlohmann::ordered_json line = {{"kind", "captions"}, {"set", set},     {"exact", exact},
                                 {"name", name},       {"words", words}, {"count", count}};
  file_ << line.dump() << std::endl;
}

TrainingLog run_training(models::CaptionTrainer& trainer, const Dataset& data,
                         const RunOptions& options, Metrics& metrics) {
  return Loop(trainer, data, options, metrics).run();
}

}  // namespace fusec::examples
