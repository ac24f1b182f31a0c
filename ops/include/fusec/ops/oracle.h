// The slow, exact evaluator: any recorded graph, in double, straight from the op definitions. It
// shares no code with the compiler, so tests and --validate can compare against it. Values are
// row-major vectors of double whatever the dtype: floats unrounded (unless asked), integers exact
// up to 2^53, truth values 1.0 and 0.0.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

struct OracleOptions {
  // Round every float result to its dtype (f32, bf16, f16), as if each node were stored. Reductions
  // and contractions still accumulate in double.
  bool round_storage = false;
};

using OracleFeeds = std::map<std::string, std::vector<double>>;

// Holds the persistent values of a graph (parameters and states) between steps. The graph must
// outlive it; nodes may be added in between.
class FUSEC_API Oracle {
 public:
  explicit Oracle(const Graph& graph, OracleOptions options = {});

  // Sets the input, parameter or state `name`. Throws a user Error for an unknown name or a wrong
  // number of elements. States start at zero; inputs and parameters must be set before they are
  // needed.
  void set(const std::string& name, std::vector<double> values);
  // Current value; throws a user Error if it was never set.
  const std::vector<double>& get(const std::string& name) const;

  // Values of `wanted`, in order. Evaluates nothing that they do not need and changes nothing.
  std::vector<std::vector<double>> evaluate(const std::vector<Tensor>& wanted) const;
  // One step: as evaluate, then all assigns of the graph take effect together.
  std::vector<std::vector<double>> step(const std::vector<Tensor>& wanted);

 private:
  std::vector<std::vector<double>> run(const std::vector<Tensor>& wanted, bool assigns,
                                       OracleFeeds* assigned) const;
  const Node& leaf(const std::string& name) const;

  const Graph& graph_;
  OracleOptions options_;
  OracleFeeds values_;
};

// One evaluation from nothing but feeds.
FUSEC_API std::vector<std::vector<double>> evaluate(const Graph& graph, const OracleFeeds& feeds,
                                                    const std::vector<Tensor>& wanted,
                                                    OracleOptions options = {});

}  // namespace fusec
