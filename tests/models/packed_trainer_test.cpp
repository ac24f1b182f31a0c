// Chats through the data pipeline into updates: several batches are one, a run goes on to the bit.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "chat_pipeline.h"
#include "fusec/models/lora.h"
#include "fusec/models/model_file.h"

namespace fusec::models {
namespace {

using tests::Scratch;

std::map<std::string, std::vector<float>> parameters(PackedTrainer& trainer) {
  std::map<std::string, std::vector<float>> values;
  for (const PlanBuffer& b : trainer.training().plan().buffers)
    if (b.cls == BufferClass::parameter) values[b.name] = trainer.training().get<float>(b.name);
  return values;
}

// The same documents in one batch of two packs and in two batches. The sums of f32 gradients differ
// in their order alone: some 10^3 terms, 1e-4 of the norm is far above their rounding.
TEST_CASE("an update of two batches is that of one with both packs") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  const auto whole = chat_pipeline(scratch, 2), parts = chat_pipeline(scratch, 1);
  PackedTrainer once(trainer_options(*whole, 1)), twice(trainer_options(*parts, 2));
  for (int i = 0; i < 4; ++i) {
    const PackedStepResult a = once.step(*whole, 1e-3), b = twice.step(*parts, 1e-3);
    CHECK(a.supervised == b.supervised);
    CHECK(a.documents == b.documents);
    CHECK(a.images == b.images);
    CHECK(a.supervised > 0);
    CHECK(b.loss == doctest::Approx(a.loss).epsilon(1e-4));
    CHECK(b.grad_norm == doctest::Approx(a.grad_norm).epsilon(1e-3));
  }
  CHECK(once.steps() == 4);
}

TEST_CASE("a trainer and its data go on from a checkpoint to the bit") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  for (int64_t accumulate : {1, 2}) {
    CAPTURE(accumulate);
    const auto data = chat_pipeline(scratch, 1);
    PackedTrainer trainer(trainer_options(*data, accumulate));
    for (int i = 0; i < 3; ++i) trainer.step(*data, 1e-3);
    const std::string path = scratch / "half.safetensors";
    trainer.save(path, {.tokenizer = "t", .data = data::pipeline_state_text(*trainer.consumed())});
    for (int i = 0; i < 3; ++i) trainer.step(*data, 1e-3);

    const auto again = chat_pipeline(scratch, 1);
    PackedTrainer resumed(trainer_options(*again, accumulate));
    again->set_state(data::parse_pipeline_state(read_checkpoint_info(path).data, "data"));
    CHECK(resumed.resume(path).step == 3);
    for (int i = 0; i < 3; ++i) resumed.step(*again, 1e-3);
    CHECK(parameters(resumed) == parameters(trainer));
  }
}

TEST_CASE("a batch that is not finite updates nothing and leaves no gradient behind") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  for (int64_t accumulate : {1, 2}) {
    CAPTURE(accumulate);
    const auto data = chat_pipeline(scratch, 1);
    PackedTrainer trainer(trainer_options(*data, accumulate));
    trainer.step(*data, 1e-3);
    const auto good = parameters(trainer);
    std::vector<float> broken = good.at("head.weight");
    broken[0] = std::numeric_limits<float>::quiet_NaN();
    trainer.training().set("head.weight", broken);
    const PackedStepResult bad = trainer.step(*data, 1e-3);
    CHECK(bad.skipped);
    CHECK(!bad.culprit.empty());
    CHECK(trainer.steps() == 1);
    trainer.training().set("head.weight", good.at("head.weight"));
    CHECK(parameters(trainer) == good);
    const PackedStepResult fine = trainer.step(*data, 1e-3);
    CHECK(!fine.skipped);
    CHECK(std::isfinite(fine.grad_norm));
  }
}

TEST_CASE("validation is one epoch, the same every time") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  const auto data = chat_pipeline(scratch, 1);
  const auto held_out = chat_pipeline(scratch, 1, data::EpochEnd::flush);
  PackedTrainer trainer(trainer_options(*data, 1));
  const double first = trainer.evaluate(*held_out);
  CHECK(first == doctest::Approx(std::log(288.0)).epsilon(0.1));  // as a head of small weights says
  CHECK(trainer.evaluate(*held_out) == first);
  for (int i = 0; i < 20; ++i) trainer.step(*data, 1e-2);
  CHECK(trainer.evaluate(*held_out) < first - 0.5);
}

TEST_CASE("what a LoRA run leaves is a model without LoRA") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 12);
  const auto data = chat_pipeline(scratch, 1);
  PackedTrainerOptions o = trainer_options(*data, 1);
  o.model.lora.rank = 2;
  o.train = "lora";
  PackedTrainer trainer(o);
  const auto before = parameters(trainer);
  for (int i = 0; i < 3; ++i) trainer.step(*data, 1e-2);
  const ModelInfo info{.family = "fusec",
                       .part = ModelPart::whole,
                       .config = chat_config(),
                       .tokenizer = tests::chat_tokenizer(),
                       .tokenizer_hash = tests::chat_tokenizer().hash_text(),
                       .chat_template = "plain",
                       .ids = {}};
  const std::string path = scratch / "model.safetensors";
  save_model(std::as_const(trainer).plans(), info, o.model.lora, path);
  const ModelFile file(path);
  CHECK(file.info().chat_template == "plain");
  CHECK(file.info().tokenizer_hash == info.tokenizer_hash);
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const std::string& name = file.tensors()[i].name;
    CAPTURE(name);
    CHECK(!is_lora(name));
    const bool adapted = name.starts_with("trunk.") && file.tensors()[i].type.shape.size() == 2;
    CHECK((file.read_floats(i) != before.at(name)) == adapted);
  }
}

TEST_CASE("chats that teach nothing are refused, or dropped and counted") {
  Scratch scratch;
  tests::write_chats(scratch, "train", 0, 4);
  io::Document silent = tests::chat(0);
  silent.messages.pop_back();
  std::vector<io::Document> documents = {tests::chat(1), silent, tests::chat(2)};
  io::write_documents(scratch / "train/chats.jsonl", documents);
  {
    const auto data = chat_pipeline(scratch, 1, data::EpochEnd::flush);
    std::string message;
    try {
      data->next();
    } catch (const Error& error) {
      message = error.message();
    }
    CHECK(message.find("chats.jsonl:2: ") != std::string::npos);
    CHECK(message.find("assistant") != std::string::npos);
  }
  const auto data = chat_pipeline(scratch, 1, data::EpochEnd::flush, true);
  while (data->next()) {
  }
  CHECK(data->statistics().documents == 3);
  CHECK(data->statistics().documents_dropped() == 1);
  CHECK(data->statistics().dropped.count(name_of(ChatDrop::no_answer)) == 1);
}

}  // namespace
}  // namespace fusec::models
