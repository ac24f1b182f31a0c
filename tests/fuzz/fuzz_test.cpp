// The machinery itself: the generator is deterministic and covers its table, text round trips, the
// shrinker ends in a minimum, the bounds notice small errors and keep to what they promise.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "builder.h"
#include "fusec/ops/bounds.h"
#include "fusec/ops/oracle.h"
#include "fusec/ops/tolerance.h"
#include "graph_fuzz.h"

using namespace fusec;
using namespace fusec::fuzz;

namespace {

std::string text_of(Sample& s) { return write_graph(*s.graph, s.outputs, "sample"); }

bool holds_tanh_under_permute(Sample& s) {
  const Graph& g = *s.graph;
  for (const Node& n : g.nodes()) {
    auto* view = std::get_if<ViewAttr>(&n.attr);
    if (!view || view->kind != ViewKind::permute) continue;
    const Node& from = g.node(n.inputs[0]);
    if (from.kind == OpKind::map && from.as<MapAttr>().op == Pointwise::tanh) return true;
  }
  return false;
}

// x after `depth` ops that surround one tanh -> transpose.
Sample with_defect(uint64_t seed) {
  Sample s = generate(seed);
  Graph& g = *s.graph;
  Tensor x = g.input("defect", {6, 7, 5});
  Tensor y = exp(transpose(tanh(square(x) + 0.5), 0, 2)) * 0.5;
  s.outputs.emplace_back("with_defect", sum(y, {1}) - 1.0);
  return s;
}

}  // namespace

TEST_CASE("a seed is a graph") {
  for (uint64_t seed : {1, 2, 77}) {
    Sample a = generate(seed), b = generate(seed);
    CHECK(text_of(a) == text_of(b));
  }
}

TEST_CASE("every row of the op table is generated") {
  std::set<int> kinds, ops, types;
  for (uint64_t seed = 1; seed <= 3000; ++seed) {
    Sample s = generate(seed);
    for (const Node& n : s.graph->nodes()) {
      kinds.insert(static_cast<int>(n.kind));
      for (const TensorType& t : n.results) types.insert(static_cast<int>(t.dtype));
      if (n.kind == OpKind::map) ops.insert(static_cast<int>(n.as<MapAttr>().op));
    }
  }
#define FUSEC_POINTWISE(name, ...) \
  CHECK_MESSAGE(ops.count(static_cast<int>(Pointwise::name)), #name);
#include "fusec/ops/pointwise.def"
  for (int k = 0; k <= static_cast<int>(OpKind::assign); ++k)
    CHECK_MESSAGE(kinds.count(k), name_of(static_cast<OpKind>(k)));
  CHECK(types.size() == 9);
}

TEST_CASE("text of the graph stage reads back as the same graph") {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    Sample s = generate(seed);
    std::string text = text_of(s);
    ReadGraph read = read_graph(text, "sample.mlir");
    CHECK(write_graph(*read.graph, read.outputs, "sample") == text);
  }
}

TEST_CASE("shrinking an injected defect leaves the defect alone") {
  for (uint64_t seed : {3, 14, 159}) {
    CAPTURE(seed);
    Sample s = with_defect(seed);
    REQUIRE(holds_tanh_under_permute(s));
    int64_t before = count_ops(*s.graph);
    Sample small = shrink(std::move(s), holds_tanh_under_permute);
    CHECK(holds_tanh_under_permute(small));
    CHECK(before > 5);
    CHECK(count_ops(*small.graph) <= 3);
    CHECK(small.outputs.size() == 1);
    int64_t largest = 0;
    for (const Node& n : small.graph->nodes())
      for (const TensorType& t : n.results) largest = std::max(largest, numel(t.shape));
    CHECK(largest <= 2);
  }
}

// The bound of every scalar formula holds for the formula in f32, and is no wider than its
// conditioning: within 200 roundings on the range that the op table names.
TEST_CASE("bounds of pointwise ops hold in f32 and are tight") {
  struct Case {
    Pointwise op;
    int arity;
    double lo, hi;
  };
  const Case cases[] = {
// clang-format off
#define FUSEC_UNARY(name, doc, value, gx, cost, lo, hi) {Pointwise::name, 1, lo, hi},
#define FUSEC_BINARY(name, doc, value, ga, gb, cost, lo, hi) {Pointwise::name, 2, lo, hi},
#define FUSEC_COMPARE(...)
#define FUSEC_BITS(...)
#define FUSEC_TERNARY(...)
// clang-format on
#include "fusec/ops/pointwise.def"
  };
  int next = 0;
  for (const Case& c : cases) {
    std::string name(name_of(c.op));
    CAPTURE(name);
    Graph graph;
    std::vector<Tensor> in;
    BoundedFeeds feeds;
    OracleFeeds exact, moved;
    for (int k = 0; k < c.arity; ++k) {
      std::string leaf = "x" + std::to_string(k);
      in.push_back(graph.input(leaf, {257}));
      std::vector<double> v(257), e(257), w(257);
      for (int i = 0; i < 257; ++i) {
        v[i] = static_cast<float>(c.lo + (c.hi - c.lo) * ((i * (k ? 101 : 1)) % 257 + 0.5) / 257);
        e[i] = 1e-6;
        w[i] = v[i] + ((i + k + next) % 2 ? 1e-6 : -1e-6);
      }
      feeds[leaf] = {v, e};
      exact[leaf] = v;
      moved[leaf] = w;
    }
    ++next;
    Tensor y = pointwise(c.op, in, SourceLoc());
    BoundedData bound = evaluate_bounded(graph, feeds, {y})[0];
    std::vector<double> other =
        evaluate(graph, moved, {y})[0];  // operands elsewhere in their range
    for (int i = 0; i < 257; ++i) {
      CAPTURE(i);
      if (!(bound.error[i] < tolerance::kInf)) continue;
      double stored = static_cast<float>(other[i]);
      CHECK(std::fabs(stored - bound.value[i]) <= bound.error[i]);
      double jump = bound.error[i] >= 0.5 ? 1 : 0;  // floor and its kin at an integer
      CHECK(bound.error[i] <= jump * 2 + 200 * 0x1p-24 * (1 + std::fabs(bound.value[i])) + 2e-5);
    }
  }
}

TEST_CASE("bounds: exact values stay exact, ties are decided, undecided ones are covered") {
  Graph g;
  Tensor x = g.input("x", {2, 2}), y = g.input("y", {2, 2});
  Tensor third = x * (1.0 / 3);
  std::vector<Tensor> wanted = {max(x + y, {1}), x * y == y, select(third > third * 1.0, x, y),
                                cast(third * 3.0, i32)};
  BoundedFeeds feeds = {{"x", exactly({3, 5, -7, 0.25})}, {"y", exactly({0.5, 1, 4, -1})}};
  std::vector<BoundedData> out = evaluate_bounded(g, feeds, wanted);
  CHECK(out[0].value == std::vector<double>{6, -0.75});
  CHECK(out[0].error == std::vector<double>{0, 0});
  CHECK(out[1].error == std::vector<double>{0, 0, 0, 0});
  for (int i = 0; i < 3; ++i) {  // either branch may be taken
    double a = feeds["x"].value[i], b = feeds["y"].value[i];
    CHECK(std::fabs(out[2].value[i] - a) <= out[2].error[i]);
    CHECK(std::fabs(out[2].value[i] - b) <= out[2].error[i]);
  }
  CHECK(std::fabs(out[3].value[0] - 3) <= out[3].error[0]);  // 2.99999 or 3
  CHECK(out[3].error[0] == 1);
}

TEST_CASE("bounds: a sum that cancels is judged by its terms, and a lost term is seen") {
  Graph g;
  Tensor x = g.input("x", {1000});
  std::vector<double> v(1000);
  for (int i = 0; i < 1000; ++i)
    v[i] = static_cast<float>((i % 2 ? -1 : 1) * (100 + 0.01 * (i / 2)));
  BoundedData s = evaluate_bounded(g, {{"x", exactly(v)}}, {sum(x)})[0];
  float forward = 0, backward = 0;
  for (int i = 0; i < 1000; ++i)
    forward += static_cast<float>(v[i]), backward += static_cast<float>(v[999 - i]);
  CHECK(std::fabs(forward - s.value[0]) <= s.error[0]);
  CHECK(std::fabs(backward - s.value[0]) <= s.error[0]);
  CHECK(s.error[0] < 100);  // one term
}
