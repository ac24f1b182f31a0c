// Generator, bounds and shrinker without a compiler: what the sanitizers see of them.
#include <doctest/doctest.h>

#include <cmath>

#include "fusec/ops/bounds.h"
#include "fusec/ops/oracle.h"
#include "graph_fuzz.h"

using namespace fusec;
using namespace fusec::fuzz;

// Two independent walks over the same graphs: where the bounds say that a value is exact, the plain
// oracle, rounding each node alike, must have the same number.
TEST_CASE("exact bounds and the oracle agree on random graphs") {
  int64_t exact = 0, finite = 0, all = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    Sample s = generate(seed);
    OracleFeeds plain;
    BoundedFeeds bounded;
    for (size_t i = 0; i < s.graph->nodes().size(); ++i) {
      const Node& n = s.graph->nodes()[i];
      if (n.kind != OpKind::input && n.kind != OpKind::parameter && n.kind != OpKind::state)
        continue;
      std::vector<double> v = seeded_values(*s.graph, {static_cast<int32_t>(i), 0}, seed);
      plain[n.as<NameAttr>().name] = v;
      bounded[n.as<NameAttr>().name] = exactly(v);
    }
    std::vector<Tensor> wanted;
    for (const Output& o : s.outputs) wanted.push_back(o.tensor);
    std::vector<std::vector<double>> values =
        evaluate(*s.graph, plain, wanted, {.round_storage = true});
    std::vector<BoundedData> bounds = evaluate_bounded(*s.graph, bounded, wanted);
    for (size_t o = 0; o < wanted.size(); ++o) {
      REQUIRE(values[o].size() == bounds[o].value.size());
      REQUIRE(bounds[o].error.size() == bounds[o].value.size());
      for (size_t i = 0; i < values[o].size(); ++i, ++all) {
        CHECK(bounds[o].error[i] >= 0);
        finite += std::isfinite(bounds[o].error[i]);
        if (bounds[o].error[i] != 0) continue;
        ++exact;
        if (values[o][i] != bounds[o].value[i]) {
          INFO(s.outputs[o].name << "[" << i << "]");
          CHECK(values[o][i] == bounds[o].value[i]);
          break;
        }
      }
    }
  }
  CHECK(finite * 100 >= all * 95);  // the bounds say something
  CHECK(exact > 1000);
}

TEST_CASE("shrinking any graph to one of its op classes leaves little else") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Sample s = generate(seed);
    OpKind kind = OpKind::input;
    int32_t last = 0;
    for (size_t i = 0; i < s.graph->nodes().size(); ++i)
      if (const Node& n = s.graph->nodes()[i]; !n.inputs.empty() && n.kind != OpKind::assign)
        kind = n.kind, last = static_cast<int32_t>(i);
    if (kind == OpKind::input) continue;
    s.outputs.emplace_back("kept", Tensor(s.graph.get(), {last, 0}));
    auto holds = [&](Sample& x) {
      for (const Node& n : x.graph->nodes())
        if (n.kind == kind) return true;
      return false;
    };
    CHECK(count_ops(*shrink(std::move(s), holds).graph) <= 2);
  }
}
