// The training loop: batches in shuffled order, learning-rate schedule, validation, metrics.
#pragma once

#include <fstream>
#include <string>
#include <vector>

#include "dataset.h"
#include "fusec/models/trainer.h"
#include "options.h"
#include "picture.h"

namespace fusec::examples {

// One JSON object a line, in OUT/metrics.jsonl; "kind" tells them apart:
//   {"kind":"train","step","loss","grad_norm","lr","tokens_per_second","seconds"}
//   {"kind":"skipped","step","culprit"}     the loss or a gradient was not finite: no update
//   {"kind":"validation","step","<set name>": loss, ...}
//   {"kind":"captions","set","exact","name","words","count"}
class Metrics {
 public:
  // Truncates the file. A path that cannot be written is a user Error.
  explicit Metrics(const std::string& path);
  void train(int64_t step, const models::StepResult& result, double lr, double tokens_per_second,
             double seconds);
  void skipped(int64_t step, const models::StepResult& result);
  void validation(int64_t step, const std::vector<std::pair<std::string, double>>& losses);
  void captions(const std::string& set, double exact, double name, double words, size_t count);

 private:
  std::ofstream file_;
};

struct TrainingLog {
  std::vector<Curve> curves;  // training loss (mean over log_every steps), then each held-out set
  int64_t steps = 0;
  double seconds = 0;  // validations included
  double seconds_in_steps = 0;
};

// Runs until `steps` or `minutes` is reached. Steps whose loss or gradient norm is not finite
// update nothing and are reported; ten in a row are a user Error.
TrainingLog run_training(models::CaptionTrainer& trainer, const Dataset& data,
                         const RunOptions& options, Metrics& metrics);

}  // namespace fusec::examples
