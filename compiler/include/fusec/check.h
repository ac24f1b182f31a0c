// Proving that compiled code computes what was written. Two methods, one tolerance model
// (ops/tolerance.h):
//
//   validate   a compiled plan, step by step on its own inputs: the oracle evaluates each kernel's
//              fused region (and each library call's definition) in double on what the step is
//              about to read, and compares with what it wrote. Finds which kernel is wrong, for
//              models of any size.
//   check      a whole recorded graph: the oracle against the unfused and the fused program on
//              seeded inputs over several steps, outputs and persistent values. Finds that
//              something is wrong, fusion and planning included; for small graphs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/compile.h"

namespace fusec {

// One element that left its interval.
struct FUSEC_API Mismatch {
  std::string where;  // "step 3, kernel k02_silu_mul, result 0" or "fused, step 1, output y"
  std::vector<std::string> ops;  // of the kernel, each "map.silu (mlp.cpp:12)"
  Shape index;                   // of the element
  double got = 0, expected = 0, allowed = 0;
  int64_t wrong = 0, elements = 0;  // of that tensor
  std::string str() const;          // one line, then one line an op
};

struct FUSEC_API ValidateReport {
  int64_t steps = 0, tensors = 0, elements = 0;
  int64_t excluded = 0;         // elements about which the model says nothing (bounds.h)
  int64_t sampled = 0;          // elements of large library calls that were not looked at
  std::vector<Mismatch> wrong;  // in order of execution; at most one a result
  bool ok() const { return wrong.empty(); }
  std::string str() const;  // closing line, and the first mismatch
};

struct CheckOptions {
  uint64_t seed = 1;
  int steps = 2;           // runs of the step; states and parameters carry over
  bool kernels = true;  // validate() each program; of large graphs the last step only
  bool whole = true;       // compare whole programs (skipped, and said so, for large graphs)
  CompileOptions compile;  // fuse is set by check()
};

struct FUSEC_API CheckReport {
  int64_t tensors = 0, elements = 0, excluded = 0;
  bool whole = false;  // whole programs were compared
  std::vector<Mismatch> wrong;
  std::string refused;  // an Error of kind unsupported: legal, but not built for this device
  bool ok() const { return wrong.empty(); }
  std::string str() const;
};

// Seeded values for a leaf of a graph: the same for the same name, type, role and seed, whatever
// else is in the graph. Floats are spread over [-2, 2] (matrices scaled by their width), in every
// third leaf on a grid of quarters, so that ties occur; integers that reach an index are valid rows
// or negative, distinct where rows are set; states start at zero.
FUSEC_API std::vector<double> seeded_values(const Graph& graph, Value leaf, uint64_t seed);

// Compiles `outputs` and the assigns of `graph`, fused and unfused, and compares as above.
FUSEC_API CheckReport check(Graph& graph, const std::vector<Output>& outputs,
                            const CheckOptions& options = {});

// A graph read back from the text of stage graph or canonical, to check or to compile.
struct ReadGraph {
  std::string name;
  std::unique_ptr<Graph> graph;
  std::vector<Output> outputs;
};
FUSEC_API ReadGraph read_graph(std::string_view text, const std::string& name);
// Its inverse: the text of stage graph.
FUSEC_API std::string write_graph(Graph& graph, const std::vector<Output>& outputs,
                                  const std::string& name);

}  // namespace fusec
