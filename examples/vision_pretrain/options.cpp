// Flags to RunOptions; see options.h. Unknown flags and impossible values end in one line that
// names the nearest valid one, on the command line and in the config file alike. Which flags a run
// must keep when it is resumed follows from their group here.
#include "options.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <algorithm>

#include "command_line.h"
#include "flags.h"
#include "fusec/base/nearest.h"

namespace fusec::examples {
namespace {

void add_data_flags(CLI::App& app, RunOptions& o) {
  app.option_defaults()->group("Data");
  app.add_option("--data", o.data, "Folder with train.jsonl, val_tones.jsonl, val_unseen.jsonl");
  app.add_option("--categories", o.categories,
                 "Only these categories, comma-separated; all if not given");
  app.add_option("--min-count", o.min_count, "Words seen less often are spelled in bytes")
      ->check(between(1, kMany));
  app.add_flag("--blank", o.blank, "Train and validate on white pictures: the control");
}

void add_model_flags(CLI::App& app, RunOptions& o, std::string& preset, bool& text_only) {
  models::VisionGptConfig& m = o.trainer.model;
  app.option_defaults()->group("Model");
  app.add_option("--preset", preset,
                 "Sizes to start from, which the flags below change. A large one keeps its "
                 "vocabulary where the captions need fewer words")
      ->check(one_of(models::VisionGptConfig::preset_names()));
  app.add_flag("--text-only", text_only,
               "The trunk alone, without pictures: no image slots, whatever --queries says, no "
               "encoder, resampler and projector");
  auto size = [&](const char* flag, int64_t& value, const char* help, double high) {
    app.add_option(flag, value, help)->check(between(1, high));
  };
  size("--image", m.vision.image, "Picture side, pixels", 1024);
  size("--patch", m.vision.patch, "Patch side, pixels; divides --image", 1024);
  size("--vision-width", m.vision.width, "Encoder and resampler width", 65536);
  size("--vision-layers", m.vision.layers, "Encoder blocks", 1024);
  size("--vision-heads", m.vision.heads, "Encoder heads; divides --vision-width", 1024);
  size("--queries", m.resampler.queries, "Image slots in the text", 4096);
  size("--resampler-layers", m.resampler.layers, "Resampler blocks", 1024);
  size("--width", m.width, "Trunk width", 65536);
  size("--layers", m.layers, "Trunk blocks", 1024);
  size("--heads", m.heads, "Trunk query heads", 1024);
  size("--kv-heads", m.kv_heads, "Trunk key/value heads; divides --heads", 1024);
  size("--head-dim", m.head_dim, "Size of a trunk head, even", 1024);
  size("--intermediate", m.intermediate, "Hidden width of the trunk's MLP", 1 << 20);
  app.add_option("--softcap", m.softcap, "Logit softcap; 0: none")->check(between(0, kMany));
  app.add_option("--smoothing", m.label_smoothing, "Label smoothing of the training loss")
      ->check(between(0, 0.99));
  app.add_option("--seq", o.sequence,
                 "Tokens a row (longer captions are dropped); 0: as the longest training caption")
      ->check(between(0, 1 << 20));
}

void add_training_flags(CLI::App& app, RunOptions& o, std::string& schedule) {
  using models::ParamGroup;
  models::AdamWOptions& adam = o.trainer.optimizer;
  app.option_defaults()->group("Training");
  app.add_option("--train", o.trainer.train,
                 "What learns: all, or modules (vision, resampler, projector, embedding, trunk, "
                 "head) and last:K (the last K trunk blocks), comma-separated");
  app.add_option("--steps", o.steps, "Updates; 0 (the default beside --minutes): no limit")
      ->check(between(0, kMany));
  app.add_option("--minutes", o.minutes,
                 "Stop after this time; the schedule follows whichever ends first. 0: no limit")
      ->check(between(0, kMany));
  app.add_option("--batch", o.trainer.rows, "Pictures a step")->check(between(1, 65536));
  app.add_option("--lr", o.lr, "Peak learning rate")->check(between(0, 10));
  app.add_option("--schedule", schedule, "Learning rate after warm-up")
      ->check(one_of(models::Schedule::kind_names()));
  app.add_option("--warmup", o.schedule.warmup, "Share of the run that warms up")
      ->check(between(0, 1));
  app.add_option("--lr-floor", o.schedule.floor, "Last learning rate as a share of the peak")
      ->check(between(0, 1));
  app.add_option("--embedding-lr-scale", adam[ParamGroup::embedding].lr_scale, "Of --lr")
      ->check(between(0, 1000));
  app.add_option("--head-lr-scale", adam[ParamGroup::unembedding].lr_scale, "Of --lr")
      ->check(between(0, 1000));
  app.add_option("--vision-lr-scale", adam[ParamGroup::vision].lr_scale, "Of --lr")
      ->check(between(0, 1000));
  app.add_option_function<double>(
         "--decay",
         [&adam](double decay) {
           for (auto& group : adam.groups) group.decay = decay;
         },
         "Weight decay of all matrices")
      ->check(between(0, 10))
      ->default_str(fmt::format("{}", adam.groups[0].decay));
  app.add_option("--beta1", adam.beta1, "AdamW")->check(between(0, 0.9999));
  app.add_option("--beta2", adam.beta2, "AdamW")->check(between(0, 0.99999));
  app.add_option("--clip", adam.clip, "Largest gradient norm; 0: no clipping")
      ->check(between(0, kMany));
  app.add_option("--seed", o.trainer.seed, "Of first weights and data order");
}

void add_run_flags(CLI::App& app, RunOptions& o, std::string& precision, bool& no_fuse) {
  CompileOptions& c = o.trainer.compile;
  app.option_defaults()->group("Run");
  app.add_option("--out", o.out, "Folder for metrics, pictures and weights, created if needed");
  app.add_option("--eval-every", o.eval_every, "Steps between validations")
      ->check(between(1, kMany));
  app.add_option("--log-every", o.log_every, "Steps between lines of metrics.jsonl")
      ->check(between(1, kMany));
  app.add_option("--samples", o.samples, "Held-out captions to print of each set")
      ->check(between(0, kMany));
  app.add_option("--device", c.device, "Where to run: auto, cpu, cuda or cuda:N")->check(device());
  app.add_option("--threads", c.threads, "Worker threads; 0: all cores")->check(between(0, 4096));
  app.add_option("--precision", precision, "Of matrix products and attention")
      ->check(one_of({"f32", "bf16"}));
  app.add_option("--memory-budget", c.memory_budget,
                 "Bytes that a step may hold, as 64M; recomputes values to meet it. 0: no bound")
      ->transform(CLI::AsSizeValue(false));
  app.add_flag("--no-fuse", no_fuse, "One kernel an op: the baseline");
  app.add_option("--profile", o.profile,
                 "At the end, show where a step's time goes, and write the table and a trace for "
                 "ui.perfetto.dev to this folder, or to OUT/profile if none is given")
      ->expected(0, 1)
      ->configurable(false);
  app.add_option("--dump-dir", c.dump_dir, "Write every compiler stage of the step to this folder");
}

void add_checkpoint_flags(CLI::App& app, RunOptions& o, std::string& resume) {
  app.option_defaults()->group("Checkpoints");
  app.add_option(
      "--init", o.init,
      "Start from the weights of this .safetensors file (f32, bf16 or f16) or checkpoint; "
      "ignored by --resume");
  app.add_option("--resume", resume,
                 "Go on from a checkpoint, to the very bits of a run that was never interrupted: a "
                 "file, or the newest of a folder, or of --out if no path is given")
      ->expected(0, 1)
      ->configurable(false);
  app.add_option("--save-every", o.save_every,
                 "Steps between checkpoints in OUT/checkpoints; 0: at the end and on Ctrl-C only")
      ->check(between(0, kMany));
  app.add_option(
         "--keep", o.keep,
         "Newest checkpoints to keep, beside best.safetensors of the lowest validation loss")
      ->check(between(1, kMany));
}

// All flags of data, model and training, and those of the run that change bits. Not the folder of
// the data, whose contents count; and not how long the run is, where no learning rate depends on
// it.
std::map<std::string, std::string> fixed_settings(const CLI::App& app, const RunOptions& o) {
  std::map<std::string, std::string> fixed;
  const bool any_length =
      o.schedule.kind == models::Schedule::Kind::constant && o.schedule.warmup == 0;
  for (const CLI::Option* option : app.get_options()) {
    const std::string name = option->get_name(), group = option->get_group();
    const bool alters = group == "Data" || group == "Model" || group == "Training" ||
                        name == "--precision" || name == "--no-fuse";
    const bool length = name == "--steps" || name == "--minutes";
    if (alters && name != "--data" && !(length && any_length)) fixed[name] = value_of(*option);
  }
  return fixed;
}

// The command line over the defaults of one preset.
struct Parsed {
  std::optional<RunOptions> options;  // none after --help
  std::string preset;
};
Parsed parse_over(const std::string& base, int argc, char** argv) {
  RunOptions o;
  o.trainer.model = models::VisionGptConfig::preset(base);
  // Each emoji is seen some twenty times: without smoothing the model grows so sure of what it
  // learnt by heart that its loss on whole emoji it never saw reaches that of a model that sees
  // nothing (4.39 after 2,000 steps, the blank control 4.37 after 700; with smoothing, 2,400 steps
  // each, 3.25 against 3.55).
  o.trainer.model.label_smoothing = 0.1;
  o.trainer.compile.device = "auto";
  std::string schedule = "cosine", precision = "f32", resume, preset = base;
  bool no_fuse = false, text_only = false;
  CLI::App app(
      "Trains a small vision-GPT to caption pictures, from nothing, and shows what it learned: "
      "held-out captions, loss curves, metrics and weights, under --out.");
  app.option_defaults()->always_capture_default();
  app.set_config("--config", "", "Options as a file, one \"name=value\" a line; flags win");
  app.allow_config_extras(CLI::config_extras_mode::capture);
  app.allow_extras();
  add_data_flags(app, o);
  add_model_flags(app, o, preset, text_only);
  add_training_flags(app, o, schedule);
  add_checkpoint_flags(app, o, resume);
  add_run_flags(app, o, precision, no_fuse);
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
  if (preset != base) return {o, preset};
  if (text_only) o.trainer.model.resampler.queries = 0;
  models::check_selection(o.trainer.model, o.trainer.train);
  o.schedule.kind = models::Schedule::parse_kind(schedule);
  o.trainer.compile.precision = precision == "bf16" ? Precision::bf16 : Precision::f32;
  o.trainer.compile.fuse = !no_fuse;
  CLI::Option* steps = app.get_option("--steps");
  if (o.minutes > 0 && steps->count() == 0) steps->default_val(0);
  if (o.steps == 0 && o.minutes == 0) fail_user("--steps 0 has no end: give --minutes as well");
  if (app.get_option("--resume")->count() > 0) o.resume = resume;
  o.profiled = app.get_option("--profile")->count() > 0;
  if (o.profiled && o.profile.empty()) o.profile = o.out + "/profile";
  o.fixed = fixed_settings(app, o);
  o.resume_command = resume_command(argc, argv, resume);
  o.config_text = app.config_to_str(true, false);
  return {o, preset};
}

}  // namespace

// Flags, or a config file, may name a preset; its sizes are then the defaults that flags change and
// the written config shows, so the line is read once more over it.
std::optional<RunOptions> parse_command_line(int argc, char** argv) {
  const Parsed first = parse_over("tiny", argc, argv);
  if (!first.options || first.preset == "tiny") return first.options;
  return parse_over(first.preset, argc, argv).options;
}

}  // namespace fusec::examples
