// vision_pretrain: a folder of captioned pictures -> a vision-GPT that captions new ones.
// Reading order: options (flags), dataset, models/trainer.h (the model), start (new or resumed),
// training (the loop), report (what is left behind).
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <future>

#include "command_line.h"
#include "dataset.h"
#include "options.h"
#include "report.h"
#include "start.h"
#include "tables.h"
#include "training.h"

namespace fusec::examples {
namespace {

constexpr int kInterrupted = 130;  // as a shell reports a program that Ctrl-C ended

int run(RunOptions options) {
  std::future<void> device = start_device(options.trainer.compile.device);  // while data are read
  Dataset data = load_dataset(options);
  const int64_t words = data.tokenizer.vocab_size();
  int64_t& vocab = options.trainer.model.vocab;
  vocab = options.trainer.model.name == "tiny" ? words : std::max(vocab, words);
  options.trainer.model.sequence = data.sequence;
  options.fixed["data set (--data)"] = fmt::format("{:016x}", hash(data));
  const std::string checkpoint = find_start(options);
  models::CaptionTrainer trainer(options.trainer, data.tokenizer);

  print_data_table(data, trainer);
  print_model_table(options.trainer.model,
                    fmt::format("{} rows of {} tokens", options.trainer.rows, data.sequence),
                    trainer.modules(), trainer.trained_parameters(), options.trainer.train);
  print_memory_table(trainer.training());
  print_backend_table(options.trainer.optimizer, trainer.training());

  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) fail_user(options.out + ": cannot be created: " + error.message());
  const models::TrainState state = begin_run(trainer, data, options, checkpoint);
  Metrics metrics(metrics_path(options), state.metrics_bytes);
  const TrainingLog log = run_training(trainer, data, options, metrics, state);
  if (log.interrupted) {
    fmt::print("stopped after step {}; go on with\n  {}\n", log.steps, options.resume_command);
    return kInterrupted;
  }
  write_report(trainer, data, log, options, metrics);
  if (options.profiled) write_profile(trainer, options);
  return 0;
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  return fusec::examples::run_program("vision_pretrain", [&] {
    auto options = fusec::examples::parse_command_line(argc, argv);
    return options ? fusec::examples::run(std::move(*options)) : 0;
  });
}
