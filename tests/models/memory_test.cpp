// What the tiny training step takes from the machine, against what its plan promised.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>

#include "allocations.h"
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
      if (threads <= 2)
        CHECK(std::fabs(static_cast<double>(exe.measured_bytes()) - planned) <= 0.02 * planned);
      CHECK(std::fabs(static_cast<double>(hooked) - planned) <= 0.02 * planned);
    }
}

}  // namespace
}  // namespace fusec::models
