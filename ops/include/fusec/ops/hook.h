// A hook of attention: what the user's functions of one score became, as a graph of scalars, and
// the line of text that carries it through the IR and into a plan:
//
//   a0 = score; a1 = load 0 f32 [head]; a2 = key; a3 = query; a4 = sub(a2, a3); a5 = cast(a4, f32);
//   a6 = mul(a1, a5); a7 = add(a0, a6); score(a7); a9 = le(a2, a3); mask(a9)
//
// `load n type [index, ...]` is an element of captured tensor n. Each index is a sum of positions
// with whole factors and a number (key-query+7), so that where it may point is known when the graph
// is recorded, and a kernel's loads have strides. Recorded in attention() of ops.h.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/ops/graph.h"

namespace fusec {

enum class HookAxis : uint8_t { batch, head, query, key };
inline constexpr size_t kHookAxes = 4;

// offset + sum of factors over the axes.
struct HookIndex {
  std::array<int64_t, kHookAxes> factor = {};
  int64_t offset = 0;
  bool operator==(const HookIndex&) const = default;
};

struct HookLoad {
  int captured = 0;
  std::vector<HookIndex> index;  // one a dimension
  Value value;                   // the input of `graph` that stands for the element
};

// All values are scalars of `graph`: maps, casts, splat constants and inputs.
struct Hook {
  std::unique_ptr<Graph> graph = std::make_unique<Graph>();
  Value given;                               // input: the score, f32, before the hook
  std::array<Value, kHookAxes> position;     // inputs, i32
  std::vector<HookLoad> loads;
  Value score;                               // f32; `given` if only the mask is hooked
  Value mask;                                // b8; node -1: every key is seen

  bool has_mask() const { return mask.node >= 0; }
};

// A hook without loads, whose score is the given one.
FUSEC_API Hook empty_hook();

// The text above, without what no result needs. read_hook(print(h)) prints the same text. A user
// Error tells what does not read.
FUSEC_API std::string print(const Hook& hook);
FUSEC_API Hook read_hook(std::string_view text);
std::string hook_index_text(const HookIndex& index);

// Adds to hook.graph the derivative of the score by the score given and by each load; loads that
// are not float or do not matter have none (node -1).
struct HookDerivatives {
  Value by_given;
  std::vector<Value> by_load;
};
FUSEC_API HookDerivatives differentiate(Hook& hook);

// Checks loads against the captured tensors, for positions below `sizes`: a user Error at `loc`.
FUSEC_API void check_hook(const Hook& hook, const std::vector<TensorType>& captured,
                          const std::array<int64_t, kHookAxes>& sizes, SourceLoc loc);

// Where the optional operands of attention (first = 3) and attention_grad (6) lie among `count`; 0:
// not there. The captured tensors come last.
struct AttentionOperands {
  size_t cu_seqlens = 0, prefix = 0, sinks = 0, captured = 0;
};
FUSEC_API AttentionOperands attention_operands(const AttentionAttr& attr, size_t first,
                                               size_t count);

// One more than the largest number of a captured tensor in the text, 0 for an empty text.
FUSEC_API int captured_tensors(std::string_view hook_text);

}  // namespace fusec
