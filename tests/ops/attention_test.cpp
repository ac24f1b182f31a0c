// attention() as the recorder and the oracle see it: gradients of every option against finite
// differences, hooks against what they stand for, their text, and what is refused with which line.
#include "fusec/ops/hook.h"
#include "gradcheck.h"
#include "refused.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Heads {
  Tensor q, k, v;
  Heads(Bench& b, int64_t batch, int64_t t, int64_t s, int64_t h, int64_t kv)
      : q(b.leaf("q", {batch, t, h, 3})),
        k(b.leaf("k", {batch, s, kv, 3})),
        v(b.leaf("v", {batch, s, kv, 3})) {}
};

// Both have equal values on the feeds of b, to double's rounding.
void check_equal(Bench& b, const Tensor& x, const Tensor& y) {
  std::vector<std::vector<double>> got = evaluate(b.graph, b.feeds, {x, y});
  REQUIRE(got[0].size() == got[1].size());
  for (size_t i = 0; i < got[0].size(); ++i) CHECK(std::fabs(got[0][i] - got[1][i]) < 1e-12);
}

}  // namespace

TEST_CASE("attention: gradients with windows, prefixes, alignment and sinks") {
  for (int64_t window : {0, 2})
    for (bool causal : {true, false})
      for (Align align : {Align::bottom_right, Align::top_left})
        for (int options = 0; options < 4; ++options) {
          CAPTURE(window); CAPTURE(causal); CAPTURE(options);
          Bench b;
          Heads x(b, 2, 4, 6, 2, 1);
          AttentionOptions o{.causal = causal, .align = align, .window = window};
          if (options & 1) o.prefix = b.index("prefix", {2}, {0, 3});
          if (options & 2) o.sinks = b.leaf("sinks", {2});
          b.check(attention(x.q, x.k, x.v, o));
        }
}

TEST_CASE("attention: a prefix a document, an empty one and tokens outside") {
  Bench b;
  Heads x(b, 1, 9, 9, 2, 2);
  AttentionOptions o{.cu_seqlens = b.index("cu", {4}, {0, 4, 4, 8})};
  o.prefix = b.index("prefix", {3}, {2, 7, 3});
  o.sinks = b.leaf("sinks", {2});
  Tensor y = attention(x.q, x.k, x.v, o);
  b.check(y);
  // Query 0 sees key 1 of its prefix, query 3 the whole document, query 8 nothing.
  std::vector<double> none(6, 0.0);
  std::vector<double> out = evaluate(b.graph, b.feeds, {y})[0];
  CHECK(std::vector<double>(out.end() - 6, out.end()) == none);
}

TEST_CASE("attention: gradients through score hooks, captured tensors included") {
  Bench b;
  Heads x(b, 2, 3, 5, 2, 1);
  Tensor slope = b.leaf("slope", {2}), bias = b.leaf("bias", {2, 3, 5});
  Tensor far = b.leaf("far", {8}), heat = b.leaf("heat", {});
  AttentionOptions o{.softcap = 3};
  o.score = [&](Score s) {
    Tensor moved = s.value * sigmoid(heat()) + slope(s.head) * cast(s.key - s.query, f32);
    return moved + bias(s.head, s.query, s.key) + tanh(far(s.query - s.key + 4.0));
  };
  o.mask = [&](Position p) { return p.key != 1.0; };
  b.check(attention(x.q, x.k, x.v, o));
}

TEST_CASE("attention: hooks that spell an option equal it") {
  Bench b;
  Heads x(b, 1, 8, 8, 2, 1);
  Tensor cu = b.index("cu", {4}, {0, 3, 3, 8}), of = b.index("of", {8}, {0, 0, 0, 2, 2, 2, 2, 2});
  Tensor prefix = b.index("prefix", {1}, {3});
  auto run = [&](AttentionOptions o) { return attention(x.q, x.k, x.v, o); };
  check_equal(b, run({.softcap = 2}),
              run({.score = [](Score s) { return 2.0 * tanh(s.value / 2.0); }}));
  check_equal(b, run({}),
              run({.causal = false, .mask = [](Position p) { return p.key <= p.query; }}));
  check_equal(b, run({.window = 3}),
              run({.mask = [](Position p) { return p.query - p.key < 3.0; }}));
  check_equal(b, run({.cu_seqlens = cu}),
              run({.mask = [&](Position p) { return of(p.query) == of(p.key); }}));
  check_equal(b, run({.prefix = prefix}),
              run({.causal = false, .mask = [&](Position p) {
                     return select(p.key < prefix(p.batch), p.key >= 0.0, p.key <= p.query);
                   }}));
  // Hidden by the mask, or by a score of -inf.
  check_equal(b, run({.mask = [](Position p) { return p.key != p.query; }}),
              run({.score = [](Score s) {
                return select(s.key != s.query, s.value, s.value.graph().constant(-INFINITY));
              }}));
}

TEST_CASE("attention: the text of a hook reads back, and holds what is needed only") {
  Bench b;
  Heads x(b, 1, 4, 4, 2, 1);
  Tensor slope = b.leaf("slope", {2}), unused = b.leaf("unused", {4}), table = b.leaf("t", {4, 7});
  AttentionOptions o;
  o.score = [&](Score s) {
    (void)unused(s.query);
    return s.value + slope(s.head) * table(s.query, s.key - s.query + 3.0) * 0.5;
  };
  o.mask = [&](Position p) { return stop_gradient(cast(p.key, f32)) <= cast(p.query * 2.0, f32); };
  Tensor y = attention(x.q, x.k, x.v, o);
  const Node& n = b.graph.node(y.value());
  CHECK(n.inputs.size() == 5);
  std::string text = n.as<AttentionAttr>().hook;
  CHECK(text.find("load 0 f32 [head]") != std::string::npos);
  CHECK(text.find("load 1 f32 [query, -query+key+3]") != std::string::npos);
  CHECK(text.find("constant(0.5, f32)") != std::string::npos);
  CHECK(text.find("stop(") != std::string::npos);
  CHECK(print(read_hook(text)) == text);
  for (size_t cut = 1; cut < text.size(); ++cut)
    try {
      print(read_hook(text.substr(0, cut)));
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::user);
    }
}

TEST_CASE("attention: what hooks and masks refuse, with the line") {
  Bench b;
  Heads x(b, 1, 4, 4, 2, 1);
  Tensor slope = b.leaf("slope", {2}), table = b.leaf("table", {4, 4});
  auto with = [&](AttentionOptions o) { return attention(x.q, x.k, x.v, o); };
  CHECK_ERROR(attention(x.q, x.k, x.v, {.window = -1}), "window");
  CHECK_ERROR(attention(x.q, x.k, x.v, {.prefix = slope}), "prefix i32[1]");
  CHECK_ERROR(attention(x.q, x.k, x.v, {.sinks = table}), "sinks f32[2]");
  CHECK_ERROR(with({.score = [&](Score s) { return cast(s.key, i64); }}), "expected f32[]");
  CHECK_ERROR(with({.mask = [&](Position p) { return p.key - p.query; }}), "expected b8[]");
  CHECK_ERROR(with({.score = [](Score s) { return sum(reshape(s.value, {1})); }}), "pointwise ops");
  CHECK_ERROR(with({.score = [&](Score s) { return s.value + slope; }}), "two graphs");
  CHECK_ERROR(with({.score = [&](Score s) { return s.value + slope(s.head, s.key); }}), "1 axes");
  CHECK_ERROR(with({.score = [&](Score s) { return s.value + slope(s.head * s.head); }}), "no sum");
  CHECK_ERROR(slope(slope), "hook of attention()");
  AttentionOptions far{.score = [&](Score s) { return slope(s.key) + s.value; }};
  CHECK_ERROR(attention(x.q, x.k, x.v, far), "reaches from 0 to 3");
  Tensor heat = b.leaf("heat", {});
  CHECK_ERROR(attention(x.q, x.k, x.v, {.score = [&](Score) { return heat; }}), "of the graph");
}
