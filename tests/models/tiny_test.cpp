// The whole training step of the bundled vision-gpt:tiny, fused against one kernel an op.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "fusec/inspect.h"
#include "tiny_step.h"

namespace fusec::models {
namespace {

Executable run_tiny(bool fuse) {
  CompileOptions options;
  options.fuse = fuse;
  Executable exe = compile_tiny(options);
  feed_tiny(exe);
  exe.run();
  return exe;
}

double largest(const std::vector<float>& v) {
  double most = 0;
  for (float x : v) most = std::max(most, std::fabs(static_cast<double>(x)));
  return most;
}

// Both modes run the same f32 operations but for fused multiply-adds inside kernels, so a gradient
// differs by roundings that 12 layers carry along: some 1e-6 of its tensor's largest element. 1e-4
// leaves room and still sees any wrong term. Gradients that vanish in exact arithmetic (key biases)
// are all rounding: they count against 1e-6 of the largest gradient of the step. Parameters are not
// compared: AdamW's first step is close to the sign of the gradient.
TEST_CASE("the whole tiny step: fused equals unfused") {
  Executable fused = run_tiny(true), unfused = run_tiny(false);
  CHECK(fused.plan().steps.size() * 4 < unfused.plan().steps.size());
  double loss = unfused.get<float>("loss")[0], norm = unfused.get<float>("grad_norm")[0];
  CHECK(loss > 1);
  CHECK(fused.get<float>("loss")[0] == doctest::Approx(loss).epsilon(1e-5));
  CHECK(fused.get<float>("grad_norm")[0] == doctest::Approx(norm).epsilon(1e-5));
  double step_scale = 0;
  for (const PlanBuffer& b : unfused.plan().buffers)
    if (b.cls == BufferClass::state)
      step_scale = std::max(step_scale, largest(unfused.get<float>(b.name)));
  int compared = 0;
  for (const PlanBuffer& b : unfused.plan().buffers) {
    if (b.cls != BufferClass::state) continue;
    std::vector<float> a = fused.get<float>(b.name), e = unfused.get<float>(b.name);
    double allowed = 1e-4 * largest(e) + 1e-6 * step_scale, gap = 0;
    for (size_t i = 0; i < e.size(); ++i)
      gap = std::max(gap, std::fabs(static_cast<double>(a[i]) - static_cast<double>(e[i])));
    INFO(b.name << ": largest difference " << gap << ", allowed " << allowed);
    CHECK(gap <= allowed);
    ++compared;
  }
  CHECK(compared > 100);
}

// The plan decides the order of every sum, so the bits of a result do not depend on the threads
// only if the plan does not.
TEST_CASE("the plan of the tiny step does not depend on the number of threads") {
  std::string first;
  for (int threads : {1, 2, 16}) {
    RecordedGraph step = build_bundled("vision-gpt:tiny");
    InspectOptions options;
    options.compile.threads = threads;
    std::string plan = print(inspect(*step.graph, step.outputs, "tiny", options).plan);
    if (first.empty()) first = plan;
    CHECK(plan == first);
  }
}

// Compiled anew each time, run twice (the second step starts from the first one's parameters and
// moments): outputs, parameters and states agree in every bit.
TEST_CASE("the tiny step gives the same bits for any number of threads, compile and run") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    CAPTURE(static_cast<int>(precision));
    std::vector<std::string> first;  // after one step, after two
    for (int threads : {2, 1, 2, 3, 16}) {
      CAPTURE(threads);
      CompileOptions options;
      options.precision = precision;
      options.threads = threads;
      Executable exe = compile_tiny(options);
      feed_tiny(exe);
      std::vector<std::string> bits;
      for (int step = 0; step < 2; ++step) {
        REQUIRE(exe.run().finite);
        bits.push_back(bits_of(exe));
      }
      CHECK(bits[0] != bits[1]);
      if (first.empty()) first = bits;
      CHECK((bits == first));
    }
  }
}

}  // namespace
}  // namespace fusec::models
