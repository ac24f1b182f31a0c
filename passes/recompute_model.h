// The choice of what to compute twice, on plain numbers: steps in execution order, what each reads
// and makes. No IR: recompute.cpp fills it and carries the choice out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fusec::passes {

struct RecomputeStep {
  std::vector<int> reads, makes;  // values
  double cost = 0;                // of running it once more
  bool repeatable = false;
};

struct RecomputeValue {
  int64_t bytes = 0;  // of the arena
  int step = -1;      // that makes it; -1: a leaf, which is there anyway
};

// Steps that run a second time. Repeating step k makes copies of its results right before step
// `second[k]`, its first reader (a step or another copy) after `last[k]`; readers up to there keep
// the original, which dies there. `last` is the last reader up to the peak of the step without
// recompute; behind that peak, the reader before the longest stretch without one.
class RecomputeModel {
 public:
  RecomputeModel(std::vector<RecomputeStep> steps, std::vector<RecomputeValue> values);

  // Adds the next few steps to the set, the most bytes at the peak for the least cost first, until
  // the peak has sunk by a fiftieth of what it was without recompute. False: nothing helps any
  // more.
  bool grow();

  bool repeats(int step) const { return second_[step] >= 0; }
  // True if reader (a step; or the copy of `reader`, if `copy`) of a value of `step` takes the
  // copy.
  bool reads_copy(int step, int reader, bool copy) const;
  int second(int step) const { return second_[step]; }
  int last(int step) const { return last_[step]; }
  int64_t peak() const { return now_.peak; }

 private:
  struct Load {
    int64_t peak = 0;
    size_t at = 0;               // where, in half steps
    std::vector<int64_t> bytes;  // live in each half step: copies at 2 s, step s at 2 s + 1
  };
  struct Move {
    std::vector<int> steps;
    double score = 0;
  };
  Load load(const std::vector<int>& second) const;
  std::vector<int> places(const std::vector<bool>& chosen) const;
  Move best_move(int step, size_t at) const;
  bool accept(const Move& move, size_t at);
  void add_needed(std::vector<int>& steps) const;

  std::vector<RecomputeStep> steps_;
  std::vector<RecomputeValue> values_;
  std::vector<std::vector<int>> readers_;    // of each value
  std::vector<std::vector<int>> consumers_;  // of each step's values, sorted, unique
  std::vector<int> last_;                    // -1: never repeated
  std::vector<bool> chosen_;
  std::vector<int> second_;
  Load now_;
  int64_t first_peak_ = 0;
};

}  // namespace fusec::passes
