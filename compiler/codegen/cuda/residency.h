// Rows: what stays in registers from one pass over a row to the next.
#pragma once

#include <vector>

#include "analysis.h"

namespace fusec::codegen_cuda {

struct Residency {
  bool unrolled = false;      // all turns of a thread are straight-line code
  int group = 1;              // turns whose loads are in flight together, where they are fetched
  std::vector<char> loads;    // by op: its words are loaded before the first pass and kept
  std::vector<char> values;   // by op: its lanes are computed once, in first_pass, and kept
  std::vector<int> first_pass;
  // By op: a sum of exp(value - maximum) that is accumulated in the pass of that maximum, a
  // reduction of this number; else -1.
  std::vector<int> joined_max;
  std::vector<std::vector<char>> needed;  // by pass and op: computed (or loaded) in that pass
};

// Reductions that pass `pass` accumulates, sums that join a maximum after all others.
std::vector<int> reduces_in(const KernelProgram& kernel, const Analysis& facts, const Residency& r,
                            int pass);

Residency choose_residency(const KernelProgram& kernel, const Analysis& facts);

// Reductions over walked rows: the last pass over each row adds to them.
std::vector<int> sums_over_rows(const KernelProgram& kernel, const Analysis& facts);
// Reductions that pass `pass` computes, and the stores of the last one.
std::vector<int> reduces_of(const KernelProgram& kernel, const Analysis& facts, int pass);
std::vector<int> stores_at(const KernelProgram& kernel, const Analysis& facts, Level level);
// 32-bit words of the lanes of one value of `type`.
int words_of(DType type, int lanes);
// Words of loads that a thread waits for at once: with a thousand threads of a processor enough for
// the latency of memory, and few enough to leave registers for the work.
inline constexpr int kWordsInFlight = 16;

}  // namespace fusec::codegen_cuda
