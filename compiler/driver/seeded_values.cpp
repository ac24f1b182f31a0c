// Seeded inputs for check(): what a leaf is used for decides what it may hold.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "fusec/base/hash.h"
#include "fusec/base/philox.h"
#include "fusec/check.h"
#include "fusec/ops/hook.h"

namespace fusec {
namespace {

// What constrains an integer leaf: the indices and document bounds that it reaches unchanged.
struct Role {
  std::optional<int64_t> rows;       // index into a table of so many rows
  bool distinct = false;             // rows are set: none may come twice
  std::optional<int64_t> documents;  // cu_seqlens over so many tokens
  std::optional<int64_t> pages;      // numbers of so many pages
  std::optional<int64_t> length;     // lengths up to this
};

Role role_of(const Graph& graph, Value leaf) {
  Role role;
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<bool> same(nodes.size(), false);  // holds the leaf's numbers
  same[leaf.node] = true;
  for (size_t i = leaf.node + 1; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    auto from_leaf = [&](size_t operand) {
      return n.inputs.size() > operand && same[n.inputs[operand].node];
    };
    if (n.kind == OpKind::view || n.kind == OpKind::cast || n.kind == OpKind::concat)
      for (size_t k = 0; k < n.inputs.size(); ++k)
        if (from_leaf(k)) same[i] = true;
    if ((n.kind == OpKind::gather || n.kind == OpKind::scatter) && from_leaf(1)) {
      int64_t rows = graph.type(n.inputs[0]).shape[0];
      role.rows = std::min(rows, role.rows.value_or(rows));
      if (n.kind == OpKind::scatter && n.as<ScatterAttr>().mode == ScatterMode::set)
        role.distinct = true;
    }
    size_t cu = n.kind == OpKind::attention ? 3 : n.kind == OpKind::attention_grad ? 6 : 99;
    if (cu < 99 && attention_operands(n.as<AttentionAttr>(), cu, n.inputs.size()).cu_seqlens &&
        from_leaf(cu)) role.documents = graph.type(n.inputs[cu - 3]).shape[1];
    if (n.kind == OpKind::paged_attention) {
      const Shape &k = graph.type(n.inputs[1]).shape, &table = graph.type(n.inputs[3]).shape;
      auto least = [](std::optional<int64_t>& x, int64_t most) {
        x = std::min(most, x.value_or(most));
      };
      if (from_leaf(3)) least(role.pages, k[0]);
      if (from_leaf(4)) least(role.length, k[0] > 0 ? table[1] * k[1] : 0);
      if (n.as<PagedAttentionAttr>().cu_q && from_leaf(5))
        least(role.documents, graph.type(n.inputs[0]).shape[0]);
    }
  }
  return role;
}

class Draw {
 public:
  explicit Draw(uint64_t key) : key_(key) {}
  uint32_t bits() { return philox(key_, counter_++)[0]; }
  double uniform() { return philox_uniform(bits()); }
  int64_t below(int64_t n) { return n <= 0 ? 0 : bits() % n; }

 private:
  uint64_t key_, counter_ = 0;
};

std::vector<double> rows(Draw& draw, const Role& role, int64_t count) {
  std::vector<double> out;
  if (!role.distinct) {
    for (int64_t i = 0; i < count; ++i)
      out.push_back(*role.rows == 0 || draw.below(6) == 0
                        ? -1 - static_cast<double>(draw.below(3))
                        : static_cast<double>(draw.below(*role.rows)));
    return out;
  }
  std::vector<int64_t> order(std::max<int64_t>(*role.rows, 0));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i-- > 1;)
    std::swap(order[i], order[draw.below(static_cast<int64_t>(i) + 1)]);
  for (int64_t i = 0; i < count; ++i) {
    bool none = order.empty() || draw.below(6) == 0;
    out.push_back(none ? -1 : static_cast<double>(order.back()));
    if (!none) order.pop_back();
  }
  return out;
}

}  // namespace

std::vector<double> seeded_values(const Graph& graph, Value leaf, uint64_t seed) {
  const Node& node = graph.node(leaf);
  const TensorType& type = node.results[0];
  int64_t count = numel(type.shape);
  if (node.kind == OpKind::state) return std::vector<double>(count, 0.0);
  uint64_t key = hash_text(node.as<NameAttr>().name, seed);
  Draw draw(key);
  std::vector<double> out;
  if (is_integer(type.dtype)) {
    Role role = role_of(graph, leaf);
    if (role.documents) {
      for (int64_t i = 0; i < count; ++i)
        out.push_back(static_cast<double>(draw.below(*role.documents + 1)));
      std::sort(out.begin(), out.end());
      out.front() = 0;
      return out;
    }
    if (role.pages || role.length) {
      int64_t end = role.pages ? *role.pages : *role.length + 1;
      for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<double>(draw.below(end)));
      return out;
    }
    if (role.rows) return rows(draw, role, count);
    for (int64_t i = 0; i < count; ++i) {
      double v = static_cast<double>(draw.below(17));
      out.push_back(type.dtype == DType::u8 ? v : v - 8);
    }
    return out;
  }
  if (type.dtype == DType::b8) {
    for (int64_t i = 0; i < count; ++i) out.push_back(static_cast<double>(draw.below(2)));
    return out;
  }
  double size = 2;
  if (node.kind == OpKind::parameter && type.shape.size() >= 2 && type.shape.back() > 4)
    size = 4 / std::sqrt(static_cast<double>(type.shape.back()));
  bool grid = hash_mix(key) % 3 == 0;
  uint64_t cell = 0;
  for (int64_t i = 0; i < count; ++i) {
    double v = grid ? static_cast<double>(draw.below(17)) / 4 - 2 : size * (2 * draw.uniform() - 1);
    store_from_double(&cell, type.dtype, 0, v);
    out.push_back(load_as_double(&cell, type.dtype, 0));
  }
  return out;
}

}  // namespace fusec
