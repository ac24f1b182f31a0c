// Recording the functions that a user hands to attention(). Private to the recorder.
#pragma once

#include <string>
#include <vector>

#include "fusec/ops/ops.h"

namespace fusec {

struct RecordedHook {
  std::string text;              // of hook.h
  std::vector<Tensor> captured;  // by the numbers in the text
};

// Calls the functions of `options` once each, with scalars of a graph of their own. A user Error,
// at the line of the op in question, refuses ops other than pointwise ones and casts, tensors of
// other graphs and results of other types.
RecordedHook record_hook(const AttentionOptions& options, Graph& graph, SourceLoc loc);

}  // namespace fusec
