// vision_pretrain: a folder of captioned pictures -> a vision-GPT that captions new ones.
// Reading order: options (flags), dataset, models/trainer.h (the model), training (the loop),
// report (what is left behind).
#include <cstdio>
#include <exception>
#include <filesystem>

#include "dataset.h"
#include "options.h"
#include "report.h"
#include "tables.h"
#include "training.h"

namespace fusec::examples {
namespace {

void run(RunOptions options) {
  Dataset data = load_dataset(options);
  options.trainer.model.vocab = data.tokenizer.vocab_size();
  options.trainer.model.sequence = data.sequence;
  models::CaptionTrainer trainer(options.trainer, data.tokenizer);

  print_data_table(data, trainer);
  print_model_table(trainer);
  print_memory_table(trainer.training());
  print_backend_table(trainer, trainer.training());

  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) fail_user(options.out + ": cannot be created: " + error.message());
  Metrics metrics(options.out + "/metrics.jsonl");
  TrainingLog log = run_training(trainer, data, options, metrics);
  write_report(trainer, data, log, options, metrics);
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  try {
    auto options = fusec::examples::parse_command_line(argc, argv);
    if (options) fusec::examples::run(std::move(*options));
    return 0;
  } catch (const fusec::Error& error) {
    std::fprintf(stderr, "vision_pretrain: %s\n", error.message().c_str());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "vision_pretrain: %s\n", error.what());
  }
  return 1;
}
