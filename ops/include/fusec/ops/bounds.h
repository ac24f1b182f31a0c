// The oracle with error bounds: every value of a graph in double together with how far any device
// that keeps the numerics contract may be from it (tolerance.h). One comparison serves all types,
// depths and magnitudes: a result is wrong exactly when it leaves its interval.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

// Row-major. value: rounded to the dtype where that is a float. error: absolute; infinite where
// nothing can be said (tolerance.h lists when).
struct BoundedData {
  std::vector<double> value, error;
};
using BoundedFeeds = std::map<std::string, BoundedData>;

// Numbers that both sides share exactly: error 0.
FUSEC_API BoundedData exactly(std::vector<double> values);

// Rounds values to `type` and widens the errors by what that rounding may add (store, then load).
FUSEC_API void round_to_storage(BoundedData& x, DType type);

// Values of `wanted`, in order. `feeds` holds every input and parameter that they need; a state
// without a feed is zero. With `assigned`, what the graph's assigns write is put there, by name.
// Throws a user Error like the oracle's.
FUSEC_API std::vector<BoundedData> evaluate_bounded(const Graph& graph, const BoundedFeeds& feeds,
                                                    const std::vector<Tensor>& wanted,
                                                    BoundedFeeds* assigned = nullptr);

// What comparing one tensor gave.
struct Agreement {
  int64_t elements = 0;  // compared
  int64_t excluded = 0;  // not compared: no finite bound, or one as large as the tensor's values
  int64_t wrong = 0;
  int64_t first = -1;                         // index of the first wrong element, row-major
  double got = 0, expected = 0, allowed = 0;  // there
};

// Compares `got` with the bounds. An element whose bound exceeds a quarter of the largest magnitude
// in the tensor still has to lie inside it, but tells so little that it counts as excluded.
FUSEC_API Agreement compare(const std::vector<double>& got, const BoundedData& expected);

}  // namespace fusec
