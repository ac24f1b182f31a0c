// The compiled model learns: eight captioned pictures to near-zero loss, then the pictures are
// swapped and the captions follow; and what a run saves, another run loads.
#include <doctest/doctest.h>

#include <filesystem>

#include "fusec/models/checkpoint.h"
#include "fusec/models/trainer.h"
#include "small_model.h"

namespace fusec::models {
namespace {

TrainerOptions overfit_options(const WordTokenizer& tokenizer) {
  TrainerOptions o;
  o.model = small_config();
  o.model.vision.width = 32;
  o.model.width = 32;
  o.model.head_dim = 16;
  o.model.intermediate = 64;
  o.model.vocab = tokenizer.vocab_size();
  o.rows = 8;
  o.seed = 3;
  o.compile.device = "cpu";
  for (GroupOptions& group : o.optimizer.groups) group.decay = 0;
  return o;
}

TEST_CASE("overfit eight pictures, swap them, captions follow; weights survive a save") {
  std::vector<std::string> captions = {"red box",  "blue box", "red",     "blue",
                                       "box blue", "box",      "box red", "red blue box"};
  WordTokenizer tokenizer;
  tokenizer.train(captions, 1);
  std::vector<data::CaptionedImage> items;
  for (int i = 0; i < 8; ++i) items.push_back(picture(captions[i], 8, i));
  CaptionedItems list;
  for (const auto& item : items) list.push_back(&item);

  CaptionTrainer trainer(overfit_options(tokenizer), tokenizer);
  double first = trainer.step(list, 3e-3).loss;
  for (int i = 0; i < 300; ++i) trainer.step(list, 3e-3);
  double last = trainer.evaluate(list);
  CHECK(first > 3);  // near log(vocabulary): nothing is known at the start
  CHECK(last < 0.02);

  std::vector<const io::Image*> images;
  std::vector<std::string> swapped;
  for (int i : {5, 2, 7, 0, 3, 6, 1, 4}) {
    images.push_back(&items[i].image);
    swapped.push_back(captions[i]);
  }
  CHECK(trainer.caption(images) == swapped);

  std::string path =
      (std::filesystem::temp_directory_path() / "fusec_overfit.safetensors").string();
  save_parameters(trainer.training(), path, {{"steps", "301"}});
  TrainerOptions fresh = overfit_options(tokenizer);
  fresh.seed = 4;
  CaptionTrainer other(fresh, tokenizer);
  CHECK(other.caption(images) != swapped);
  CHECK(load_parameters(other.training(), path).metadata.at("steps") == "301");
  CHECK(other.caption(images) == swapped);
  CHECK(other.evaluate(list) == last);  // the same bits: same plan, same weights

  fresh.model.resampler.layers = 2;
  CaptionTrainer larger(fresh, tokenizer);
  CHECK_THROWS_WITH_AS(load_parameters(larger.training(), path),
                       doctest::Contains("missing:\n    resampler.1."), Error);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace fusec::models
