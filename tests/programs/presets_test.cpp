// Presets and their flags: sizes that flags change, text alone, a profile, names of devices.
#include "fusec/io/json.h"
#include "fusec/io/safetensors.h"
#include "tiny_run.h"

using namespace fusec;
using tests::contains;
using tests::Ended;
using tests::Scratch;

namespace {

// Shape of a tensor in a file of weights, as text; empty if it is not there.
std::string shape_in(const std::string& path, const std::string& name) {
  const io::SafetensorsReader file(path);
  for (const io::TensorEntry& entry : file.header().tensors)
    if (entry.name == name) return str(entry.type.shape);
  return "";
}

}  // namespace

TEST_CASE("preset: flags change its sizes, its vocabulary stays, its config file repeats the run") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Ended run = tests::pretrain(scratch, "run", {"--preset", "d12", "--steps", "2"});
  CHECK_MESSAGE(run.code == 0, run.err);
  const std::string weights = scratch / "run/weights.safetensors";
  CHECK(shape_in(weights, "head.weight") == "[65536, 8]");
  CHECK(shape_in(weights, "resampler.1.attn.q.weight") == "[8, 8]");  // its second block

  const Ended again =
      tests::run_program(scratch, "vision_pretrain",
                         {"--config", scratch / "run/config.toml", "--out", scratch / "again"});
  CHECK_MESSAGE(again.code == 0, again.err);
  CHECK(io::read_file(weights) == io::read_file(scratch / "again/weights.safetensors"));
}

TEST_CASE("text only: trains, captions and resumes without a picture; --profile leaves its files") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Ended run = tests::pretrain(scratch, "run", {"--text-only", "--steps", "4", "--profile"});
  CHECK_MESSAGE(run.code == 0, run.err);
  CHECK(contains(run.out, "none: text only"));
  CHECK(contains(run.out, "in no kernel"));
  const std::string weights = scratch / "run/weights.safetensors";
  CHECK(shape_in(weights, "trunk.0.attn.q.weight") == "[8, 8]");
  for (const char* name : {"vision.position", "resampler.query", "projector.up.weight"})
    CHECK(shape_in(weights, name) == "");
  CHECK(io::parse_json(io::read_file(scratch / "run/profile/profile.json"), "profile", 8)
            .at("groups")
            .size() > 4);
  io::parse_json(io::read_file(scratch / "run/profile/trace.json"), "trace", 8);

  const Ended other = tests::pretrain(scratch, "run", {"--steps", "4", "--resume"});
  CHECK(other.code == 1);
  CHECK(contains(other.err, "--text-only"));
}

TEST_CASE("refused: a preset or a device that there is not, with the nearest") {
  Scratch scratch;
  auto refused = [&](const char* flag, const char* value, const char* part) {
    const Ended run = tests::run_program(scratch, "vision_pretrain", {flag, value});
    CHECK(run.code == 1);
    CHECK(contains(run.err, part));
  };
  refused("--preset", "d21", "unknown value \"d21\"");
  refused("--device", "cudda", "did you mean \"cuda\"?");
  refused("--device", "cuda:x", "unknown value \"cuda:x\"");
  refused("--device", "cuda:", "unknown value \"cuda:\"");
}
