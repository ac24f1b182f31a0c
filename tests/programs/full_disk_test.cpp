// A disk that is full while a run saves: the run goes on, and the last good checkpoint stays.
// The limit on file sizes stands in for the disk: a write fails after so many bytes.
#include "fusec/io/safetensors.h"
#include "tiny_run.h"

using namespace fusec;
using tests::contains;
using tests::Ended;
using tests::Flags;
using tests::Scratch;

TEST_CASE("full disk: checkpoints fail with a warning, training goes on, the old one is intact") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Flags first = {"--steps",    "9",        "--save-every", "3",
                       "--schedule", "constant", "--warmup",     "0"};
  REQUIRE(tests::pretrain(scratch, "run", first).code == 0);
  const std::string last = scratch / "run/checkpoints/step-00000009.safetensors";
  const std::string before = io::read_file(last);
  const size_t weights = std::filesystem::file_size(scratch / "run/weights.safetensors");
  REQUIRE(before.size() > 2 * weights);

  Flags more = first;
  more[1] = "15";
  more.push_back("--resume");
  // Weights fit, checkpoints (weights and two moments) do not.
  const Ended ended = tests::pretrain(scratch, "run", more, (before.size() + weights) / 2);
  CAPTURE(ended.err);
  CHECK(ended.code == 0);
  CHECK(contains(ended.err, "warning: no checkpoint at step 12: "));
  CHECK(contains(ended.err, "File too large; raise the limit on file sizes"));
  CHECK(contains(ended.err, "training goes on; the last good one is " + last));
  CHECK(contains(ended.out, "15 steps in"));
  CHECK(io::read_file(last) == before);
  for (const auto& entry : std::filesystem::directory_iterator(scratch / "run/checkpoints")) {
    CHECK(entry.path().extension() == ".safetensors");  // no temporary file is left
  }
}

TEST_CASE("full disk: weights that cannot be written are an error") {
  Scratch scratch;
  tests::write_tiny_data(scratch);
  const Ended ended = tests::pretrain(scratch, "run", {"--steps", "2"}, 2000);
  CHECK(ended.code == 1);
  CHECK(contains(ended.err, "error: " + scratch / "run/weights.safetensors: cannot be written"));
}
