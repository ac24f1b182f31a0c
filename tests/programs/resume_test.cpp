// A run that was killed and resumed leaves the bytes of one that never was.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "fusec/io/safetensors.h"
#include "interrupt.h"
#include "tiny_run.h"

using namespace fusec;
using tests::contains;
using tests::Ended;
using tests::Flags;
using tests::Scratch;

namespace {

// Lines of a metrics file without what the clock measured.
std::vector<std::string> metrics(const Scratch& scratch, const std::string& run) {
  std::vector<std::string> lines;
  const std::string text = io::read_file(scratch / (run + "/metrics.jsonl"));
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    REQUIRE(end != std::string::npos);
    nlohmann::json line = nlohmann::json::parse(text.substr(begin, end - begin));
    line.erase("seconds");
    line.erase("tokens_per_second");
    lines.push_back(line.dump());
    begin = end + 1;
  }
  return lines;
}

// Name -> bytes: parameters and moments, and the state without what the clock measured (the length
// of the metrics file depends on how many digits a time has).
std::map<std::string, std::string> checkpoint(const std::string& path) {
  std::map<std::string, std::string> parts;
  io::SafetensorsReader file(path);
  for (const io::TensorEntry& t : file.header().tensors) parts[t.name] = file.read(t);
  parts["metadata"] = file.header().metadata.at("run") + file.header().metadata.at("model") +
                      file.header().metadata.at("tokenizer");
  nlohmann::json state = nlohmann::json::parse(file.header().metadata.at("state"));
  for (const char* clock : {"seconds", "seconds_in_steps", "metrics_bytes"}) state.erase(clock);
  parts["state"] = state.dump();
  return parts;
}

void check_same_run(const Scratch& scratch, const std::string& a, const std::string& b) {
  CHECK(metrics(scratch, a) == metrics(scratch, b));
  CHECK(io::read_file(scratch / (a + "/weights.safetensors")) ==
        io::read_file(scratch / (b + "/weights.safetensors")));
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(scratch / (a + "/checkpoints"))) {
    names.push_back(entry.path().filename().string());
  }
  CHECK(names.size() == 4);  // the newest three and the best
  for (const std::string& name : names) {
    CAPTURE(name);
    const auto left = checkpoint(scratch / (a + "/checkpoints/" + name));
    const auto right = checkpoint(scratch / (b + "/checkpoints/" + name));
    REQUIRE(left.size() == right.size());
    for (const auto& [part, bytes] : left) {
      CAPTURE(part);
      CHECK(right.count(part) == 1);
      CHECK((bytes == right.at(part)));
    }
  }
}

// Long after the last kill: a slow machine must not reach the end first.
const Flags kRun = {"--steps",      "2000", "--save-every", "40",
                    "--eval-every", "90",   "--log-every",  "7"};

bool has_checkpoint(const Scratch& scratch, const std::string& run, int64_t least) {
  std::error_code error;
  for (std::filesystem::directory_iterator it(scratch / (run + "/checkpoints"), error), end;
       !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.size() == 25 && name.compare(0, 5, "step-") == 0 &&
        std::stoll(name.substr(5)) >= least)
      return true;
  }
  return false;
}

}  // namespace

TEST_CASE("resume: killed four times at whatever it was doing, a run ends with the same bytes") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Ended whole = tests::pretrain(scratch, "whole", kRun);
  CAPTURE(whole.err);
  REQUIRE(whole.code == 0);

  struct Kill {
    int64_t step;
    useconds_t later;  // microseconds: in a step, a validation, the next checkpoint
    const char* threads;
  };
  for (const Kill& k : {Kill{40, 0, "2"}, {120, 2000, "1"}, {200, 5000, "2"}, {280, 9000, "1"}}) {
    Flags flags = kRun;
    flags.insert(flags.end(), {"--threads", k.threads});
    if (k.step > 40) flags.push_back("--resume");
    tests::Program program(scratch, "vision_pretrain", tests::tiny_flags(scratch, "parts", flags));
    const Ended killed = program.signal_when(SIGKILL, [&] {
      const bool there = has_checkpoint(scratch, "parts", k.step);
      if (there) usleep(k.later);
      return there;
    });
    CHECK(killed.signal == SIGKILL);
  }
  // What a killed writer can leave is removed and never read.
  io::write_file(scratch / "parts/checkpoints/step-00000999.safetensors.tmp123", "half");
  Flags flags = kRun;
  flags.push_back("--resume");
  const Ended rest = tests::pretrain(scratch, "parts", flags);
  CAPTURE(rest.err);
  REQUIRE(rest.code == 0);
  CHECK(contains(rest.out, "going on after step"));
  check_same_run(scratch, "whole", "parts");
}

TEST_CASE("resume: Ctrl-C finishes the step, saves, says how to go on, and exits with 130") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  REQUIRE(tests::pretrain(scratch, "whole", kRun).code == 0);

  tests::Program program(scratch, "vision_pretrain", tests::tiny_flags(scratch, "parts", kRun));
  const Ended stopped =
      program.signal_when(SIGINT, [&] { return has_checkpoint(scratch, "parts", 40); });
  CHECK(stopped.code == 130);
  CHECK(contains(stopped.err, "once more ends the program at once"));
  CHECK(contains(stopped.out, "checkpoint " + scratch / "parts/checkpoints/step-"));
  CHECK(contains(stopped.out, "--seed 5 --samples 0"));
  CHECK(contains(stopped.out, "--resume\n"));
  CHECK(!std::filesystem::exists(scratch / "parts/weights.safetensors"));

  Flags flags = kRun;
  flags.insert(flags.end(), {"--resume", scratch / "parts"});
  tests::Program second(scratch, "vision_pretrain", tests::tiny_flags(scratch, "parts", flags));
  const Ended term =
      second.signal_when(SIGTERM, [&] { return has_checkpoint(scratch, "parts", 200); });
  CHECK(term.code == 130);
  REQUIRE(tests::pretrain(scratch, "parts", flags).code == 0);
  CHECK(metrics(scratch, "whole") == metrics(scratch, "parts"));
  CHECK(io::read_file(scratch / "whole/weights.safetensors") ==
        io::read_file(scratch / "parts/weights.safetensors"));
}

TEST_CASE("interrupt: the first signal is remembered, the second of its kind ends the program") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(STDERR_FILENO);
    examples::InterruptGuard guard;
    if (guard.requested()) _exit(1);
    raise(SIGINT);
    if (!guard.requested()) _exit(2);
    raise(SIGTERM);  // another kind: still no more than remembered
    raise(SIGINT);
    _exit(3);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGINT);
}

TEST_CASE("resume: settings that alter the run are refused by flag, old and new value") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  REQUIRE(tests::pretrain(scratch, "run", {"--steps", "4", "--lr", "1e-3"}).code == 0);
  auto refused = [&](const Flags& flags, const std::vector<std::string>& parts) {
    Flags all = {"--resume", "--lr", "0.001"};  // the same number in another spelling
    all.insert(all.end(), flags.begin(), flags.end());
    const Ended ended = tests::pretrain(scratch, "run", all);
    CHECK(ended.code == 1);
    for (const std::string& part : parts) CHECK(contains(ended.err, part));
  };
  refused({"--steps", "8", "--beta1", "0.8", "--clip", "2"},
          {"--steps: 4 in the checkpoint, 8 now", "--beta1: 0.9 in the checkpoint, 0.8 now",
           "--clip: 1 in the checkpoint, 2 now"});
  refused({"--steps", "4", "--blank"}, {"--blank: off in the checkpoint, on now", "data set"});
  refused({"--steps", "4", "--no-fuse", "--precision", "bf16"},
          {"--no-fuse: off in the checkpoint, on now", "--precision: f32 in the checkpoint, bf16"});
  tests::write_tiny_data(scratch, " thing");
  refused({"--steps", "4"}, {"data set (--data): "});
}

TEST_CASE("resume: with a constant learning rate a run can be made longer") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Flags constant = {"--schedule", "constant", "--warmup", "0", "--log-every", "1"};
  auto steps = [&](const char* count, bool resume) {
    Flags flags = constant;
    flags.insert(flags.end(), {"--steps", count});
    if (resume) flags.push_back("--resume");
    return flags;
  };
  REQUIRE(tests::pretrain(scratch, "long", steps("12", false)).code == 0);
  REQUIRE(tests::pretrain(scratch, "short", steps("5", false)).code == 0);
  REQUIRE(tests::pretrain(scratch, "short", steps("12", true)).code == 0);
  CHECK(io::read_file(scratch / "long/weights.safetensors") ==
        io::read_file(scratch / "short/weights.safetensors"));
}

TEST_CASE("resume: an unfinished run is not overwritten, a finished one is replaced") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Flags flags = {"--steps", "4000000", "--save-every", "10"};
  tests::Program program(scratch, "vision_pretrain", tests::tiny_flags(scratch, "run", flags));
  program.signal_when(SIGKILL, [&] { return has_checkpoint(scratch, "run", 10); });
  const Ended again = tests::pretrain(scratch, "run", flags);
  CHECK(again.code == 1);
  CHECK(contains(again.err, "--resume goes on with it"));
  std::filesystem::remove_all(scratch / "run/checkpoints");
  REQUIRE(tests::pretrain(scratch, "run", {"--steps", "9"}).code == 0);
  REQUIRE(tests::pretrain(scratch, "run", {"--steps", "6"}).code == 0);
  CHECK(!has_checkpoint(scratch, "run", 7));
  CHECK(has_checkpoint(scratch, "run", 6));
}

TEST_CASE("init: a new run starts from the weights of another, or of a checkpoint") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  REQUIRE(tests::pretrain(scratch, "a", {"--steps", "5"}).code == 0);
  const Flags frozen = {"--steps", "1", "--lr", "0"};
  for (const char* file : {"a/weights.safetensors", "a/checkpoints/step-00000005.safetensors"}) {
    Flags flags = frozen;
    flags.insert(flags.end(), {"--init", scratch / file});
    const Ended ended = tests::pretrain(scratch, "b", flags);
    CAPTURE(ended.err);
    REQUIRE(ended.code == 0);
    CHECK(contains(ended.out, "first weights: "));
    io::SafetensorsReader a(scratch / "a/weights.safetensors");
    io::SafetensorsReader b(scratch / "b/weights.safetensors");
    for (size_t i = 0; i < a.header().tensors.size(); ++i) {
      CHECK(a.read(a.header().tensors[i]) == b.read(b.header().tensors[i]));
    }
  }
}
