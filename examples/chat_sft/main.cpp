// chat_sft: chats with pictures, packed -> a model that answers. Reading order: options (flags),
// setup (tokenizer, template, model, data), models/packed_trainer.h, training (the loop), samples.
#include <fmt/format.h>
#include <filesystem>

#include "command_line.h"
#include "fusec/io/file.h"
#include "fusec/profile.h"
#include "options.h"
#include "run_tables.h"
#include "samples.h"
#include "setup.h"
#include "training.h"

namespace fusec::examples {
namespace {

constexpr int kInterrupted = 130;  // as a shell reports a program that Ctrl-C ended

void show_batches(data::BatchPipeline& pipeline, const SftSetup& setup, int64_t count) {
  for (int64_t i = 0; i < count; ++i) print_batch(*pipeline.next(), setup);
  fmt::print("{}\n", pipeline.statistics().text());
}

void print_data_table(const SftData& data, const SftSetup& setup, const SftOptions& o) {
  fmt::print("data\n");
  if (data.documents > 0) print_row("train", fmt::format("{} documents", data.documents));
  const data::BatchShape& shape = data.train->shape();
  print_row("batch", fmt::format("{} tokens, up to {} documents, {} pictures of {} tokens",
                                 shape.tokens, o.pipeline.packs * o.pipeline.packer.max_documents,
                                 shape.images, setup.info.config.resampler.queries));
  print_row("update", fmt::format("{} batches", o.accumulate));
  print_row("vocabulary", fmt::format("{} tokens, {}", setup.info.tokenizer->vocab_size(),
                                      setup.info.tokenizer_hash));
  print_row("template", setup.info.chat_template);
}

// What `chat` and `fusec` read: weights with config, tokenizer and template.
void write_model(models::PackedTrainer& trainer, const SftLog& log, const SftOptions& o,
                 const SftSetup& setup) {
  if (o.keep_best && !log.best.empty() && log.best_step != log.steps) {
    trainer.take_weights(log.best);
    fmt::print("weights of step {}, the best validation ({:.4f})\n", log.best_step, *log.best_loss);
  }
  const std::vector<const LoadedPlan*> plans = std::as_const(trainer).plans();
  models::save_model(plans, setup.info, o.lora, o.out + "/model.safetensors");
  setup.info.tokenizer->save(o.out + "/tokenizer.json");
  io::write_file(o.out + "/config.toml", o.config_text);
}

int run(SftOptions o) {
  SftSetup setup = set_up(o);
  SftData data{train_data(o, setup), validation_data(o, setup), 0};
  if (o.show_batch > 0) {
    show_batches(*data.train, setup, o.show_batch);
    return 0;
  }
  if (o.epochs > 0) data.documents = count_documents(data::JsonlStream(o.train, {}).files());
  const std::string checkpoint = find_start(o, setup);
  std::error_code error;
  std::filesystem::create_directories(o.out, error);
  if (error) fail_user(o.out + ": cannot be created: " + error.message());
  const auto trainer = make_trainer(o, setup, data.train->shape());

  print_data_table(data, setup, o);
  const data::BatchShape& shape = data.train->shape();
  print_model_table(setup.info.config, fmt::format("{} packed tokens", shape.tokens),
                    trainer->modules(), trainer->trained_parameters(), o.select);
  print_memory_table(trainer->training());
  print_backend_table(o.optimizer, trainer->training());

  const SftLog log = run_training(*trainer, data, o, setup, checkpoint);
  if (trainer->consumed()) fmt::print("{}\n", trainer->consumed()->statistics.text());
  if (log.interrupted) {
    fmt::print("stopped after step {}; go on with\n  {}\n", log.steps, o.resume_command);
    return kInterrupted;
  }
  fmt::print("{} steps in {:.1f} s; waiting for data {:.2f}% of the steps' time\n", log.steps,
             log.seconds, 100 * log.data_share);
  write_model(*trainer, log, o, setup);
  print_samples(*trainer, o, setup, o.samples);
  fmt::print("{}/model.safetensors: talk to it with\n  build/bin/chat {}/model.safetensors\n",
             o.out, o.out);
  if (o.profiled) {
    // The batch is still in the step's inputs; what these steps learn is lost.
    const ProfileReport report = profile_report(
        trainer->training(),
        {.title = fmt::format("{}, {} packed tokens", setup.info.config.name, shape.tokens),
         .ceilings = measure_ceilings(o.compile)});
    fmt::print("\n{}\n", report.table());
  }
  return 0;
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  return fusec::examples::run_program("chat_sft", [&] {
    auto options = fusec::examples::parse_command_line(argc, argv);
    return options ? fusec::examples::run(std::move(*options)) : 0;
  });
}
