// What the tiny training step takes from the machine, against what its plan promised.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "allocations.h"
#include "fusec/inspect.h"
#include "tiny_step.h"

namespace fusec::models {
namespace {

TEST_CASE("the measured peak of the tiny step is the planned one") {
  for (Precision precision : {Precision::f32, Precision::bf16})
    for (int threads : {1, 2, 3}) {
      CAPTURE(threads);
      CAPTURE(static_cast<int>(precision));
      int64_t before = test::allocated_bytes();
      CompileOptions options;
      options.precision = precision;
      options.threads = threads;
      Executable exe = compile_tiny(options);
      feed_tiny(exe);
      test::reset_peak();
      exe.run();
      MemoryReport memory = exe.memory();
      int64_t hooked = test::allocated_peak() - before;
      MESSAGE("persistent " << memory.persistent << " arena " << memory.arena << " workspace "
                            << memory.workspace << " peak " << memory.peak() << " measured "
                            << exe.measured_bytes() << " hooked " << hooked);
      double planned = static_cast<double>(memory.peak());
      // What oneDNN packs during a call is not held between calls: 0.7 MB a thread of the plan.
      CHECK(exe.measured_bytes() <= memory.peak());
      CHECK(exe.measured_bytes() >= memory.persistent + memory.arena);
      // The hooks also see the plan itself and its code, about 1 MB.
      CHECK(static_cast<double>(hooked) <= 1.02 * planned + 1e6);
      // A third thread on two cores may get no GEMM, and then packs nothing.
      double idle = threads <= 2 ? 0 : static_cast<double>(memory.workspace) / threads;
      CHECK(static_cast<double>(exe.measured_bytes()) >= 0.98 * planned - idle);
      CHECK(static_cast<double>(hooked) >= 0.98 * planned - idle);
    }
}

// Plans alone: every tensor of the fused step (inputs, outputs and values inside, each padded to
// what it reserves, none that is written straight into a parameter) with a place of its own,
// against the arena. Persistent tensors have no second place to share and are left out of both
// sides.
TEST_CASE("lifetimes share memory: the arena is at most 0.6 of all tensors of the tiny step") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    RecordedGraph step = build_bundled("vision-gpt:tiny");
    InspectOptions options;
    options.compile.precision = precision;
    MemoryReport m = inspect(*step.graph, step.outputs, "tiny", options).memory;
    double share = static_cast<double>(m.arena) / static_cast<double>(m.without_reuse);
    double whole = static_cast<double>(m.persistent + m.arena) /
                   static_cast<double>(m.persistent + m.without_reuse);
    MESSAGE("arena " << m.arena << " of " << m.without_reuse << ": " << share
                     << "; with parameters and states " << whole);
    CHECK(share <= 0.6);
    CHECK(whole <= 0.6);
  }
}

TEST_CASE("the tiny step: a smaller budget never raises the peak") {
  RecordedGraph step = build_bundled("vision-gpt:tiny");
  auto plan = [&](int64_t budget) {
    InspectOptions options;
    options.compile.memory_budget = budget;
    options.compile.threads = 2;
    return inspect(*step.graph, step.outputs, "tiny", options);
  };
  int64_t free = plan(0).memory.peak(), least = plan(1).memory.peak(), last = INT64_MAX;
  MESSAGE("peak " << free << " free, " << least << " least");
  CHECK(static_cast<double>(least) <= 0.7 * static_cast<double>(free));
  for (int percent = 102; percent >= 58; percent -= 2) {
    CAPTURE(percent);
    int64_t budget = free / 100 * percent;
    Inspection r = plan(budget);
    CHECK(r.memory.peak() <= last);
    CHECK(r.memory.peak() >= least);
    CHECK(r.warnings.empty() == (r.memory.peak() <= budget));
    CHECK((r.memory.peak() <= budget || r.memory.peak() == least));
    last = r.memory.peak();
  }
}

TEST_CASE("the tiny step with recompute: the same bits, and the memory it promised") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    CAPTURE(static_cast<int>(precision));
    std::string expected;
    int64_t free = 0;
    for (double share : {0.0, 0.8, 0.01}) {
      CAPTURE(share);
      CompileOptions options;
      options.precision = precision;
      options.threads = 2;
      options.memory_budget = static_cast<int64_t>(share * static_cast<double>(free));
      int64_t before = test::allocated_bytes();
      Executable exe = compile_tiny(options);
      feed_tiny(exe);
      test::reset_peak();
      REQUIRE(exe.run().finite);
      auto hooked = static_cast<double>(test::allocated_peak() - before);
      REQUIRE(exe.run().finite);
      double peak = static_cast<double>(exe.memory().peak());
      CHECK(std::fabs(hooked - peak) <= 2e6);  // the plan itself and its code take about 1 MB
      if (expected.empty()) {
        expected = bits_of(exe);
        free = exe.memory().peak();
      } else {
        CHECK(exe.memory().peak() < free);
        CHECK((bits_of(exe) == expected));
      }
    }
  }
}

}  // namespace
}  // namespace fusec::models
