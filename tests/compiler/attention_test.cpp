// attention() with all its options, compiled for the CPU: against the oracle, against the options
// that a hook spells out, over block edges and threads, through text and saved plans.
#include <unistd.h>

#include <filesystem>

#include "agree.h"
#include "fusec/inspect.h"
#include "fusec/runtime.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Heads {
  Graph g;
  Tensor q, k, v;
  Heads(int64_t b, int64_t t, int64_t s, int64_t h, int64_t kv, int64_t d, DType type = f32)
      : q(g.input("q", {b, t, h, d}, type)),
        k(g.input("k", {b, s, kv, d}, type)),
        v(g.input("v", {b, s, kv, d}, type)) {}

  // o and the gradients of a loss of it by q, k, v and others.
  std::vector<Tensor> all(const AttentionOptions& options, std::vector<Tensor> wrt = {}) {
    Tensor o = attention(q, k, v, options), wide = cast(o, f32);
    wrt.insert(wrt.begin(), {q, k, v});
    std::vector<Tensor> out = grad(sum(square(wide) * wide), wrt);
    out.insert(out.begin(), o);
    return out;
  }
};

std::vector<double> documents(int64_t tokens, int64_t length) {
  std::vector<double> out;
  for (int64_t i = 0; i < tokens; ++i) out.push_back(static_cast<double>(i / length));
  return out;
}

// Runs with values of -1 .. 1 for what has no feed; bytes of all outputs.
std::vector<std::vector<float>> run(Graph& g, const std::vector<Tensor>& wanted, Feeds feeds,
                                    int threads = 2) {
  std::vector<Output> outputs;
  for (size_t i = 0; i < wanted.size(); ++i)
    outputs.emplace_back("y" + std::to_string(i), wanted[i]);
  Executable exe = compile(g, outputs, {.threads = threads});
  feeds = complete(g, feeds, -1, 1);
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls != BufferClass::temporary && feeds.contains(b.name))
      write(exe, b.name, feeds.at(b.name));
  exe.run();
  std::vector<std::vector<float>> out;
  for (const Output& o : outputs) out.push_back(exe.get<float>(o.name));
  return out;
}

}  // namespace

TEST_CASE("attention: ALiBi with learnt slopes over several blocks, forward and backward") {
  for (DType type : {f32, bf16})
    for (bool causal : {true, false}) {
      Heads x(2, 70, 90, 4, 2, 16, type);
      Tensor slope = x.g.parameter("slope", {4});
      AttentionOptions o{.causal = causal};
      o.score = [&](Score s) { return s.value - slope(s.head) * abs(cast(s.key - s.query, f32)); };
      agree(x.g, x.all(o, {slope}), {.lo = 0.1, .hi = 0.5});
    }
}

TEST_CASE("attention: a hook equals the option that it spells, to the bit if nothing is rounded") {
  auto both = [&](const AttentionOptions& a, const AttentionOptions& b, bool same_bits) {
    Heads x(1, 150, 150, 2, 1, 16), y(1, 150, 150, 2, 1, 16);
    std::vector<std::vector<float>> left = run(x.g, x.all(a), {}), right = run(y.g, y.all(b), {});
    REQUIRE(left.size() == right.size());
    for (size_t i = 0; i < left.size(); ++i)
      for (size_t j = 0; j < left[i].size(); ++j)
        CHECK((same_bits ? left[i][j] == right[i][j]
                         : std::fabs(left[i][j] - right[i][j]) < 1e-5));
  };
  both({.causal = true},
       {.causal = false, .mask = [](Position p) { return p.key <= p.query; }}, true);
  both({.window = 40}, {.mask = [](Position p) { return p.query - p.key < 40.0; }}, true);
  both({.softcap = 2}, {.score = [](Score s) { return 2.0 * tanh(s.value * 0.5); }}, false);
}

TEST_CASE("attention: documents, prefixes, trees and dilated windows as hooks") {
  const int64_t t = 100;
  Feeds feeds = {{"of", documents(t, 30)}, {"prefix", {40, 0}}, {"slope", {0.1, 0.4}}};
  std::vector<double> tree;  // token i hangs below (i - 1) / 2
  for (int64_t i = 0; i < t; ++i)
    for (int64_t j = 0; j < t; ++j) {
      int64_t up = i;
      while (up > j) up = (up - 1) / 2;
      tree.push_back(up == j);
    }
  feeds["tree"] = tree;
  for (int which = 0; which < 4; ++which) {
    CAPTURE(which);
    Heads x(2, t, t, 2, 1, 8);
    Tensor of = x.g.input("of", {t}, i32), prefix = x.g.input("prefix", {2}, i32);
    Tensor table = x.g.input("tree", {t, t}, b8), slope = x.g.parameter("slope", {2});
    AttentionOptions o{.causal = which != 1};
    o.score = [&](Score s) { return s.value * slope(s.head); };
    if (which == 0) o.mask = [&](Position p) { return of(p.query) == of(p.key); };
    if (which == 1)
      o.mask = [&](Position p) {
        return select(p.key < prefix(p.batch), p.key >= 0.0, p.key <= p.query);
      };
    if (which == 2) o.mask = [&](Position p) { return table(p.query, p.key); };
    if (which == 3)
      o.mask = [](Position p) {
        Tensor apart = p.query - p.key;
        return apart - apart / 3.0 * 3.0 == 0.0;
      };
    agree(x.g, x.all(o, {slope}), {.lo = -1, .hi = 1, .feeds = feeds});
  }
}

TEST_CASE("attention: the masks as hooks skip what cu_seqlens and prefix skip") {
  const int64_t t = 200;
  Feeds feeds = {{"cu", {0, 30, 60, 90, 120, 150, 180, 200}}, {"of", documents(t, 30)},
                 {"prefix", {77}}};
  Heads x(1, t, t, 2, 1, 8);
  Tensor of = x.g.input("of", {t}, i32);
  AttentionOptions hook;
  hook.mask = [&](Position p) { return of(p.query) == of(p.key); };
  std::vector<Tensor> wanted = x.all({.cu_seqlens = x.g.input("cu", {8}, i32)});
  for (const Tensor& y : x.all(hook)) wanted.push_back(y);
  Tensor prefix = x.g.input("prefix", {1}, i32);
  hook.causal = false;
  hook.mask = [&](Position p) {
    return select(p.key < prefix(p.batch), p.key >= 0.0, p.key <= p.query);
  };
  for (const Tensor& y : x.all({.prefix = prefix})) wanted.push_back(y);
  for (const Tensor& y : x.all(hook)) wanted.push_back(y);
  std::vector<std::vector<float>> got = run(x.g, wanted, feeds);
  for (size_t pair : {0, 8})
    for (size_t i = 0; i < 4; ++i)
      for (size_t j = 0; j < got[pair + i].size(); ++j)
        CHECK(std::fabs(got[pair + i][j] - got[pair + 4 + i][j]) < 1e-5);
}

TEST_CASE("attention: captured tensors of every shape have gradients") {
  Heads x(2, 40, 70, 4, 2, 8);
  Tensor bias = x.g.parameter("bias", {4, 40, 70}), shared = x.g.parameter("shared", {40, 70});
  Tensor far = x.g.parameter("far", {4, 110}), heat = x.g.parameter("heat", {2, 4});
  Tensor flipped = x.g.parameter("flipped", {70}), one = x.g.parameter("one", {});
  // Read backwards along the queries, which end within a vector; and with steps.
  Tensor back = x.g.parameter("back", {109}), steps = x.g.parameter("steps", {3 * 39 + 2 * 69 + 1});
  AttentionOptions o{.causal = false, .softcap = 5};
  o.score = [&](Score s) {
    Tensor y = s.value * exp(heat(s.batch, s.head)) + bias(s.head, s.query, s.key);
    y = y + far(s.head, s.query - s.key + 69.0) * one();
    y = y + back(s.key - s.query + 39.0) - steps(3.0 * s.query + s.key * 2.0);
    return y + sin(shared(s.query, s.key)) * flipped(69.0 - s.key);
  };
  o.mask = [](Position p) { return p.key != p.query + 3.0; };
  o.sinks = x.g.parameter("sinks", {4});
  std::vector<Tensor> wrt = {bias, shared, far, heat, flipped, one, back, steps, o.sinks};
  agree(x.g, x.all(o, wrt), {.lo = -1, .hi = 1});
}

TEST_CASE("attention: queries that a hook leaves without keys, one query, one key, none") {
  for (auto [t, s] : {std::pair<int64_t, int64_t>{1, 70}, {70, 1}, {0, 5}, {5, 0}, {33, 33}})
    for (bool sinks : {false, true}) {
      CAPTURE(t); CAPTURE(s); CAPTURE(sinks);
      Heads x(2, t, s, 2, 2, 8);
      AttentionOptions o{.causal = false};
      if (sinks) o.sinks = x.g.parameter("sinks", {2});
      Tensor bias = x.g.parameter("bias", {2, t, s});
      o.score = [&](Score a) { return a.value + bias(a.head, a.query, a.key); };
      o.mask = [](Position p) { return p.query > 16.0; };
      std::vector<Tensor> wrt = {bias};
      if (sinks) wrt.push_back(o.sinks);
      agree(x.g, x.all(o, wrt), {.lo = -1, .hi = 1});
    }
}

TEST_CASE("attention: hooks give the same bits for 1, 2 and 7 threads") {
  Heads x(1, 300, 300, 3, 1, 16);
  Tensor slope = x.g.parameter("slope", {3}), bias = x.g.parameter("bias", {300, 300});
  AttentionOptions o{.window = 200};
  o.score = [&](Score s) {
    return s.value + slope(s.head) * cast(s.key - s.query, f32) + bias(s.query, s.key);
  };
  o.mask = [](Position p) { return p.key < 40.0; };
  o.sinks = x.g.parameter("sinks", {3});
  std::vector<Tensor> wanted = x.all(o, {slope, bias, o.sinks});
  std::vector<std::vector<float>> one = run(x.g, wanted, {}, 1);
  for (int threads : {2, 7}) CHECK(run(x.g, wanted, {}, threads) == one);
}

TEST_CASE("attention: a hook goes through the text of every stage and through a saved plan") {
  Heads x(1, 40, 40, 2, 1, 8);
  Tensor slope = x.g.parameter("slope", {2});
  AttentionOptions o;
  o.score = [&](Score s) { return s.value + slope(s.head) * cast(s.key - s.query, f32); };
  o.mask = [](Position p) { return p.query - p.key != 1.0; };
  Tensor y = x.all(o, {slope})[4];
  Executable exe = compile(x.g, {{"y", y}});
  std::string text = print(exe.plan());
  CHECK(print(parse_plan(text)) == text);
  CHECK(text.find("hook_mask") != std::string::npos);

  std::filesystem::path file = std::filesystem::temp_directory_path() /
                               ("fusec_hook_" + std::to_string(::getpid()) + ".fsc");
  exe.save(file.string());
  LoadedPlan loaded = load_plan(file.string());
  std::filesystem::remove(file);
  for (const char* name : {"q", "k", "v", "slope"}) {
    std::vector<double> values = draw(exe.type(name), 5, -1, 1);
    write(exe, name, values);
    loaded.set(name, std::vector<float>(values.begin(), values.end()));
  }
  exe.run();
  loaded.run();
  CHECK(loaded.get<float>("y") == exe.get<float>("y"));
}

// The example of the README, small.
TEST_CASE("attention: packed documents with learnt ALiBi slopes, a window and a sink a head") {
  Graph g;
  Tensor q = g.input("q", {1, 96, 4, 16}), k = g.input("k", {1, 96, 2, 16});
  Tensor v = g.input("v", {1, 96, 2, 16}), document = g.input("document", {96}, i32);
  Tensor slope = g.parameter("slope", {4}), sink = g.parameter("sink", {4});
  AttentionOptions o{.window = 64, .sinks = sink};
  o.score = [&](Score s) { return s.value + slope(s.head) * cast(s.key - s.query, f32); };
  o.mask = [&](Position p) { return document(p.query) == document(p.key); };
  Tensor y = attention(q, k, v, o);
  std::vector<Tensor> wanted = grad(sum(square(y)), {q, slope, sink});
  wanted.push_back(y);
  agree(g, wanted, {.lo = -1, .hi = 1, .feeds = {{"document", documents(96, 40)}}});
}
