// paged_attention() and append_kv() compiled for the CPU: against the oracle, against attention
// over the whole sequence as it is decoded token by token, and what the plan does with the cache.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

namespace {

constexpr int64_t kPages = 7, kSize = 3, kKv = 2, kHeads = 4, kD = 8, kMost = 3;

// Decoding of two sequences: new keys and values go to the pages, then the new token sees them.
struct Decoder {
  Graph g;
  DType type;
  bool narrow;
  Tensor q = g.input("q", {2, kHeads, kD}, type), k = g.input("k", {2, kKv, kD}, type);
  Tensor v = g.input("v", {2, kKv, kD}, type), table = g.input("table", {2, kMost}, i32);
  Tensor place = g.input("place", {2}, i32), o;

  explicit Decoder(DType t) : Decoder(t, t) {}
  Decoder(DType t, DType held) : type(t), narrow(held != t) {
    const bool n = narrow;
    Shape shape = {kPages, kSize, kKv, kD}, scales = {kPages, kSize, kKv};
    PagedKv pages{g.state("k_pages", shape, held), g.state("v_pages", shape, held), {}, {}};
    if (n) pages.k_scale = g.state("k_scale", scales), pages.v_scale = g.state("v_scale", scales);
    PagedKv now = append_kv(k, v, pages, paged_rows(place, table, kSize));
    g.assign(pages.k, now.k);
    g.assign(pages.v, now.v);
    if (n) g.assign(pages.k_scale, now.k_scale), g.assign(pages.v_scale, now.v_scale);
    o = paged_attention(q, now.k, now.v, table, place + 1.0,
                        {.k_scale = now.k_scale, .v_scale = now.v_scale});
  }
};

const std::vector<double> kTable = {5, 0, 3, 2, 6, 1};

}  // namespace

TEST_CASE("paged attention agrees with the oracle: types, chunks, windows, 8-bit pages") {
  for (DType type : {f32, bf16, f16})
    for (DType pages : {type, u8, f8e4m3})
      for (bool chunks : {false, true}) {
        CAPTURE(name_of(pages));
        const bool narrow = pages != type;
        Graph g;
        Shape shape = {kPages, kSize, kKv, kD}, scales = {kPages, kSize, kKv};
        PagedAttentionOptions o{.softcap = chunks ? 5.0 : 0.0, .window = chunks ? 4 : 0};
        AgreeOptions a;
        a.feeds["table"] = kTable;
        a.feeds["lengths"] = {8, 4};
        if (chunks) o.cu_q = g.input("cu", {3}, i32), a.feeds["cu"] = {0, 5, 6};
        Tensor q = g.input("q", {chunks ? 7 : 2, kHeads, kD}, type);
        Tensor k = g.input("k", shape, pages), v = g.input("v", shape, pages);
        if (narrow) {
          o.k_scale = g.input("ks", scales), o.v_scale = g.input("vs", scales);
          const double low = pages == u8 ? 0 : -128;
          for (const char* name : {"k", "v"}) a.feeds[name] = draw(k.type(), 5, low, low + 256);
          for (const char* name : {"ks", "vs"}) a.feeds[name] = draw(o.k_scale.type(), 6, 0, 0.02);
        }
        agree(g,
              {paged_attention(q, k, v, g.input("table", {2, kMost}, i32),
                               g.input("lengths", {2}, i32), o)},
              a);
      }
}

TEST_CASE("decoding token by token is causal attention over the whole sequence") {
  Decoder d(f32);
  Graph whole;
  constexpr int64_t kTokens = 9;
  Tensor y =
      attention(whole.input("q", {2, kTokens, kHeads, kD}), whole.input("k", {2, kTokens, kKv, kD}),
                whole.input("v", {2, kTokens, kKv, kD}));
  Feeds feeds = complete(whole, {}, -2, 2);
  std::vector<double> expected = evaluate(whole, feeds, {y})[0];
  Executable exe = compile(d.g, {{"o", d.o}});
  write(exe, "table", kTable);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (const char* name : {"q", "k", "v"}) {
      int64_t width = numel(exe.type(name).shape) / 2;
      std::vector<double> now;
      for (int64_t b = 0; b < 2; ++b)
        for (int64_t i = 0; i < width; ++i)
          now.push_back(feeds[name][(b * kTokens + t) * width + i]);
      write(exe, name, now);
    }
    write(exe, "place", {static_cast<double>(t), static_cast<double>(t)});
    exe.run();
    std::vector<double> got = read(exe, "o"), want;
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t i = 0; i < kHeads * kD; ++i)
        want.push_back(expected[(b * kTokens + t) * kHeads * kD + i]);
    check_close(got, want, 1e-5, "token " + std::to_string(t));
  }
}

TEST_CASE("new keys and values are written to the cache where it is: nothing copies it") {
  for (DType held : {bf16, u8, f8e4m3}) {
    CAPTURE(name_of(held));
    const bool narrow = held != bf16;
    Decoder d(bf16, held);
    Executable exe = compile(d.g, {{"o", d.o}});
    const Plan& plan = exe.plan();
    int64_t cache = plan.buffers[plan.find("k_pages")].type.bytes(), scatters = 0;
    for (const PlanStep& s : plan.steps) {
      if (s.kernel < 0) CHECK(s.call.name != "copy");
      if (s.kernel < 0 && s.call.name == "scatter") {
        ++scatters;
        CHECK(plan.buffers[s.call.args[0].buffer].cls == BufferClass::state);
      }
      for (const Segment& part : s.segments)
        for (const BufferRef& r : part.args)
          CHECK(plan.buffers[r.buffer].name.find("_pages") == std::string::npos);
    }
    CHECK(scatters == (narrow ? 4 : 2));
    for (const PlanBuffer& b : plan.buffers)
      if (!is_persistent(b.cls)) CHECK(b.type.bytes() < cache);
    AgreeOptions a;
    a.feeds["table"] = kTable;
    a.feeds["place"] = {6, 3};
    for (const char* name : {"k_pages", "v_pages"})
      if (narrow)
        a.feeds[name] = draw({{kPages, kSize, kKv, kD}, held}, name[0], held == u8 ? 0 : -128,
                             held == u8 ? 256 : 128);
    for (const char* name : {"k_scale", "v_scale"})
      if (narrow) a.feeds[name] = draw({{kPages, kSize, kKv}, f32}, name[0], 0.001, 0.02);
    agree(d.g, {d.o}, a);
  }
}

TEST_CASE("a cache that is read as it was is not written before that") {
  Graph g;
  Tensor pages = g.state("pages", {8, 4}), rows = g.input("rows", {2}, i32);
  Tensor now = scatter(pages, rows, g.input("x", {2, 4}));
  g.assign(pages, now);
  Executable exe = compile(g, {{"new", sum(now)}, {"old", sum(pages)}});
  write(exe, "pages", std::vector<double>(32, 1));
  write(exe, "x", std::vector<double>(8, 3));
  write(exe, "rows", {6, 1});
  for (double before : {32.0, 48.0}) {
    exe.run();
    CHECK(read(exe, "old")[0] == before);
    CHECK(read(exe, "new")[0] == 48);
  }
  // Under a guard that refuses, nothing is written.
  Graph guarded;
  Tensor kept = guarded.state("kept", {8, 4}), at = guarded.input("at", {2}, i32);
  Tensor x = guarded.input("x", {2, 4});
  guarded.assign(kept, scatter(kept, at, x));
  guarded.guard(sum(x));
  Executable careful = compile(guarded, {});
  write(careful, "at", {6, 1});
  write(careful, "x", std::vector<double>(8, INFINITY));
  careful.run();
  CHECK(read(careful, "kept") == std::vector<double>(32, 0));
}

TEST_CASE("paged attention: a page number that is none is an error of the run") {
  Decoder d(f32);
  Executable exe = compile(d.g, {{"o", d.o}});
  for (const char* name : {"q", "k", "v"})
    write(exe, name, std::vector<double>(numel(exe.type(name).shape), 0.5));
  write(exe, "table", {5, 0, 3, 2, -6, 1});
  write(exe, "place", {0, 0});
  exe.run();
  write(exe, "place", {4, 8});
  CHECK_THROWS_WITH(exe.run(), doctest::Contains("page_table[1, 1] is -6; expected 0 to 6"));
}
