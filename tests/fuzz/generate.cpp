// A seed to a graph: a few leaves, 3 to 12 rows of the op table, gradients of a bounded loss in
// every third graph, a few outputs.
#include <algorithm>

#include "builder.h"

namespace fusec::fuzz {
namespace {

constexpr int64_t kMostElements = 4096, kMostOfLarge = 40000;

void grow(Builder& b) {
  static const int64_t total = [] {
    int64_t sum = 0;
    for (const OpRow& r : op_table()) sum += r.weight;
    return sum;
  }();
  int64_t at = b.dice.below(total);
  const OpRow* row = nullptr;
  for (const OpRow& r : op_table())
    if ((at -= r.weight) < 0) {
      row = &r;
      break;
    }
  std::optional<Item> made;
  try {
    made = row->make(b);
  } catch (const Error& e) {
    // The recorder refuses combinations that the rows do not rule out themselves (types, mostly).
    if (e.kind() != ErrorKind::user) throw;
  }
  int64_t most = numel(b.shape()) > kMostElements ? kMostOfLarge : kMostElements;
  if (made && numel(made->t.shape()) <= most && made->t.rank() <= 6) b.pool.push_back(*made);
}

// Gradients of a bounded loss on what was made.
void differentiate(Builder& b, std::vector<Output>& outputs) {
  Tensor loss;
  for (int i = 0; i < 3; ++i) {
    Item x = b.any_float();
    if (numel(x.t.shape()) == 0) continue;
    Tensor term = sum(cast(b.fit(x), f32));
    loss = loss.defined() ? loss + term : term;
  }
  if (!loss.defined()) return;
  outputs.emplace_back("loss", loss);
  int taken = 0;
  for (size_t i = 0; i < b.graph.nodes().size() && taken < 3; ++i) {
    const Node& n = b.graph.nodes()[i];
    if (n.kind != OpKind::input && n.kind != OpKind::parameter) continue;
    if (!is_float(n.results[0].dtype) || b.dice.chance(3)) continue;
    Tensor leaf(&b.graph, {static_cast<int32_t>(i), 0});
    try {
      std::string name = "grad" + std::to_string(taken);
      outputs.emplace_back(name, grad(loss, {leaf})[0]);
      ++taken;
    } catch (const Error& e) {  // the loss does not depend on this leaf, or an op has no gradient
      if (e.kind() != ErrorKind::user) throw;
    }
  }
}

}  // namespace

Sample generate(uint64_t seed) {
  Sample out{std::make_unique<Graph>(), {}};
  Builder b(*out.graph, seed);
  size_t leaves = b.pool.size();
  for (int64_t i = 0, n = 3 + b.dice.below(10); i < n; ++i) grow(b);
  if (b.dice.chance(3)) differentiate(b, out.outputs);
  auto add = [&](const Tensor& t) {
    for (const Output& o : out.outputs)
      if (o.tensor.value() == t.value()) return;
    out.outputs.emplace_back("y" + std::to_string(out.outputs.size()), t);
  };
  add(b.pool.back().t);
  for (int64_t i = 0, n = b.dice.below(3); i < n && b.pool.size() > leaves; ++i)
    add(b.pool[leaves + b.dice.below(static_cast<int64_t>(b.pool.size() - leaves))].t);
  return out;
}

Mode mode_of(uint64_t seed) {
  Mode m;
  Dice dice(seed ^ 0xabcdef);
  m.bf16 = dice.chance(24);
  m.kernels = m.bf16 || dice.chance(12);
  m.threads = dice.chance(16) ? 2 : 1;
  return m;
}

int64_t count_ops(const Graph& graph) {
  int64_t ops = 0;
  for (const Node& n : graph.nodes()) ops += !n.inputs.empty() && n.kind != OpKind::assign;
  return ops;
}

}  // namespace fusec::fuzz
