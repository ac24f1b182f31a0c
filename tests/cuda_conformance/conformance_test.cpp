// Library calls through compile() on a GPU, against the oracle and its error bounds: attention and
// its gradient in every form, gather, scatter, cumsum, top_k. Skipped where there is no GPU. Each
// check is named before it runs.
#include <cstdio>
#include <cstdlib>
#include <optional>

#include "../compiler/agree.h"
#include "fusec/check.h"

using namespace fusec;
using namespace fusec::test;

namespace {

bool no_gpu() {
  Graph g;
  Tensor x = g.input("x", {4});
  try {
    compile(g, {{"y", x + x}}, {.device = "cuda"});
    return false;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::device) throw;
    std::printf("[SKIP] %s\n", e.what());
    return true;
  }
}

AgreeOptions on_gpu(double size = 2) {
  AgreeOptions o;
  o.lo = -size, o.hi = size;
  o.compile.device = "cuda";
  return o;
}

// What is about to run, so that one that never ends is known by name.
void say(const std::string& what) {
  std::printf("  %s\n", what.c_str());
  std::fflush(stdout);
}

// FUSEC_ATTENTION while it lives.
class AttentionForm {
 public:
  explicit AttentionForm(const char* form) {
    if (const char* before = std::getenv(kName)) before_ = before;
    setenv(kName, form, 1);
  }
  ~AttentionForm() { before_ ? setenv(kName, before_->c_str(), 1) : unsetenv(kName); }
  AttentionForm(const AttentionForm&) = delete;

 private:
  static constexpr const char* kName = "FUSEC_ATTENTION";
  std::optional<std::string> before_;
};

struct Form {
  const char* attention;  // of FUSEC_ATTENTION
  bool deterministic;
};
const std::vector<Form> kPortable = {{"portable", false}, {"portable", true}};
// What sm_90a has; on other GPUs all of them are the portable one.
const std::vector<Form> kHopper = {
    {"portable", false}, {"portable", true}, {"hopper", false}, {"hopper", true}};

struct Case {
  int64_t b, t, s, h, kv, d;
  bool causal = true;
  DType type = bf16;
  double softcap = 0;
  std::vector<double> cu = {};
  // The GPU runs so many copies of the b items, one after the other: more tiles than
  // multiprocessors, at the oracle's price of b items.
  int64_t copies = 1;
  int64_t window = 0;

  std::string str() const {
    std::string out = "b " + std::to_string(b);
    if (copies > 1) out += " x " + std::to_string(copies);
    out += " t " + std::to_string(t) + " s " + std::to_string(s) + " h " + std::to_string(h) +
           " kv " + std::to_string(kv) + " d " + std::to_string(d) + (causal ? " causal " : " ") +
           std::string(name_of(type));
    if (window != 0) out += " window " + std::to_string(window);
    if (softcap != 0) out += " softcap " + std::to_string(softcap);
    if (!cu.empty()) out += " documents " + std::to_string(cu.size());
    return out;
  }
};

// Attention and its gradients over `items` items: o, dq, dk, dv.
std::vector<Tensor> record(Graph& g, const Case& c, int64_t items) {
  Tensor q = g.parameter("q", {items, c.t, c.h, c.d}, c.type);
  Tensor k = g.parameter("k", {items, c.s, c.kv, c.d}, c.type);
  Tensor v = g.parameter("v", {items, c.s, c.kv, c.d}, c.type);
  Tensor w = g.input("w", {items, c.t, c.h, c.d}, f32);
  AttentionOptions options;
  options.causal = c.causal, options.softcap = c.softcap, options.window = c.window;
  if (!c.cu.empty())
    options.cu_seqlens = g.input("cu", {static_cast<int64_t>(c.cu.size())}, i32);
  Tensor o = attention(q, k, v, options);
  std::vector<Tensor> wanted = {o};
  for (const Tensor& x : grad(sum(cast(o, f32) * w, {0, 1, 2, 3}), {q, k, v})) wanted.push_back(x);
  return wanted;
}

void repeat(std::vector<double>& values, int64_t times) {
  const size_t n = values.size();
  values.reserve(n * times);
  for (int64_t i = 1; i < times; ++i)
    for (size_t j = 0; j < n; ++j) values.push_back(values[j]);
}

// Whether all copies have the bits of the first.
bool repeats(const std::vector<double>& values, int64_t copies) {
  const size_t n = values.size() / copies;
  for (size_t i = n; i < values.size(); ++i)
    if (values[i] != values[i % n]) return false;
  return true;
}

// One result, whose sums depend on the order of blocks in forms that are not exact.
constexpr size_t kQueryGradient = 1;
bool exact(const Form& form) { return form.deterministic; }

void check(const Case& c, const std::vector<Form>& forms) {
  INFO(c.str());
  say(c.str() + ": oracle");
  AgreeOptions o = on_gpu();
  if (!c.cu.empty()) o.feeds["cu"] = c.cu;
  Graph few;
  Reference r = reference_of(few, record(few, c, c.b), o);
  if (c.copies > 1) {
    for (auto& [name, values] : r.feeds) repeat(values, c.copies);
    for (BoundedData& x : r.expected) repeat(x.value, c.copies), repeat(x.error, c.copies);
  }
  Graph g;
  std::vector<Tensor> wanted = record(g, c, c.b * c.copies);
  for (const Form& form : forms) {
    AttentionForm set(form.attention);
    CompileOptions compile = o.compile;
    compile.deterministic = form.deterministic;
    INFO(form.attention << (form.deterministic ? ", deterministic" : ""));
    say("    " + std::string(form.attention) + (form.deterministic ? ", deterministic" : ""));
    Ran ran = agree_with(r, g, wanted, compile);
    // Copies are computed alike, wherever and whenever a block claims them.
    for (size_t i = 0; i < ran.results.size(); ++i)
      if (i != kQueryGradient || exact(form)) CHECK(repeats(ran.results[i], c.copies));
  }
}

// Sizes of heads beside 64 and 128, on sm_90a.
void check_heads(int64_t d) {
  for (bool causal : {true, false}) {
    check({2, 129, 129, 4, 2, d, causal, bf16}, kHopper);
    check({1, 449, 449, 2, 1, d, causal, f16}, kHopper);
    check({1, 300, 300, 3, 3, d, causal, bf16}, kHopper);
    if (d == 96 || d == 144) continue;
    check({3, 300, 300, 2, 1, d, causal, bf16, 0, {}, 31}, kHopper);  // many tiles a block
    check({1, 700, 700, 4, 2, d, causal, bf16, 0, {0, 0, 7, 150, 151, 420, 640}}, kHopper);
    check({1, 500, 500, 2, 1, d, causal, f16, 0, {}, 20, 90}, kHopper);
    check({2, 200, 200, 4, 2, d, causal, bf16, 5}, kHopper);
    check({1, 200, 420, 2, 1, d, causal, bf16}, kHopper);
    check({1, 420, 200, 2, 1, d, causal, bf16}, kHopper);
  }
}

}  // namespace

TEST_CASE("attention on a GPU: tensor cores") {
  if (no_gpu()) return;
  for (DType type : {bf16, f16})
    for (int64_t d : {64, 128})
      for (bool causal : {true, false}) {
        check({2, 96, 96, 4, 2, d, causal, type}, kPortable);
        check({1, 200, 200, 2, 1, d, causal, type, 15}, kPortable);
        check({1, 70, 190, 2, 2, d, causal, type}, kPortable);
        check({1, 190, 70, 2, 1, d, causal, type}, kPortable);
        check({1, 180, 180, 2, 1, d, causal, type, 0, {0, 0, 5, 100, 101, 160}}, kPortable);
      }
  for (int64_t d : {16, 48, 80, 96, 112, 144, 160, 192, 240, 256})
    check({2, 50, 90, 2, 1, d}, kPortable);
  for (int64_t d : {80, 160, 256})
    for (bool causal : {true, false}) {
      check({1, 200, 200, 4, 2, d, causal, f16, 15}, kPortable);
      check({1, 190, 170, 2, 1, d, causal, bf16}, kPortable);
      check({1, 180, 180, 2, 1, d, causal, bf16, 0, {0, 0, 5, 100, 101, 160}}, kPortable);
      check({1, 180, 180, 2, 1, d, causal, bf16, 0, {}, 1, 40}, kPortable);
    }
  // Many blocks, in heads beyond 128: 8 warps where 128 queries fit.
  for (int64_t d : {192, 256}) check({1, 129, 129, 2, 1, d, true, bf16, 0, {}, 66}, kPortable);
  check({1, 1, 1, 1, 1, 64}, kPortable);
  // Many blocks: whole tiles of queries.
  check({1, 129, 129, 2, 1, 64, true, bf16, 0, {}, 66}, kPortable);
}

// Tiles are of 128 queries by 128 keys, in the gradient of 64 or 128 queries by 128 keys, or of 128
// queries by 64 keys. Sizes of equal heads, type and mask share their code.
TEST_CASE("attention on a GPU: whole tiles and tails of the form for sm_90a") {
  if (no_gpu()) return;
  for (DType type : {bf16, f16})
    for (int64_t d : {64, 128})
      for (bool causal : {true, false}) {
        check({2, 129, 129, 2, 1, d, causal, type}, kHopper);  // one row of the second tile
        check({1, 449, 449, 2, 1, d, causal, type}, kHopper);  // a tail of half a tile and a row
        if (type != bf16) continue;
        check({1, 128, 128, 2, 1, d, causal, type}, kHopper);  // one tile
        check({1, 640, 640, 2, 1, d, causal, type}, kHopper);  // all stages twice, and once more
      }
  for (int64_t d : {64, 128}) {
    check({2, 200, 256, 2, 1, d, false, bf16}, kHopper);  // t and s differ
    check({1, 300, 177, 2, 1, d, false, bf16}, kHopper);
    check({1, 130, 640, 2, 1, d, false, bf16}, kHopper);
    check({1, 700, 128, 2, 1, d, false, bf16}, kHopper);
    for (bool causal : {true, false}) {
      check({1, 200, 200, 3, 3, d, causal, bf16}, kHopper);  // no groups, and one of 3 and 8 heads
      check({2, 200, 200, 3, 1, d, causal, bf16}, kHopper);
      check({1, 200, 200, 8, 1, d, causal, bf16}, kHopper);
    }
  }
}

TEST_CASE("attention on a GPU: more tiles than multiprocessors in the form for sm_90a") {
  if (no_gpu()) return;
  for (int64_t d : {64, 128})
    for (bool causal : {true, false}) {
      // Three tiles of queries a head: each block of 132 claims several, long and short ones; the
      // last section of 16 (of 8) heads is not full.
      check({3, 300, 300, 2, 1, d, causal, bf16, 0, {}, 31}, kHopper);
      check({3, 128, 128, 4, 2, d, causal, bf16, 0, {}, 45}, kHopper);  // each tile one step
    }
  check({1, 133, 384, 2, 1, 128, false, bf16, 0, {}, 100}, kHopper);
}

TEST_CASE("attention on a GPU: sm_90a with documents, windows and unequal lengths") {
  if (no_gpu()) return;
  for (int64_t d : {64, 128})
    for (bool causal : {true, false}) {
      check({1, 700, 700, 4, 2, d, causal, bf16, 0, {0, 0, 7, 150, 151, 420, 640}}, kHopper);
      check({1, 500, 500, 2, 1, d, causal, f16, 0, {}, 40, 90}, kHopper);
      check({1, 400, 400, 2, 1, d, causal, bf16, 0, {0, 130, 400}, 1, 60}, kHopper);
    }
  check({1, 200, 420, 2, 1, 128, true, bf16, 0, {}, 40}, kHopper);
  for (DType type : {bf16, f16})
    for (int64_t d : {64, 128})
      for (bool causal : {true, false}) {
        check({2, 200, 200, 4, 2, d, causal, type, 5}, kHopper);
        check({1, 400, 400, 2, 1, d, causal, type, 20, {0, 130, 400}}, kHopper);
      }
  check({1, 420, 200, 2, 1, 64, true, bf16, 0, {}, 40}, kHopper);
  check({1, 200, 250, 2, 1, 128, false, bf16, 0, {}, 40}, kHopper);
}

TEST_CASE("attention on a GPU: heads that fill no panel of the form for sm_90a") {
  if (no_gpu()) return;
  for (int64_t d : {80, 96, 112}) check_heads(d);
}

// Their tiles have fewer keys, and their gradient is the portable one.
TEST_CASE("attention on a GPU: heads beyond 128 of the form for sm_90a") {
  if (no_gpu()) return;
  for (int64_t d : {144, 192, 256}) check_heads(d);
}

// Long enough that blocks of a head run at once and wait for each other. The spread of the form
// that adds to dq in any order is printed: it has no bound but that of its rounding.
TEST_CASE("attention on a GPU: the same bits in 100 runs") {
  if (no_gpu()) return;
  for (const Form& form : kHopper)
    for (const Case& c :
         std::vector<Case>{{2, 1500, 1500, 8, 4, 128},
                           {4, 1024, 1024, 8, 8, 64},
                           {2, 1500, 1500, 8, 4, 80},
                           {1, 2000, 2000, 8, 8, 128, false},
                           {1, 3000, 3000, 8, 4, 128, true, bf16, 0, {0, 700, 1000, 1000, 2900}},
                           {1, 3000, 3000, 8, 8, 64, true, f16, 0, {}, 1, 900}}) {
      const std::string what =
          c.str() + " " + form.attention + (form.deterministic ? ", deterministic" : "");
      say(what);
      INFO(what);
      AttentionForm set(form.attention);
      Graph g;
      std::vector<Tensor> wanted = record(g, c, c.b);
      const std::vector<std::string> names = {"o", "dq", "dk", "dv"};
      std::vector<Output> outputs;
      for (size_t i = 0; i < wanted.size(); ++i) outputs.push_back({names[i], wanted[i]});
      Executable run = compile(g, outputs, {.device = "cuda", .deterministic = form.deterministic});
      uint64_t seed = 1;
      for (const char* name : {"q", "k", "v", "w"})
        write(run, name, draw(run.type(name), ++seed, -2, 2));
      if (!c.cu.empty()) write(run, "cu", c.cu);
      std::vector<std::vector<double>> first;
      double spread = 0, largest = 0;
      for (int i = 0; i < 100; ++i) {
        run.run();
        for (size_t j = 0; j < names.size(); ++j) {
          std::vector<double> now = read(run, names[j]);
          if (i == 0) {
            first.push_back(std::move(now));
          } else if (j == kQueryGradient && !exact(form)) {
            for (size_t e = 0; e < now.size(); ++e) {
              spread = std::max(spread, std::fabs(now[e] - first[j][e]));
              largest = std::max(largest, std::fabs(now[e]));
            }
          } else {
            INFO(names[j] << ", run " << i);
            REQUIRE(now == first[j]);
          }
        }
      }
      if (!exact(form))
        say("    dq differs by " + std::to_string(spread / largest) + " of its largest element");
    }
}

TEST_CASE("attention on a GPU: any form") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16}) {
    check({2, 40, 40, 4, 2, 24, true, type}, kPortable);
    check({1, 33, 90, 3, 1, 5, false, type, 10}, kPortable);
    check({1, 90, 33, 2, 1, 72, true, type}, kPortable);
    check({1, 70, 70, 2, 1, 40, true, type, 0, {0, 30, 30, 64}}, kPortable);
  }
  check({1, 20, 20, 1, 1, 300, true, f32}, kPortable);
}

TEST_CASE("attention on a GPU: windows, alignment, prefixes and sinks") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16})
    for (int which = 0; which < 5; ++which) {
      CAPTURE(which);
      Graph g;  // heads of 32: on tensor cores, f32 aside
      Tensor q = g.input("q", {2, 90, 4, 32}, type), k = g.input("k", {2, 130, 2, 32}, type);
      Tensor v = g.input("v", {2, 130, 2, 32}, type), sinks = g.parameter("sinks", {4});
      AttentionOptions o{.causal = which != 1};
      if (which < 2) o.window = 20;
      if (which == 2) o.align = Align::top_left;
      if (which > 2) o.prefix = g.input("prefix", {2}, i32);
      if (which == 4) o.window = 9;
      std::vector<Tensor> wrt = {q, k, v};
      if (which > 3) o.sinks = sinks, wrt.push_back(sinks);
      Tensor y = attention(q, k, v, o), wide = cast(y, f32);
      std::vector<Tensor> wanted = {y};
      for (const Tensor& x : grad(sum(square(wide) * wide), wrt)) wanted.push_back(x);
      AgreeOptions a = on_gpu();
      if (which > 2) a.feeds["prefix"] = {50, 0};
      agree(g, wanted, a);
    }
}

// A hook of each kind on q [b, t, h, d] and s keys, and what is differentiated beside q, k, v.
struct HookRow {
  const char* name;
  std::vector<Tensor> (*add)(Graph& g, AttentionOptions& o, int64_t b, int64_t t, int64_t h,
                             int64_t s);
};
const HookRow kHooks[] = {
    {"alibi",
     [](Graph& g, AttentionOptions& o, int64_t, int64_t, int64_t h, int64_t) {
       Tensor slope = g.parameter("slope", {h});
       o.score = [=](Score p) {
         return p.value + slope(p.head) * 0.05 * cast(p.key - p.query, f32);
       };
       return std::vector<Tensor>{slope};
     }},
    {"soft cap",
     [](Graph&, AttentionOptions& o, int64_t, int64_t, int64_t, int64_t) {
       o.score = [](Score p) { return tanh(p.value * 0.2) * 5.0; };
       return std::vector<Tensor>{};
     }},
    {"documents by captured numbers",
     [](Graph& g, AttentionOptions& o, int64_t, int64_t t, int64_t, int64_t s) {
       Tensor of_query = g.input("of_query", {t}, i32), of_key = g.input("of_key", {s}, i32);
       o.mask = [=](Position p) { return of_query(p.query) == of_key(p.key); };
       return std::vector<Tensor>{};
     }},
    {"dilated window",
     [](Graph&, AttentionOptions& o, int64_t, int64_t, int64_t, int64_t) {
       o.window = 60;
       o.mask = [](Position p) {
         Tensor apart = p.query - p.key;
         return apart - apart / 3.0 * 3.0 == 0.0;
       };
       return std::vector<Tensor>{};
     }},
    {"a table and a learnt bias",
     [](Graph& g, AttentionOptions& o, int64_t b, int64_t t, int64_t h, int64_t s) {
       Tensor table = g.input("table", {t, s}, b8), bias = g.parameter("bias", {h, t, s});
       Tensor heat = g.parameter("heat", {b}), far = g.parameter("far", {t + s});
       double last = static_cast<double>(s);
       o.mask = [=](Position p) { return table(p.query, p.key); };
       o.score = [=](Score p) {
         return p.value * heat(p.batch) + bias(p.head, p.query, p.key) +
                far(p.query - p.key + last);
       };
       return std::vector<Tensor>{bias, heat, far};
     }}};

TEST_CASE("attention on a GPU: hooks of scores and masks") {
  if (no_gpu()) return;
  struct Sizes {
    int64_t t, s, d;
    DType type;
    bool causal, prefix, sinks;
  };
  const Sizes sizes[] = {
      {150, 150, 64, bf16, true, false, false}, {130, 203, 128, f16, true, false, true},
      {203, 130, 64, bf16, true, true, true},   {90, 140, 80, bf16, false, false, false},
      {1, 70, 64, bf16, true, false, false},    {70, 90, 24, f32, true, true, false}};
  for (const HookRow& hook : kHooks)
    for (const Sizes& n : sizes) {
      const std::string what = std::string("hook: ") + hook.name + ", t " + std::to_string(n.t) +
                               " s " + std::to_string(n.s) + " d " + std::to_string(n.d);
      say(what);
      INFO(what);
      Graph g;
      Tensor q = g.input("q", {2, n.t, 4, n.d}, n.type), k = g.input("k", {2, n.s, 2, n.d}, n.type);
      Tensor v = g.input("v", {2, n.s, 2, n.d}, n.type), w = g.input("w", {2, n.t, 4, n.d}, f32);
      AttentionOptions o{.causal = n.causal};
      std::vector<Tensor> wrt = {q, k, v};
      if (n.prefix) o.prefix = g.input("prefix", {2}, i32);
      if (n.sinks) o.sinks = g.parameter("sinks", {4}), wrt.push_back(o.sinks);
      for (const Tensor& x : hook.add(g, o, 2, n.t, 4, n.s)) wrt.push_back(x);
      Tensor y = attention(q, k, v, o);
      std::vector<Tensor> wanted = {y};
      for (const Tensor& x : grad(sum(cast(y, f32) * w), wrt)) wanted.push_back(x);
      AgreeOptions a = on_gpu();
      if (n.prefix) a.feeds["prefix"] = {50, 0};
      if (std::string(hook.name).find("documents") == 0) {
        std::vector<double> of_query(n.t), of_key(n.s);
        for (int64_t i = 0; i < n.t; ++i) of_query[i] = static_cast<double>(i / 40 % 3);
        for (int64_t i = 0; i < n.s; ++i) of_key[i] = static_cast<double>(i / 40 % 3);
        a.feeds["of_query"] = of_query, a.feeds["of_key"] = of_key;
      }
      agree(g, wanted, a);
    }
}

TEST_CASE("gather and scatter on a GPU") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16})
    for (int64_t count : {30, 5000}) {
      say("gather and scatter, " + std::string(name_of(type)) + ", " + std::to_string(count));
      Graph g;
      Tensor table = g.parameter("table", {300, 24}, type);
      Tensor index = g.input("index", {count}, i32);
      Tensor w = g.input("w", {count, 24}, f32);
      Tensor rows = gather(table, index);
      std::vector<Tensor> wanted = {rows};
      for (const Tensor& x : grad(sum(cast(rows, f32) * w, {0, 1}), {table})) wanted.push_back(x);
      AgreeOptions o = on_gpu();
      std::vector<double> places(count);
      for (int64_t i = 0; i < count; ++i) places[i] = static_cast<double>(i * i % 301 - 1);
      o.feeds["index"] = places;
      agree(g, wanted, o);
    }
}

TEST_CASE("cumsum and top_k on a GPU") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16, i32}) {
    say("cumsum and top_k, " + std::string(name_of(type)));
    Graph g;
    Tensor x = g.input("x", {3, 700, 5}, type), wide = g.input("wide", {4, 3000}, type);
    std::vector<Tensor> wanted = {cumsum(x, 1), cumsum(x, 0, true), cumsum(x, 2)};
    for (int64_t k : {1, 40, 3000}) {
      TopK top = top_k(wide, k);
      wanted.push_back(top.values);
      wanted.push_back(top.indices);
    }
    agree(g, wanted, on_gpu(50));
  }
}

TEST_CASE("products with bias, alone and before attention, on a GPU") {
  if (no_gpu()) return;
  Graph g;
  Tensor x = g.input("x", {2, 16, 32});
  Tensor wq = g.parameter("wq", {64, 32}), bq = g.parameter("bq", {64});
  Tensor w1 = g.parameter("w1", {128, 64}), b1 = g.parameter("b1", {128});
  Tensor w2 = g.parameter("w2", {32, 128}), b2 = g.parameter("b2", {32});
  Tensor q = reshape(linear(x, wq, bq), {2, 16, 4, 16});
  Tensor a = reshape(attention(q, q, q), {2, 16, 64});
  Tensor y = linear(gelu(linear(a, w1, b1)), w2, b2) + x;
  std::vector<Tensor> p = {wq, bq, w1, b1, w2, b2};
  std::vector<Tensor> d = grad(sum(square(y)), p);
  for (size_t i = 0; i < p.size(); ++i) g.assign(p[i], p[i] - d[i] * 0.001);
  std::vector<Output> outputs = {{"y", y}, {"z", linear(a, w1, b1)}};
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    CheckOptions options;
    options.compile.device = "cuda";
    options.compile.precision = precision;
    options.whole = precision == Precision::f32;  // the graph does not say what the policy rounds
    CheckReport report = check(g, outputs, options);
    INFO(report.str());
    CHECK(report.ok());
  }
}

TEST_CASE("epilogues of gradients on a GPU") {
  if (no_gpu()) return;
  for (bool gelu_in_gemm : {false, true})
    for (int64_t rows : {256, 96, 33})
      for (int64_t width : {512, 136, 13})
        for (Precision precision : {Precision::bf16, Precision::f32}) {
          say(std::to_string(rows) + " rows, width " + std::to_string(width) +
              (gelu_in_gemm ? ", GELU in its GEMM" : "") +
              (precision == Precision::f32 ? ", f32" : ", bf16"));
          Graph g;
          Tensor x = g.input("x", {rows, 64}), t = g.input("t", {rows, 64});
          Tensor w0 = g.parameter("w0", {64, 64}), b0 = g.parameter("b0", {64});
          Tensor w1 = g.parameter("w1", {width, 64}), b1 = g.parameter("b1", {width});
          Tensor w2 = g.parameter("w2", {64, width}), b2 = g.parameter("b2", {64});
          Tensor w3 = g.parameter("w3", {24, 64}), w4 = g.parameter("w4", {24, 64});
          Tensor h = linear(x, w0, b0);  // whose gradient is a sum of products
          Tensor y = linear(gelu(linear(h, w1, b1)), w2, b2);
          Tensor z = tanh(linear(h, w3)) * linear(h * 0.5, w4);
          Tensor loss = mean(square(y - t), {0, 1}) + mean(square(z), {0, 1});
          std::vector<Tensor> p = {w0, b0, w1, b1, w2, b2, w3, w4}, d = grad(loss, p);
          std::vector<Output> outputs = {{"loss", loss}};
          for (size_t i = 0; i < d.size(); ++i)
            outputs.push_back({"grad" + std::to_string(i), d[i]});
          CheckOptions options;
          options.compile.device = "cuda";
          options.compile.precision = precision;
          options.compile.gelu_in_gemm = gelu_in_gemm;
          options.whole = precision == Precision::f32;
          CheckReport report = check(g, outputs, options);
          INFO(report.str());
          CHECK(report.ok());
        }
}

TEST_CASE("f8e4m3 on a GPU: every number, and what lies between, as the base library has it") {
  if (no_gpu()) return;
  std::vector<float> at;
  std::vector<uint8_t> codes;
  for (int i = 0; i < 256; ++i) codes.push_back(static_cast<uint8_t>(i));
  for (int i = 0; i < 0x7e; ++i) {
    const float low = float_from_f8e4m3(codes[i]), high = float_from_f8e4m3(codes[i + 1]);
    const float half = (low + high) / 2;
    for (float v : {low, half, std::nextafterf(half, 0), std::nextafterf(half, 1e9f)})
      at.push_back(v), at.push_back(-v);
  }
  for (float v : {449.0f, 464.0f, 1e30f, 0x1p-140f, INFINITY, NAN})
    at.push_back(v), at.push_back(-v);
  for (int64_t odd : {0, 1}) {  // in whole accesses, and not
    at.resize((at.size() + 15) / 16 * 16 + static_cast<size_t>(odd), 0.3f);
    Graph g;
    Tensor x = g.input("x", {static_cast<int64_t>(at.size())}), e = g.input("e", {256}, f8e4m3);
    Executable f = compile(g, {{"narrow", cast(x, f8e4m3)}, {"wide", cast(e, f32)}},
                           {.device = "cuda"});
    f.set("x", at);
    f.set("e", codes);
    f.run();
    const std::vector<uint8_t> narrow = f.get<uint8_t>("narrow");
    const std::vector<float> wide = f.get<float>("wide");
    for (size_t i = 0; i < at.size(); ++i) {
      CAPTURE(at[i]);
      if (std::isnan(at[i]))
        CHECK((narrow[i] & 0x7f) == 0x7f);
      else
        CHECK(narrow[i] == f8e4m3_from_float(at[i]));
    }
    for (int i = 0; i < 256; ++i)
      CHECK((i % 128 == 127 ? std::isnan(wide[i]) : wide[i] == float_from_f8e4m3(codes[i])));
  }
}

TEST_CASE("paged attention in every form, decoding and chunks") {
  if (no_gpu()) return;
  struct Paged {
    int64_t kv, group, d, page_size, max_pages;
    std::vector<double> lengths;
    DType type = bf16;
    bool narrow = false;
    int64_t window = 0;
    double softcap = 0;
    std::vector<double> cu = {};
    bool floats = false;  // narrow pages: f8e4m3, not u8
  };
  std::vector<Paged> cases = {
      {8, 4, 128, 16, 130, {2080, 1, 700, 0}},
      {8, 1, 128, 1, 300, {300, 17, 130}},
      {2, 8, 64, 64, 40, {2500, 64, 65}, f16},
      {1, 33, 128, 16, 20, {320, 100}},
      {2, 5, 80, 16, 20, {320, 33}},
      {2, 2, 256, 16, 70, {1100, 16}},
      {8, 4, 128, 16, 130, {2080, 1, 700, 0}, bf16, true},
      {4, 8, 64, 64, 40, {2500, 64, 65}, bf16, true, 900, 20},
      {1, 2, 256, 3, 200, {600, 7}, bf16, true},
      {8, 4, 128, 16, 130, {2080, 5}, bf16, false, 512, 0},
      {2, 4, 128, 16, 130, {2080, 90, 33}, bf16, false, 0, 0, {0, 200, 200, 233}},
      {2, 4, 128, 16, 130, {2080, 90, 33}, bf16, true, 300, 0, {0, 100, 190, 200}},
      {2, 3, 72, 16, 70, {1100, 5}, f32},
      {2, 4, 128, 16, 70, {1100, 5}, f16, true, 200, 9},
      {2, 4, 128, 16, 70, {1100, 40}, f32, true, 0, 0, {0, 30, 70}},
      {1, 16, 256, 16, 300, {4700, 3}},  // parts joined by a kernel of its own
      {1, 1, 32, 16, 2048, {32768}, bf16, true},
  };
  for (size_t i = 0, n = cases.size(); i < n; ++i)
    if (cases[i].narrow) cases.push_back(cases[i]), cases.back().floats = true;
  for (const Paged& c : cases) {
    const auto b = static_cast<int64_t>(c.lengths.size()), pages = c.max_pages + 3;
    const int64_t tokens = c.cu.empty() ? b : static_cast<int64_t>(c.cu.back()) + 2;
    say("paged kv " + std::to_string(c.kv) + " group " + std::to_string(c.group) + " d " +
        std::to_string(c.d) + (c.floats ? " f8e4m3 " : c.narrow ? " u8 " : " ") +
        std::string(name_of(c.type)));
    Graph g;
    AgreeOptions o = on_gpu();
    PagedAttentionOptions options{.softcap = c.softcap, .window = c.window};
    const Shape shape = {pages, c.page_size, c.kv, c.d}, scales = {pages, c.page_size, c.kv};
    Tensor q = g.input("q", {tokens, c.kv * c.group, c.d}, c.type);
    Tensor k = g.input("k", shape, !c.narrow ? c.type : c.floats ? f8e4m3 : u8);
    Tensor v = g.input("v", shape, k.dtype());
    if (c.narrow) {
      const double low = c.floats ? -128 : 0;
      for (const char* name : {"k", "v"}) o.feeds[name] = draw(k.type(), name[0], low, low + 256);
      options.k_scale = g.input("ks", scales), options.v_scale = g.input("vs", scales);
      for (const char* name : {"ks", "vs"})
        o.feeds[name] = draw(options.k_scale.type(), name[0], 0.001, 0.02);
    }
    if (!c.cu.empty()) options.cu_q = g.input("cu", {b + 1}, i32), o.feeds["cu"] = c.cu;
    o.feeds["lengths"] = c.lengths;
    for (int64_t i = 0; i < b; ++i)
      for (int64_t p = 0; p < c.max_pages; ++p)
        o.feeds["table"].push_back(static_cast<double>((7 * p + 3 * (i / 2) + 1) % pages));
    Tensor y = paged_attention(q, k, v, g.input("table", {b, c.max_pages}, i32),
                               g.input("lengths", {b}, i32), options);
    Reference r = reference_of(g, {y}, o);
    std::vector<double> first = agree_with(r, g, {y}, o.compile).results[0];
    CHECK(agree_with(r, g, {y}, o.compile).results[0] == first);
  }
}

TEST_CASE("decoding on a GPU: the cache is written in place, a bad page is an error") {
  if (no_gpu()) return;
  for (DType held : {bf16, u8, f8e4m3}) {
    const bool narrow = held != bf16;
    say("decoding, " + std::string(name_of(held)));
    Graph g;
    const Shape shape = {9, 4, 2, 64}, scales = {9, 4, 2};
    PagedKv pages{g.state("k", shape, held), g.state("v", shape, held), {}, {}};
    if (narrow) pages.k_scale = g.state("ks", scales), pages.v_scale = g.state("vs", scales);
    Tensor table = g.input("table", {2, 3}, i32), place = g.input("place", {2}, i32);
    Tensor x = g.input("x", {2, 2, 64}, bf16);
    PagedKv now = append_kv(x, x, pages, paged_rows(place, table, 4));
    g.assign(pages.k, now.k);
    g.assign(pages.v, now.v);
    if (narrow) g.assign(pages.k_scale, now.k_scale), g.assign(pages.v_scale, now.v_scale);
    Tensor o = paged_attention(g.input("q", {2, 8, 64}, bf16), now.k, now.v, table, place + 1.0,
                               {.k_scale = now.k_scale, .v_scale = now.v_scale});
    AgreeOptions options = on_gpu();
    options.feeds["table"] = {0, 8, 3, 4, 7, 2};
    options.feeds["place"] = {6, 9};
    for (const char* name : {"k", "v"})
      if (narrow)
        options.feeds[name] =
            draw(pages.k.type(), name[0], held == u8 ? 0 : -128,
                 held == u8 ? 256 : 128);
    for (const char* name : {"ks", "vs"})
      if (narrow) options.feeds[name] = draw(pages.k_scale.type(), name[0], 0.001, 0.02);
    agree(g, {o}, options);
    Executable exe = compile(g, {{"o", o}}, {.device = "cuda"});
    write(exe, "q", std::vector<double>(2 * 8 * 64, 0.5));
    write(exe, "x", std::vector<double>(2 * 2 * 64, 0.5));
    write(exe, "table", {0, 8, 3, 4, 77, 2});
    write(exe, "place", {6, 3});
    exe.run();
    write(exe, "place", {6, 11});
    CHECK_THROWS_WITH(exe.run(), doctest::Contains("page_table"));
  }
}
