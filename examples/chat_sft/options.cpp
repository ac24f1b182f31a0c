// Flags to SftOptions; see options.h. Which flags a run must keep when it is resumed follows from
// their group here.
#include "options.h"

#include <CLI/CLI.hpp>

#include "command_line.h"
#include "flags.h"

namespace fusec::examples {
namespace {

// Flags whose values become something else.
struct Words {
  std::string supervise = "all", too_long = "split", fit = "pad", precision = "f32",
              schedule = "cosine", resume;
  bool no_packing = false, by_length = false, last = false;
  int64_t workers = 2, prefetch = 2, side = 0;
};

void add_data_flags(CLI::App& app, SftOptions& o, Words& w) {
  data::PackerOptions& p = o.pipeline.packer;
  app.option_defaults()->group("Data");
  app.add_option("--data", o.train, "Training set: JSONL files, or folders of them");
  app.add_option("--val", o.validation, "Validation set, the same; read in one fixed order");
  app.add_option(
      "--tokenizer", o.tokenizer,
      "tokenizer.json; default: the tokenizer of --init, or tokenizer.json in the folder "
      "above --data");
  app.add_option("--template", o.chat_template,
                 "How a conversation becomes text; default: that of --init, or plain")
      ->check(one_of(models::ChatTemplate::names()));
  app.add_option("--supervise", w.supervise, "Answers that are learned")
      ->check(one_of({"all", "last"}));
  app.add_flag("--drop-bad", o.drop_bad,
               "Leave out and count documents and pictures that are refused; default: an error");
  app.add_flag("--no-packing", w.no_packing, "One document a row of --pack-max-length tokens");
  app.add_flag("--by-length", w.by_length, "Rows of documents of similar length, not packed");
  app.add_option("--pack-max-length", p.capacity, "Tokens of a pack, and of a document at most")
      ->check(between(8, 1 << 20));
  app.add_option("--packs", o.pipeline.packs, "Packs a batch")->check(between(1, 4096));
  app.add_option("--max-documents", p.max_documents, "Documents a pack at most")
      ->check(between(1, 65536));
  app.add_option("--max-images", p.max_spans, "Pictures a pack at most")->check(between(1, 65536));
  app.add_option("--too-long", w.too_long, "Documents over --pack-max-length")
      ->check(one_of({"split", "drop"}));
  app.add_option("--pack-buffer", p.buffer_documents, "Documents that wait for a fitting pack")
      ->check(between(1, 1e7));
  app.add_option("--image-fit", w.fit, "How a picture becomes a square")
      ->check(one_of({"pad", "crop", "stretch"}));
}

void add_model_flags(CLI::App& app, SftOptions& o) {
  app.option_defaults()->group("Model");
  app.add_option(
      "--init", o.init,
      "First weights: a run of vision_pretrain or chat_sft, a checkpoint, a Hugging Face "
      "folder, GGUF, or what `fusec import` wrote; default: random");
  app.add_option("--vision", o.vision, "Encoder of pictures: a CLIP or SigLIP tower");
  app.add_option("--preset", o.preset, "Sizes of a model that begins at random")
      ->check(one_of(models::VisionGptConfig::preset_names()));
  app.add_option("--lora-rank", o.lora.rank, "Train thin matrices beside the trunk's; 0: no LoRA")
      ->check(between(0, 4096));
  app.add_option("--lora-alpha", o.lora.alpha, "Their scale, over the rank")
      ->check(between(1e-6, 1e6));
  app.add_option("--lora-targets", o.lora.targets, "Of q, k, v, out, gate, up, down")
      ->delimiter(',');
}

void add_training_flags(CLI::App& app, SftOptions& o, Words& w) {
  app.option_defaults()->group("Training");
  app.add_option("--train", o.select,
                 "What learns: all, or modules (vision, resampler, projector, embedding, trunk, "
                 "head), last:K (the last K trunk blocks) and lora, comma-separated. Default: all, "
                 "or lora with --lora-rank");
  app.add_option("--steps", o.steps, "Updates; 0: as --epochs says")->check(between(0, kMany));
  app.add_option("--epochs", o.epochs, "Passes over the training documents; 0: as --steps says")
      ->check(between(0, 1e6));
  app.add_option("--accumulate", o.accumulate, "Batches an update")->check(between(1, 65536));
  app.add_option("--lr", o.lr, "Peak learning rate")->check(between(0, 10));
  app.add_option("--schedule", w.schedule, "Learning rate after warm-up")
      ->check(one_of(models::Schedule::kind_names()));
  app.add_option("--warmup", o.schedule.warmup, "Share of the run that warms up")
      ->check(between(0, 1));
  app.add_option("--lr-floor", o.schedule.floor, "Last learning rate as a share of the peak")
      ->check(between(0, 1));
  app.add_option("--clip", o.optimizer.clip, "Largest gradient norm; 0: no clipping")
      ->check(between(0, kMany));
  app.add_option("--seed", o.seed, "Of first weights and data order");
}

void add_run_flags(CLI::App& app, SftOptions& o, Words& w) {
  CompileOptions& c = o.compile;
  app.option_defaults()->group("Run");
  app.add_option("--out", o.out, "Folder for metrics, checkpoints and weights");
  app.add_option("--resume", w.resume,
                 "Go on from a checkpoint: a file, or the newest of a folder, or of --out")
      ->expected(0, 1)
      ->configurable(false);
  app.add_option("--save-every", o.save_every, "Steps between checkpoints; 0: at the end only")
      ->check(between(0, kMany));
  app.add_option("--keep", o.keep, "Newest checkpoints to keep")->check(between(1, kMany));
  app.add_option("--eval-every", o.eval_every, "Steps between validations")
      ->check(between(1, kMany));
  app.add_option("--patience", o.patience,
                 "End after so many validations without a lower loss; 0: never")
      ->check(between(0, kMany));
  app.add_flag("--last", w.last, "Leave the last weights, not those of the best validation");
  app.add_option("--log-every", o.log_every, "Steps between lines of metrics.jsonl")
      ->check(between(1, kMany));
  app.add_option("--samples", o.samples, "Validation chats to answer at the end")
      ->check(between(0, kMany));
  app.add_option("--show-batch", o.show_batch,
                 "Print so many batches (1 if no number is given) and what is learned of them")
      ->expected(0, 1)
      ->default_str("1")
      ->configurable(false);
  app.add_option("--workers", w.workers, "Threads that render and decode")->check(between(1, 256));
  app.add_option("--prefetch", w.prefetch, "Batches that are ready")->check(between(1, 256));
  app.add_option("--device", c.device, "Where to run: auto, cpu, cuda or cuda:N")->check(device());
  app.add_option("--threads", c.threads, "Worker threads; 0: all cores")->check(between(0, 4096));
  app.add_option("--precision", w.precision, "Of matrix products and attention")
      ->check(one_of({"f32", "bf16"}));
  app.add_option("--memory-budget", c.memory_budget,
                 "Bytes that a step may hold, as 64M; recomputes values to meet it. 0: no bound")
      ->transform(CLI::AsSizeValue(false));
  app.add_flag("--profile", o.profiled, "At the end, show where a step's time goes");
}

void apply(const Words& w, const CLI::App& app, SftOptions& o) {
  data::PipelineOptions& p = o.pipeline;
  if (w.no_packing && w.by_length) fail_user("--no-packing and --by-length exclude each other");
  if (w.no_packing) p.packer.policy = data::PackPolicy::one_per_row;
  if (w.by_length) p.packer.policy = data::PackPolicy::by_length;
  p.packer.too_long = w.too_long == "drop" ? data::TooLong::drop : data::TooLong::split;
  p.images.fit = io::parse_image_fit(w.fit);
  p.bad_documents = p.bad_images = o.drop_bad ? data::OnBad::drop : data::OnBad::error;
  o.supervise =
      w.supervise == "last" ? models::Supervise::last_answer : models::Supervise::all_answers;
  o.resources.workers = static_cast<int>(w.workers);
  o.resources.prefetch = static_cast<int>(w.prefetch);
  o.schedule.kind = models::Schedule::parse_kind(w.schedule);
  o.compile.precision = w.precision == "bf16" ? Precision::bf16 : Precision::f32;
  o.keep_best = !w.last;
  if (o.lora.rank > 0 && app.get_option("--train")->count() == 0) o.select = "lora";
  o.lora.check();
  if (o.steps == 0 && o.epochs == 0) o.epochs = 1;
  if (app.get_option("--resume")->count() > 0) o.resume = w.resume;
}

}  // namespace

std::optional<SftOptions> parse_command_line(int argc, char** argv) {
  SftOptions o;
  Words w;
  o.pipeline.packer = {.capacity = 512, .max_documents = 32, .max_spans = 16};
  CLI::App app("Fine-tunes a model on chats with pictures, packed", "chat_sft");
  app.option_defaults()->always_capture_default();
  app.set_config("--config", "", "Options as a file, one \"name=value\" a line; flags win");
  app.allow_config_extras(CLI::config_extras_mode::capture);
  app.allow_extras();
  add_data_flags(app, o, w);
  add_model_flags(app, o);
  add_training_flags(app, o, w);
  add_run_flags(app, o, w);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    app.exit(help);
    return {};
  } catch (const CLI::ParseError& error) {
    fail_user(error.what());
  }
  const CLI::Option* config = app.get_config_ptr();
  refuse_unknown(app, config->count() > 0 ? config->results().back() : "");
  if (app.get_option("--show-batch")->count() > 0 && o.show_batch == 0) o.show_batch = 1;
  apply(w, app, o);
  // Not the folders of the data, whose contents the pipeline's state knows; and not how long the
  // run is, where no learning rate depends on it.
  const bool any_length =
      o.schedule.kind == models::Schedule::Kind::constant && o.schedule.warmup == 0;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name(), group = option->get_group();
    const bool alters =
        group == "Data" || group == "Model" || group == "Training" || name == "--precision";
    const bool length = name == "--steps" || name == "--epochs";
    const bool place = name == "--data" || name == "--val" || name == "--init" ||
                       name == "--vision" || name == "--tokenizer";
    if (alters && !place && !(length && any_length)) o.fixed[name] = value_of(*option);
  }
  o.resume_command = resume_command(argc, argv, w.resume);
  o.config_text = app.config_to_str(true, false);
  return o;
}

}  // namespace fusec::examples
