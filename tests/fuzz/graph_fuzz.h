// Random graphs for differential testing: generate, judge, shrink.
//
// Soundness. Oracle and program may differ by rounding, and a rounding may decide a comparison, a
// maximum, a cast to an integer or an index differently. No tolerance of a test can cover that, so
// none is set here: check() compares with the bounds of ops/tolerance.h, where an undecided
// comparison covers both branches, an undecided truncation every integer in reach, and an undecided
// index excludes its row. Values that are small multiples of a power of two stay exact through
// + - * max min and comparisons, so ties are compared exactly too; seeded_values() draws every
// third leaf from quarters to make them. What the bounds cannot decide (domain errors, intervals as
// wide as the values) is counted as excluded, reported in the closing line, and kept small by the
// generator: operands are fitted into the range that the op table names (pointwise.def, lo..hi).
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "fusec/check.h"
#include "fusec/fusec.h"

namespace fusec::fuzz {

// A graph with what is asked of it.
struct Sample {
  std::unique_ptr<Graph> graph;
  std::vector<Output> outputs;
};

// The same seed gives the same graph on every machine.
Sample generate(uint64_t seed);

// How a sample is run: part of the seed, so that a replay needs the same flags.
struct Mode {
  bool bf16 = false;  // the bf16 policy, kernel by kernel (it rounds what the graph does not say)
  bool kernels = false;  // validate each kernel too
  int threads = 1;
  std::string device = "cpu";
};
Mode mode_of(uint64_t seed);

// What became of one sample. `what` is empty if all is well.
struct Verdict {
  CheckReport report;
  std::string what;  // first mismatch, or the Error
  bool refused = false;
  bool lost = false;  // the device refused or broke: this process may not be able to use it again
  bool failed() const { return !what.empty(); }
};
Verdict judge(Sample& sample, uint64_t seed, const Mode& mode);

// Nodes that are ops: not leaves, constants or assigns.
int64_t count_ops(const Graph& graph);

// A smaller sample for which `fails` still holds: outputs and assigns dropped, ops replaced by an
// operand or by a fresh input, sizes shrunk, one at a time until nothing more can go. `fails` must
// hold for the sample itself. At most `budget` trials.
Sample shrink(Sample sample, const std::function<bool(Sample&)>& fails, int budget = 2000);

// Draws: one place, so that every platform makes the same graphs.
class Dice {
 public:
  explicit Dice(uint64_t seed) : engine_(seed * 0x9e3779b97f4a7c15ULL + 0x1234567) {}
  int64_t below(int64_t n) { return n <= 0 ? 0 : static_cast<int64_t>(engine_() % n); }
  bool chance(int64_t one_in) { return below(one_in) == 0; }
  template <class T>
  const T& of(const std::vector<T>& list) {
    return list[below(static_cast<int64_t>(list.size()))];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace fusec::fuzz
