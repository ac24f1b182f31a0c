// Derivatives of a hook, the check of its loads, and where attention's operands lie.
#include "fusec/ops/hook.h"

#include <algorithm>
#include <cmath>

#include "fusec/ops/grad.h"
#include "fusec/ops/ops.h"

namespace fusec {
namespace {

// Whether the score changes smoothly with v: along floats, past no stop_gradient.
bool depends(const Hook& hook, Value v) {
  const Graph& g = *hook.graph;
  if (!is_float(g.type(v).dtype)) return false;
  std::vector<bool> reached(g.nodes().size(), false);
  reached[v.node] = true;
  for (size_t i = v.node + 1; i < reached.size(); ++i) {
    const Node& n = g.nodes()[i];
    bool stops = n.kind == OpKind::cast && n.as<CastAttr>().stop;
    if (!is_float(n.results[0].dtype) || stops) continue;
    for (Value in : n.inputs)
      if (reached[in.node]) reached[i] = true;
  }
  return reached[hook.score.node];
}

}  // namespace

HookDerivatives differentiate(Hook& hook) {
  std::vector<Tensor> by;
  std::vector<Value*> to;
  HookDerivatives out;
  out.by_load.resize(hook.loads.size());
  auto want = [&](Value v, Value* derivative) {
    if (!depends(hook, v)) return;
    by.emplace_back(hook.graph.get(), v);
    to.push_back(derivative);
  };
  want(hook.given, &out.by_given);
  for (size_t i = 0; i < hook.loads.size(); ++i) want(hook.loads[i].value, &out.by_load[i]);
  std::vector<Tensor> derivatives;
  if (!by.empty()) derivatives = grad(At(Tensor(hook.graph.get(), hook.score), SourceLoc()), by);
  for (size_t i = 0; i < by.size(); ++i) *to[i] = derivatives[i].value();
  return out;
}

void check_hook(const Hook& hook, const std::vector<TensorType>& captured,
                const std::array<int64_t, kHookAxes>& sizes, SourceLoc loc) {
  constexpr size_t kMostLoads = 30;
  if (hook.loads.size() > kMostLoads)
    fail_user("attention hook: reads " + std::to_string(hook.loads.size()) +
                  " elements of captured tensors a score; expected at most " +
                  std::to_string(kMostLoads),
              loc);
  bool nothing = std::count(sizes.begin(), sizes.end(), 0) > 0;
  for (const HookLoad& l : hook.loads) {
    std::string who = "attention hook: captured tensor " + std::to_string(l.captured);
    if (l.captured >= static_cast<int>(captured.size()))
      fail_user(who + " is read, but there are " + std::to_string(captured.size()), loc);
    const TensorType& t = captured[l.captured];
    if (hook.graph->type(l.value).dtype != t.dtype || l.index.size() != t.shape.size())
      fail_user(who + " is " + t.str() + ", but is read as " +
                    std::string(name_of(hook.graph->type(l.value).dtype)) + " with " +
                    std::to_string(l.index.size()) + " indices",
                loc);
    for (size_t d = 0; d < l.index.size() && !nothing; ++d) {
      auto low = static_cast<double>(l.index[d].offset), high = low;  // doubles do not overflow
      for (size_t a = 0; a < kHookAxes; ++a) {
        double steps = static_cast<double>(sizes[a] - 1);
        double reach = static_cast<double>(l.index[d].factor[a]) * steps;
        (reach < 0 ? low : high) += reach;
      }
      if (low < 0 || high >= static_cast<double>(t.shape[d]))
fail_user(who + ", " + t.str() + ", is read at " + hook_index_text(l.index[d]) +
                      " along axis " + std::to_string(d) + ", which reaches from " +
                      std::to_string(std::llround(low)) + " to " +
                      std::to_string(std::llround(high)) + "; expected indices within 0.." +
                      std::to_string(t.shape[d] - 1) + " for every batch, head, query and key",
                  loc);
    }
  }
}

AttentionOperands attention_operands(const AttentionAttr& attr, size_t first, size_t count) {
  AttentionOperands at;
  at.captured = count - std::min<size_t>(count, captured_tensors(attr.hook));
  if (at.captured > first + attr.prefix + attr.sinks) at.cu_seqlens = first++;
  if (attr.prefix) at.prefix = first++;
  if (attr.sinks) at.sinks = first++;
  return at;
}

int captured_tensors(std::string_view hook_text) {
  if (hook_text.empty()) return 0;
  int most = 0;
  for (const HookLoad& l : read_hook(hook_text).loads) most = std::max(most, l.captured + 1);
  return most;
}

}  // namespace fusec
