// The problem that the two oracles of attention share: where its elements lie, and which keys a
// query sees. Private to the oracle.
#pragma once

#include <algorithm>
#include <optional>

#include "fusec/ops/hook.h"
#include "oracle_ops.h"

namespace fusec::oracle {

struct AttentionProblem {
  int64_t b, t, s, h, kv, d;
  AttentionAttr attr;
  AttentionOperands at;
  const Data *cu = nullptr, *prefix = nullptr;
  std::optional<Hook> hook;
  HookDerivatives by;  // of the hook

  // `q_at`: the operand q; `first`: the first of the optional operands; operand(i) is the value of
  // operand i.
  template <class Operand>
  AttentionProblem(const Node& node, const std::vector<TensorType>& types, size_t q_at,
                   size_t first, Operand operand)
      : attr(node.as<AttentionAttr>()), at(attention_operands(attr, first, types.size())) {
    const Shape &q = types[q_at].shape, &k = types[q_at + 1].shape;
    b = q[0], t = q[1], h = q[2], d = q[3], s = k[1], kv = k[2];
    if (at.cu_seqlens) cu = &operand(at.cu_seqlens);
    if (at.prefix) prefix = &operand(at.prefix);
    if (attr.hook.empty()) return;
    hook = read_hook(attr.hook);
    by = differentiate(*hook);
  }

  int64_t query(int64_t ib, int64_t it, int64_t ih) const { return ((ib * t + it) * h + ih) * d; }
  int64_t key(int64_t ib, int64_t is, int64_t ih) const {
    return ((ib * s + is) * kv + ih / (h / kv)) * d;  // head ih shares key head ih / (H / KV)
  }
  int64_t row(int64_t ib, int64_t ih, int64_t it) const { return (ib * h + ih) * t + it; }

  // Document of a token, or -1 outside all of them.
  int64_t document(int64_t token) const {
    double at = static_cast<double>(token);
    if (at < cu->front() || at >= cu->back()) return -1;
    return std::upper_bound(cu->begin(), cu->end(), at) - cu->begin() - 1;
  }
  bool visible(int64_t ib, int64_t it, int64_t is) const {
    int64_t item = ib, place = it + (attr.top_left ? 0 : s - t), key = is;
    if (cu) {
      item = document(it);
      if (item < 0 || item != document(is)) return false;
      auto start = static_cast<int64_t>((*cu)[item]);
      place = it - start, key = is - start;
    }
    if (prefix && static_cast<double>(key) < (*prefix)[item]) return true;
    if (attr.causal && key > place) return false;
    return attr.window == 0 || (key > place - attr.window && key < place + attr.window);
  }
};

// f(item, head, query) for all rows of scores.
template <class F>
void for_each_query(const AttentionProblem& p, F f) {
  for (int64_t ib = 0; ib < p.b; ++ib)
    for (int64_t ih = 0; ih < p.h; ++ih)
      for (int64_t it = 0; it < p.t; ++it) f(ib, ih, it);
}

}  // namespace fusec::oracle
