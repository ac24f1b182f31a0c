// A trained model and its log to text, PNG and weight files; see report.h.
#include "report.h"

#include <algorithm>
#include <filesystem>
#include <fmt/format.h>

#include "fusec/io/file.h"
#include "fusec/models/checkpoint.h"
#include "fusec/profile.h"
#include "score.h"

namespace fusec::examples {
namespace {

constexpr int kSheetColumns = 8;

// `count` indices spread evenly over 0 .. size-1.
std::vector<size_t> spread(size_t size, size_t count) {
  count = std::min(count, size);
  std::vector<size_t> chosen;
  for (size_t i = 0; i < count; ++i) chosen.push_back(i * size / count);
  return chosen;
}

void caption_set(models::CaptionTrainer& trainer, const HeldOut& set, int64_t samples,
                 Metrics& metrics, std::vector<Tile>& tiles) {
  std::vector<const io::Image*> images;
  std::vector<std::string> truths;
  for (const auto& item : set.items) {
    images.push_back(&item.image);
    truths.push_back(item.caption);
  }
  std::vector<std::string> guesses = trainer.caption(images);
  fmt::print("\n{}: {}\n", set.name, set.meaning);
  for (size_t i : spread(truths.size(), static_cast<size_t>(samples))) {
    bool right = truths[i] == guesses[i];
    fmt::print("  {:<24} {:<44} {} {}\n", set.items[i].id, truths[i], right ? "=" : "!",
               guesses[i]);
    tiles.push_back({*images[i], truths[i], guesses[i], right});
  }
  Score score = score_captions(truths, guesses);
  metrics.captions(set.name, score.exact, score.name, score.words, truths.size());
  fmt::print("{}: {:.1f}% exact, {:.1f}% right name, {:.1f}% of words, of {} captions\n", set.name,
             100 * score.exact, 100 * score.name, 100 * score.words, truths.size());
}

}  // namespace

void write_report(models::CaptionTrainer& trainer, const Dataset& data, const TrainingLog& log,
                  const RunOptions& options, Metrics& metrics) {
  // What cannot be made again comes first.
  models::save_parameters(
      trainer.training(), options.out + "/weights.safetensors",
      {{"tokenizer", trainer.tokenizer().hash_text()}, {"steps", std::to_string(log.steps)}});
  trainer.tokenizer().save(options.out + "/tokenizer.json");
  io::write_file(options.out + "/config.toml", options.config_text);
  std::vector<Tile> tiles;
  for (const HeldOut& set : data.held_out) {
    caption_set(trainer, set, options.samples, metrics, tiles);
  }
  if (!tiles.empty()) write_contact_sheet(options.out + "/captions.png", tiles, kSheetColumns);
  write_loss_curve(options.out + "/loss.png", log.curves);
  fmt::print(
      "\n{} steps in {:.1f} s ({:.1f} ms a step); written to {}: metrics.jsonl, "
      "captions.png, loss.png, weights.safetensors, tokenizer.json, config.toml\n",
      log.steps, log.seconds, 1000 * log.seconds_in_steps / std::max<int64_t>(1, log.steps),
      options.out);
}

void write_profile(models::CaptionTrainer& trainer, const RunOptions& options) {
  const models::TrainerOptions& o = trainer.options();
  const ProfileReport report = profile_report(
      trainer.training(),
      {.title = fmt::format("{}, {} rows of {} tokens", o.model.name, o.rows, o.model.sequence),
       .ceilings = measure_ceilings(o.compile)});
  std::error_code error;
  std::filesystem::create_directories(options.profile, error);
  if (error) fail_user(options.profile + ": cannot be created: " + error.message());
  io::write_file(options.profile + "/profile.json", report.json());
  io::write_file(options.profile + "/trace.json", report.trace());
  fmt::print("\n{}\nwritten to {}: profile.json, trace.json\n", report.table(), options.profile);
}

}  // namespace fusec::examples
