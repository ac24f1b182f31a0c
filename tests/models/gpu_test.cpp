// The training step of vision-gpt:tiny on a GPU: its loss curve is the CPU's, two runs agree in
// every bit, and a recorded step reads what was written since. Skipped without a GPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "fusec/models/init.h"
#include "fusec/models/optim.h"
#include "tiny_step.h"

namespace fusec::models {
namespace {

constexpr int kSteps = 20;
constexpr double kRate = 1e-3;
// Relative size of what rounding does to a value of the step: its longest sums have some 4,096
// terms, and 4,096 roundings of 2^-24 that are independent add up to 64 of them.
constexpr double kRounding = 0x1p-18;

bool no_gpu() {
  try {
    Graph g;
    Tensor x = g.input("x", {1});
    compile(g, {x + 1.0}, {.device = "cuda"});
    return false;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::device) throw;
    std::printf("[SKIP] %s\n", e.what());
    return true;
  }
}

VisionGptConfig config() { return bundled("vision-gpt:tiny").config; }

// Each parameter's value times 1 + kRounding or 1 - kRounding, at random.
void move_parameters(Executable& exe, uint64_t key) {
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::parameter) continue;
    std::vector<float> values = exe.get<float>(b.name);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] *= static_cast<float>(1 + (philox(key, i)[0] & 1 ? kRounding : -kRounding));
    exe.set(b.name, values);
  }
}

// Losses of steps on one batch; with `moved` > 0, from parameters moved by that key.
std::vector<double> curve(const CompileOptions& options, uint64_t moved = 0) {
  Executable exe = compile_tiny(options);
  feed_tiny(exe);
  init_parameters(exe, config(), 0);
  if (moved > 0) move_parameters(exe, moved);
  std::vector<double> losses;
  for (int step = 1; step <= kSteps; ++step) {
    set_adamw_inputs(exe, {}, kRate, step);
    REQUIRE(exe.run().finite);
    losses.push_back(exe.item<float>("loss"));
  }
  return losses;
}

void check_within(const std::vector<double>& found, const std::vector<double>& expected,
                  const std::vector<double>& allowed) {
  for (int i = 0; i < kSteps; ++i) {
    INFO("step " << i + 1 << ": loss " << found[i] << ", expected " << expected[i] << " within "
                 << allowed[i]);
    CHECK(std::fabs(found[i] - expected[i]) <= allowed[i]);
  }
}

// Both devices run the same f32 operations and differ by rounding. How far a rounding carries
// through 20 steps of AdamW (whose first step is nearly the sign of the gradient, even where that
// is all rounding) is measured: the CPU's own curve from parameters that are off by as much, three
// times. Roundings enter in every step, not once, and three samples are few: 8 times the largest
// distance seen up to a step is allowed. That the distance is that of a rounding and not of a wrong
// term is checked, too: less than a thousandth of what the loss falls by.
TEST_CASE("the loss curve of the tiny model is that of the CPU") {
  if (no_gpu()) return;
  const std::vector<double> cpu = curve({.device = "cpu"});
  std::vector<double> allowed(kSteps, 0);
  for (uint64_t key : {11, 12, 13}) {
    const std::vector<double> moved = curve({.device = "cpu"}, key);
    double most = 0;
    for (int i = 0; i < kSteps; ++i) {
      most = std::max(most, std::fabs(moved[i] - cpu[i]));
      allowed[i] = std::max(allowed[i], 8 * std::max(most, kRounding * cpu[i]));
    }
  }
  REQUIRE(cpu.back() < cpu.front());
  REQUIRE(allowed.back() < 1e-3 * (cpu.front() - cpu.back()));
  check_within(curve({.device = "cpu", .fuse = false}), cpu, allowed);
  const std::vector<double> gpu = curve({.device = "cuda"});
  check_within(gpu, cpu, allowed);
  std::printf("loss after %d steps: CPU %.7f, GPU %.7f, allowed %.2g\n", kSteps, cpu.back(),
              gpu.back(), allowed.back());
}

TEST_CASE("first values that a GPU draws have the bits of those of the host") {
  if (no_gpu()) return;
  Executable exe = compile_tiny({.device = "cuda"});
  init_parameters(exe, config(), 3);
  for (const PlanBuffer& b : exe.plan().buffers) {
    if (b.cls != BufferClass::parameter) continue;
    INFO(b.name);
    CHECK(exe.get<float>(b.name) == initial_value(b.name, b.type.shape, config(), 3));
  }
}

TEST_CASE("two runs on a GPU agree in every bit when asked to") {
  if (no_gpu()) return;
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    CAPTURE(static_cast<int>(precision));
    std::string first;
    for (int repeat = 0; repeat < 2; ++repeat) {
      Executable exe =
          compile_tiny({.device = "cuda", .precision = precision, .deterministic = true});
      feed_tiny(exe);
      init_parameters(exe, config(), 0);
      for (int step = 1; step <= 5; ++step) {
        set_adamw_inputs(exe, {}, kRate, step);
        REQUIRE(exe.run().finite);
      }
      if (repeat == 0)
        first = bits_of(exe);
      else
        CHECK((bits_of(exe) == first));
    }
  }
}

// The first run launches step by step, the second is recorded, later ones replay that: each must
// give what a first run gives for the same inputs and parameters. Loss and norm of the
// gradient do not depend on the moments, the only thing that the runs before left behind.
TEST_CASE("a replayed step reads the inputs and parameters written since") {
  if (no_gpu()) return;
  const CompileOptions options{.device = "cuda", .deterministic = true};
  std::vector<std::vector<float>> expected;
  for (uint64_t key : {1, 3, 5}) {
    Executable fresh = compile_tiny(options);
    feed_tiny(fresh, key);
    REQUIRE(fresh.run().finite);
    expected.push_back({fresh.item<float>("loss"), fresh.item<float>("grad_norm")});
  }
  REQUIRE(expected[0] != expected[1]);
  REQUIRE(expected[1] != expected[2]);
  Executable exe = compile_tiny(options);
  for (int run : {0, 1, 2, 0, 1, 1, 2}) {
    CAPTURE(run);
    feed_tiny(exe, 1 + 2 * static_cast<uint64_t>(run));
    REQUIRE(exe.run().finite);
    std::vector<float> found = {exe.item<float>("loss"), exe.item<float>("grad_norm")};
    CHECK(found == expected[run]);
  }
}

}  // namespace
}  // namespace fusec::models
