// chat_sft as a user meets it.
#include <fstream>

#include "chat_set.h"
#include "fusec/io/safetensors.h"
#include "program.h"

using namespace fusec;
using tests::Ended;
using tests::Scratch;

namespace {

using Flags = std::vector<std::string>;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

void write_set(const Scratch& scratch) {
  tests::write_chats(scratch, "chat/train", 0, 12);
  tests::write_chats(scratch, "chat/val", 1, 4);
  tests::chat_tokenizer().save(scratch / "chat/tokenizer.json");
}

Ended sft(const Scratch& scratch, const std::string& out, const Flags& more) {
  Flags flags = {"--data",
                 scratch / "chat/train",
                 "--val",
                 scratch / "chat/val",
                 "--out",
                 scratch / out,
                 "--pack-max-length",
                 "96",
                 "--max-images",
                 "4",
                 "--device",
                 "cpu",
                 "--schedule",
                 "constant",
                 "--warmup",
                 "0",
                 "--samples",
                 "1"};
  flags.insert(flags.end(), more.begin(), more.end());
  return tests::run_program(scratch, "chat_sft", flags);
}

}  // namespace

TEST_CASE("chat_sft trains, validates, answers and leaves a model") {
  Scratch scratch;
  write_set(scratch);
  const Ended end = sft(scratch, "run", {"--steps", "4", "--eval-every", "2", "--log-every", "1"});
  INFO(end.out << end.err);
  REQUIRE(end.code == 0);
  CHECK(contains(end.out, "validation at step 4"));
  CHECK(contains(end.out, "packs of 96 tokens"));
  CHECK(contains(end.out, "waiting for data"));
  CHECK(contains(end.out, "0 of 1 first answers") != contains(end.out, "1 of 1 first answers"));
  const io::SafetensorsReader model(scratch / "run/model.safetensors");
  CHECK(model.header().metadata.at("chat_template") == "plain");
  CHECK(std::filesystem::exists(scratch / "run/tokenizer.json"));
  const std::string metrics = io::read_file(scratch / "run/metrics.jsonl");
  CHECK(std::count(metrics.begin(), metrics.end(), '\n') == 3 + 4);
}

TEST_CASE("a run of chat_sft that went on leaves the bytes of one that never stopped") {
  Scratch scratch;
  write_set(scratch);
  REQUIRE(sft(scratch, "whole", {"--steps", "6", "--last"}).code == 0);
  REQUIRE(sft(scratch, "parts", {"--steps", "3", "--last"}).code == 0);
  const Ended on = sft(scratch, "parts", {"--steps", "6", "--last", "--resume"});
  INFO(on.out << on.err);
  REQUIRE(on.code == 0);
  CHECK(contains(on.out, "going on after step 3"));
  CHECK((io::read_file(scratch / "whole/model.safetensors") ==
         io::read_file(scratch / "parts/model.safetensors")));
  const Ended other = sft(scratch, "parts", {"--steps", "9", "--last", "--resume", "--lr", "0.5"});
  CHECK(other.code == 1);
  CHECK(contains(other.err, "--lr: 0.001 in the checkpoint, 0.5 now"));
}

TEST_CASE("chat_sft continues from its own model, and with LoRA") {
  Scratch scratch;
  write_set(scratch);
  REQUIRE(sft(scratch, "first", {"--steps", "2"}).code == 0);
  const Ended end =
      sft(scratch, "second",
          {"--steps", "2", "--init", scratch / "first", "--lora-rank", "2", "--accumulate", "2"});
  INFO(end.out << end.err);
  REQUIRE(end.code == 0);
  CHECK(contains(end.out, "first/model.safetensors"));
  CHECK(contains(end.out, "(--train lora)"));
  const io::SafetensorsReader before(scratch / "first/model.safetensors"),
      after(scratch / "second/model.safetensors");
  CHECK(before.header().tensors.size() == after.header().tensors.size());
}

TEST_CASE("chat_sft shows what it would learn") {
  Scratch scratch;
  write_set(scratch);
  const Ended end = sft(scratch, "run", {"--show-batch"});
  CHECK(end.code == 0);
  CHECK(contains(end.out, "[[supervised]]"));
  CHECK(contains(end.out, "<|assistant|>[["));
  CHECK(!std::filesystem::exists(scratch / "run"));
  const Ended rows = sft(scratch, "run", {"--show-batch", "2", "--no-packing"});
  CHECK(rows.code == 0);
  CHECK(!contains(rows.out, "document 1:"));
}

TEST_CASE("chat_sft says what is wrong with flags and data") {
  Scratch scratch;
  write_set(scratch);
  CHECK(contains(sft(scratch, "run", {"--lorarank", "2"}).err, "--lora-rank"));
  CHECK(contains(sft(scratch, "run", {"--train", "trunks"}).err, "did you mean \"trunk\""));
  std::filesystem::remove(scratch / "chat/train/images/p1.png");
  const Ended missing = sft(scratch, "run", {"--steps", "20"});
  CHECK(missing.code == 1);
  CHECK(contains(missing.err, "chats.jsonl:"));
  CHECK(contains(missing.err, "p1.png"));
  const Ended fine = sft(scratch, "run", {"--steps", "4", "--drop-bad"});
  INFO(fine.out << fine.err);
  CHECK(fine.code == 0);
  CHECK(contains(fine.out, "left out"));
  CHECK(contains(fine.out, "missing image"));
  std::filesystem::remove(scratch / "chat/tokenizer.json");
  CHECK(contains(sft(scratch, "new", {"--steps", "1"}).err, "no tokenizer"));
}
