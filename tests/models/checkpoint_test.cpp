// Weights and checkpoints of a compiled model: resumed bit for bit, imported strictly, and refused
// with everything that is wrong in one error.
#include "fusec/models/checkpoint.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "../data/scratch.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/trainer.h"
#include "small_model.h"

namespace fusec::models {
namespace {

using tests::contains;
using tests::user_error;

TrainerOptions small_options(uint64_t seed = 3) {
  TrainerOptions o;
  o.model = small_config();
  o.model.vocab = small_tokenizer().vocab_size();
  o.rows = 3;
  o.seed = seed;
  o.compile.device = "cpu";
  return o;
}

const std::map<std::string, std::string> kRun = {{"--lr", "0.001"}};

TrainState state_of(const CaptionTrainer& trainer) {
  TrainState s;
  s.cursor_count = 3;
  s.documents = 3 * trainer.steps();
  return s;
}

struct Fixture {
  tests::Scratch scratch;
  std::vector<data::CaptionedImage> items = {picture("red box", 8, 1), picture("blue", 8, 2),
                                             picture("box", 8, 3)};
  CaptionedItems list;
  Fixture() {
    for (const auto& item : items) list.push_back(&item);
  }
};

// Copies a file of tensors, changed by `edit` (which may rename, retype and refill a tensor).
void rewrite(const std::string& from, const std::string& to,
             const std::function<bool(io::NamedType&, std::string&)>& edit) {
  io::SafetensorsReader file(from);
  std::vector<io::NamedType> types;
  std::vector<std::string> bytes;
  for (const io::TensorEntry& t : file.header().tensors) {
    io::NamedType type{t.name, t.type};
    std::string data = file.read(t);
    if (!edit(type, data)) continue;
    types.push_back(type);
    bytes.push_back(data);
  }
  io::write_safetensors(to, types, file.header().metadata,
                        [&](size_t i) -> std::string_view { return bytes[i]; });
}

TEST_CASE_FIXTURE(Fixture, "checkpoint: a resumed trainer does the same steps, bit for bit") {
  CaptionTrainer whole(small_options(), small_tokenizer());
  for (int i = 0; i < 4; ++i) whole.step(list, 1e-2);
  whole.save(scratch / "4", state_of(whole), kRun);
  std::vector<double> losses;
  for (int i = 0; i < 4; ++i) losses.push_back(whole.step(list, 1e-2).loss);
  whole.save(scratch / "8", state_of(whole), kRun);

  CaptionTrainer other(small_options(), small_tokenizer());
  other.step(list, 0.5);  // what it did before must not matter
  const TrainState state = other.resume(scratch / "4", kRun);
  CHECK(state.step == 4);
  CHECK(state.documents == 12);
  CHECK(other.steps() == 4);
  for (double loss : losses) CHECK(other.step(list, 1e-2).loss == loss);
  other.save(scratch / "8b", state_of(other), kRun);
  CHECK(io::read_file(scratch / "8") == io::read_file(scratch / "8b"));
}

TEST_CASE_FIXTURE(Fixture,
                  "checkpoint: another run, seed, tokenizer, model or version is refused") {
  CaptionTrainer trainer(small_options(), small_tokenizer());
  trainer.step(list, 1e-2);
  trainer.save(scratch / "c", state_of(trainer), kRun);
  auto refused = [&](CaptionTrainer& by, const std::map<std::string, std::string>& run,
                     const std::string& part) {
    CHECK(contains(user_error([&] { by.resume(scratch / "c", run); }), part));
  };
  refused(trainer, {{"--lr", "0.01"}}, "\n  --lr: 0.001 in the checkpoint, 0.01 now");
  refused(trainer, {}, "--lr: 0.001 in the checkpoint, not there now");
  CaptionTrainer seed(small_options(4), small_tokenizer());
  refused(seed, kRun, "made with seed 3, this run has seed 4");
  WordTokenizer words;
  words.train({"red box", "blue cat"}, 1);
  TrainerOptions larger = small_options();
  larger.model.vocab = words.vocab_size();
  CaptionTrainer tokenizer(larger, words);
  refused(tokenizer, kRun, "its token ids mean other words");
  larger = small_options();
  larger.model.resampler.layers = 2;
  CaptionTrainer model(larger, small_tokenizer());
  refused(model, kRun, "made for another model");
  // The tensors alone tell the two models apart, too.
  const std::string message = user_error([&] { load_checkpoint(model.training(), scratch / "c"); });
  CHECK(contains(message, " missing:\n    optimizer.resampler.1."));
  CHECK(contains(message, "\n    and "));

  save_parameters(trainer.training(), scratch / "w");
  CHECK(contains(user_error([&] { trainer.resume(scratch / "w", kRun); }), "is no checkpoint"));
  std::string newer = io::read_file(scratch / "c");
  newer.replace(newer.find("\"version\":\"2\""), 13, "\"version\":\"3\"");
  io::write_file(scratch / "c", newer);
  refused(trainer, kRun, "checkpoint of version 3, this program reads version 2");
}

TEST_CASE_FIXTURE(Fixture, "checkpoint: weights that are not finite are not saved") {
  CaptionTrainer trainer(small_options(), small_tokenizer());
  trainer.save(scratch / "c", state_of(trainer), kRun);
  const std::string before = io::read_file(scratch / "c");
  std::vector<float> head = trainer.training().get<float>("head.weight");
  for (float bad : {std::numeric_limits<float>::infinity(), NAN}) {
    head.back() = bad;
    trainer.training().set("head.weight", head);
    CHECK(contains(user_error([&] { trainer.save(scratch / "c", state_of(trainer), kRun); }),
                   "head.weight holds NaN or infinity"));
  }
  CHECK(io::read_file(scratch / "c") == before);
  CHECK(std::distance(std::filesystem::directory_iterator(scratch / "."), {}) == 1);
}

TEST_CASE_FIXTURE(Fixture, "import: everything that does not fit is in one error, with hints") {
  CaptionTrainer trainer(small_options(), small_tokenizer());
  save_parameters(trainer.training(), scratch / "w");
  rewrite(scratch / "w", scratch / "bad", [](io::NamedType& t, std::string& bytes) {
    if (t.name == "head.weight") t.name = "lm_head.weight";
    if (t.name == "trunk.0.mlp.gate.weight") std::swap(t.type.shape[0], t.type.shape[1]);
    if (t.name == "vision.position") t.type.dtype = i32;
    return true;
  });
  const std::vector<float> before = trainer.training().get<float>("embedding.weight");
  const std::string message =
      user_error([&] { load_parameters(trainer.training(), scratch / "bad"); });
  CHECK(contains(message, "1 missing:\n    head.weight (did you mean \"lm_head.weight\"?)"));
  CHECK(contains(message, "1 unexpected:\n    lm_head.weight (did you mean \"head.weight\"?)"));
  CHECK(contains(message,
                 "1 of another shape:\n    trunk.0.mlp.gate.weight is [8, 12], expected [12, 8]"));
  CHECK(contains(
      message, "1 of another type:\n    vision.position is i32, expected f32 (or f32, bf16, f16)"));
  CHECK(trainer.training().get<float>("embedding.weight") == before);

  rewrite(scratch / "w", scratch / "few",
          [](io::NamedType& t, std::string&) { return t.name.compare(0, 5, "trunk") != 0; });
  const std::string many =
      user_error([&] { load_parameters(trainer.training(), scratch / "few"); });
  CHECK(contains(many, "14 missing:"));
  CHECK(contains(many, "and 4 more"));
}

TEST_CASE_FIXTURE(Fixture,
                  "import: bf16 and f16 become f32, rounded as they say, and are counted") {
  CaptionTrainer trainer(small_options(), small_tokenizer());
  save_parameters(trainer.training(), scratch / "w", {{"from", "here"}});
  const std::vector<float> head = trainer.training().get<float>("head.weight");
  const std::vector<float> table = trainer.training().get<float>("embedding.weight");
  rewrite(scratch / "w", scratch / "half", [](io::NamedType& t, std::string& bytes) {
    const bool to_bf16 = t.name == "head.weight";
    if (!to_bf16 && t.name != "embedding.weight") return true;
    std::string half(bytes.size() / 2, '\0');
    for (size_t i = 0; i < half.size() / 2; ++i) {
      float value = 0;
      std::memcpy(&value, &bytes[4 * i], 4);
      const uint16_t bits = to_bf16 ? bf16_from_float(value) : f16_from_float(value);
      std::memcpy(&half[2 * i], &bits, 2);
    }
    bytes = half;
    t.type.dtype = to_bf16 ? bf16 : f16;
    return true;
  });
  CaptionTrainer other(small_options(9), small_tokenizer());
  const Import import = load_parameters(other.training(), scratch / "half");
  CHECK(import.metadata.at("from") == "here");
  CHECK(import.converted == std::map<std::string, int64_t>{{"bf16 -> f32", 1}, {"f16 -> f32", 1}});
  const std::vector<float> new_head = other.training().get<float>("head.weight");
  const std::vector<float> new_table = other.training().get<float>("embedding.weight");
  for (size_t i = 0; i < head.size(); ++i) {
    CHECK(new_head[i] == float_from_bf16(bf16_from_float(head[i])));
    CHECK(new_table[i] == float_from_f16(f16_from_float(table[i])));
  }
  CHECK(other.training().get<float>("vision.position") ==
        trainer.training().get<float>("vision.position"));
}

TEST_CASE_FIXTURE(Fixture,
                  "import: a checkpoint lends its weights; another tokenizer's are refused") {
  CaptionTrainer trainer(small_options(), small_tokenizer());
  for (int i = 0; i < 3; ++i) trainer.step(list, 1e-2);
  trainer.save(scratch / "c", state_of(trainer), kRun);
  CaptionTrainer other(small_options(9), small_tokenizer());
  other.import_weights(scratch / "c");
  CHECK(other.steps() == 0);
  CHECK(other.evaluate(list) == trainer.evaluate(list));
  save_parameters(trainer.training(), scratch / "w", {{"tokenizer", "0123456789abcdef"}});
  CHECK(contains(user_error([&] { other.import_weights(scratch / "w"); }),
                 "made with tokenizer 0123456789abcdef"));
  CHECK_THROWS_WITH_AS(load_parameters(other.training(), "/nonexistent/w.safetensors"),
                       doctest::Contains("/nonexistent/w.safetensors"), Error);
}

}  // namespace
}  // namespace fusec::models
