// Gradients of the structural ops against finite differences, on odd shapes, and the shape of the
// backward graph itself: nothing for frozen parts, a flip for a flip, the user's lines on every op.
#include <set>

#include "gradcheck.h"

using namespace fusec;
using namespace fusec::test;

namespace {

int count_kind(const Graph& g, OpKind kind, size_t from = 0) {
  int n = 0;
  for (size_t i = from; i < g.nodes().size(); ++i) n += g.nodes()[i].kind == kind;
  return n;
}

}  // namespace

TEST_CASE("reductions") {
  for (auto axes : std::vector<std::vector<int64_t>>{{0}, {1}, {2}, {0, 2}, {0, 1, 2}, {}}) {
    CAPTURE(str(axes));
    for (bool keep : {false, true}) {
      Bench b;
      Tensor x = b.leaf("x", {2, 3, 5});
      b.check(sum(x, axes, keep) + max(x, axes, keep) * min(x, axes, keep) + mean(x, axes, keep));
    }
  }
}

TEST_CASE("max shares its gradient between equal elements") {
  Graph g;
  Tensor x = g.input("x", {2, 4});
  std::vector<Tensor> d = grad(sum(max(x, {1})), {x});
  std::vector<double> got = evaluate(g, {{"x", {1, 3, 3, 0, 2, 2, 2, 2}}}, d)[0];
  CHECK(got == std::vector<double>{0, 0.5, 0.5, 0, 0.25, 0.25, 0.25, 0.25});
}

TEST_CASE("broadcast operands sum their gradient") {
  Bench b;
  Tensor x = b.leaf("x", {2, 1, 3}), y = b.leaf("y", {5, 1}), s = b.leaf("s", {});
  b.check((x * y + s) * (y - 2.0) + 3.0 * broadcast_to(s, {2, 5, 3}));
}

TEST_CASE("contractions") {
  struct Case { const char* labels; Shape a, b; };
  for (const Case& c : std::vector<Case>{{"mk,nk->mn", {3, 5}, {2, 5}},
                                         {"mk,kn->nm", {3, 5}, {5, 2}},
                                         {"bthd,bshd->bhts", {2, 3, 2, 5}, {2, 4, 2, 5}},
                                         {"k,k->", {7}, {7}},
                                         {"m,n->mn", {3}, {4}},
                                         {"ij,jk->i", {3, 2}, {2, 4}},   // k only on the right
                                         {"lij,j->i", {2, 3, 4}, {4}},   // l only on the left
                                         {"ab,ab->ba", {2, 3}, {2, 3}}}) {
    CAPTURE(c.labels);
    Bench b;
    Tensor x = b.leaf("x", c.a), y = b.leaf("y", c.b);
    b.check(einsum(c.labels, x, y));
  }
}

TEST_CASE("linear with bias and matmul") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 5}), w = b.leaf("w", {7, 5}), bias = b.leaf("bias", {7});
  Tensor y = linear(x, w, bias);
  b.check(matmul(y, transpose(y, 1, 2)));
}

TEST_CASE("views") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 5});
  b.check(sum(square(reshape(x, {5, 6}))) + permute(x, {2, 0, 1}));
  SUBCASE("slices") {
    for (int64_t step : {1, 2, 3, -1, -2})
      for (int64_t start = 0; start < 7; ++start)
        for (int64_t count = 1; count <= 7; ++count) {
          int64_t last = start + (count - 1) * step;
          if (last < 0 || last >= 7) continue;
          CAPTURE(start);
          CAPTURE(count);
          CAPTURE(step);
          Bench s;
          Tensor y = s.leaf("y", {2, 7, 2});
          s.check(square(slice(y, 1, start, count, step)));
        }
  }
  SUBCASE("an empty slice") {
    Graph g;
    Tensor y = g.input("y", {4});
    Tensor loss = sum(slice(y, 0, 1, 0)) + sum(y);
    CHECK(evaluate(g, {{"y", {1, 2, 3, 4}}}, grad(loss, {y}))[0] ==
          std::vector<double>{1, 1, 1, 1});
  }
}

TEST_CASE("the gradient of a flip is a flip") {
  Bench b;
  Tensor x = b.leaf("x", {3, 4});
  Tensor loss = weighted_sum(square(flip(x, 1)), b.draw);
  size_t before = b.graph.nodes().size();
  grad(loss, {x});
  CHECK(count_kind(b.graph, OpKind::concat, before) == 0);
  int flips = 0;
  for (size_t i = before; i < b.graph.nodes().size(); ++i) {
    const auto* view = std::get_if<ViewAttr>(&b.graph.nodes()[i].attr);
    flips += view && view->kind == ViewKind::slice && view->step == std::vector<int64_t>{1, -1};
  }
  CHECK(flips == 1);
  b.check(square(flip(x, 0)));
}

TEST_CASE("concat, gather, scatter") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3}), y = b.leaf("y", {2, 1});
  b.check(square(concat({x, y, x}, 1)));
  Tensor table = b.leaf("table", {4, 3}), rows = b.leaf("rows", {3, 3});
  Tensor repeated = b.index("repeated", {2, 3}, {0, 3, 3, -1, 1, 0});
  Tensor distinct = b.index("distinct", {3}, {2, -1, 0});
  Tensor z = sum(square(concat({x, y, x}, 1)));
  b.check(z + square(gather(table, repeated)) + sum(rows));
  b.check(z + square(scatter(table, distinct, rows)));
  b.check(z + square(scatter_add(table, b.index("twice", {3}, {1, 1, -5}), rows)));
}

TEST_CASE("casts pass gradients between float types") {
  Graph g;
  Tensor x = g.input("x", {3}, bf16);
  Tensor loss = sum(square(cast(x, f32)));
  std::vector<Tensor> d = grad(loss, {x});
  CHECK(d[0].type() == x.type());
  CHECK(evaluate(g, {{"x", {1, -2, 3}}}, d)[0] == std::vector<double>{2, -4, 6});
}

TEST_CASE("attention") {
  struct Case { int64_t t, s, h, kv; AttentionOptions options; bool documents; };
  std::vector<Case> cases(6, {3, 3, 2, 2, {}, false});
  cases[1] = {3, 5, 4, 2, {}, false};  // grouped heads, more keys than queries
  cases[2].options.causal = false;
  cases[3].options.softcap = 1.5;
  cases[4].options.scale = 0.3;
  cases[5] = {7, 7, 2, 1, {}, true};
  for (size_t i = 0; i < cases.size(); ++i) {
    CAPTURE(i);
    Case& c = cases[i];
    int64_t batch = c.documents ? 1 : 2;
    Bench b;
    Tensor q = b.leaf("q", {batch, c.t, c.h, 3}), k = b.leaf("k", {batch, c.s, c.kv, 3}),
           v = b.leaf("v", {batch, c.s, c.kv, 3});
    // The last token lies outside every document: it sees nothing.
    if (c.documents) c.options.cu_seqlens = b.index("cu", {3}, {0, 2, 6});
    b.check(attention(q, k, v, c.options));
  }
}

TEST_CASE("several uses of a value add up, in any position") {
  Bench b;
  Tensor x = b.leaf("x", {4});
  Tensor y = exp(x);
  b.check(y * y + x * y + sum(y) * x);
}

TEST_CASE("an intermediate value can be differentiated by, along with what is behind it") {
  Graph g;
  Tensor x = g.input("x", {2});
  Tensor h = square(x);
  std::vector<Tensor> d = grad(sum(h * 3.0), {h, x, h});
  auto got = evaluate(g, {{"x", {1, -2}}}, d);
  CHECK(got[0] == std::vector<double>{3, 3});
  CHECK(got[1] == std::vector<double>{6, -12});
  CHECK(got[2] == got[0]);
}

TEST_CASE("the gradient of the loss by itself is one") {
  Graph g;
  Tensor loss = sum(g.input("x", {2}));
  CHECK(evaluate(g, {}, grad(loss, {loss}))[0] == std::vector<double>{1});
}

TEST_CASE("a gradient can be differentiated again") {
  Graph g;
  Tensor x = g.input("x", {3});
  Tensor first = grad(sum(x * x * x), {x})[0];
  std::vector<Tensor> second = grad(sum(first), {x});
  CHECK(evaluate(g, {{"x", {1, 2, -3}}}, second)[0] == std::vector<double>{6, 12, -18});
}

TEST_CASE("stop_gradient: the value passes, the gradient does not") {
  Graph g;
  Tensor x = g.input("x", {2});
  Tensor y = x * stop_gradient(x);
  std::vector<Tensor> d = grad(sum(y), {x});
  auto got = evaluate(g, {{"x", {3, -4}}}, {y, d[0]});
  CHECK(got[0] == std::vector<double>{9, 16});
  CHECK(got[1] == std::vector<double>{3, -4});
}

TEST_CASE("frozen parts record nothing") {
  Graph g;
  Tensor x = g.input("x", {3, 4}), frozen = g.parameter("frozen", {5, 4}),
         w = g.parameter("w", {2, 5});
  Tensor loss = sum(linear(tanh(linear(x, frozen)), w));
  size_t before = g.nodes().size();
  grad(loss, {w});
  CHECK(count_kind(g, OpKind::contract, before) == 1);  // dW of the trained layer only
}

TEST_CASE("gradient ops carry the line and the scope of the op they differentiate") {
  Graph g;
  Tensor x = g.parameter("x", {2, 3});
  std::set<uint32_t> lines;
  Tensor y;
  {
    ScopeGuard scope(g, "trunk");
    lines.insert(__LINE__ + 1);
    y = silu(slice(x, 1, 0, 2)) * 2.0;
  }
  lines.insert(__LINE__ + 1);
  Tensor loss = sum(max(y, {1}));
  size_t before = g.nodes().size();
  lines.insert(__LINE__ + 1);  // the seed, d loss / d loss
  grad(loss, {x});
  bool in_scope = false;
  for (size_t i = before; i < g.nodes().size(); ++i) {
    const Node& n = g.nodes()[i];
    CAPTURE(name_of(n.kind));
    CHECK(n.loc.str().find("gradient_test.cpp") != std::string::npos);
    CHECK(lines.count(n.loc.line) == 1);
    if (n.loc.line == *lines.begin()) {
      CHECK(g.scopes()[n.scope] == "trunk");
      in_scope = true;
    }
  }
  CHECK(in_scope);
}
