// Library calls through compile() on a GPU, against the oracle and its error bounds: attention and
// its gradient in every form, gather, scatter, cumsum, top_k. Skipped where there is no GPU.
#include <cstdio>

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

struct Case {
  int64_t b, t, s, h, kv, d;
  bool causal = true;
  DType type = bf16;
  double softcap = 0;
  std::vector<double> cu = {};
};

void check(const Case& c) {
  INFO("b " << c.b << " t " << c.t << " s " << c.s << " h " << c.h << " kv " << c.kv << " d " << c.d
            << " causal " << c.causal << " type " << std::string(name_of(c.type)) << " softcap "
            << c.softcap << " documents " << c.cu.size());
  Graph g;
  Tensor q = g.parameter("q", {c.b, c.t, c.h, c.d}, c.type);
  Tensor k = g.parameter("k", {c.b, c.s, c.kv, c.d}, c.type);
  Tensor v = g.parameter("v", {c.b, c.s, c.kv, c.d}, c.type);
  Tensor w = g.input("w", {c.b, c.t, c.h, c.d}, f32);
  AttentionOptions options;
  options.causal = c.causal, options.softcap = c.softcap;
  AgreeOptions agreed = on_gpu();
  if (!c.cu.empty()) {
    options.cu_seqlens = g.input("cu", {static_cast<int64_t>(c.cu.size())}, i32);
    agreed.feeds["cu"] = c.cu;
  }
  Tensor o = attention(q, k, v, options);
  std::vector<Tensor> wanted = {o};
  for (const Tensor& x : grad(sum(cast(o, f32) * w, {0, 1, 2, 3}), {q, k, v})) wanted.push_back(x);
  agree(g, wanted, agreed);
}

}  // namespace

TEST_CASE("attention on a GPU: tensor cores") {
  if (no_gpu()) return;
  for (DType type : {bf16, f16})
    for (int64_t d : {64, 128})
      for (bool causal : {true, false}) {
        check({2, 96, 96, 4, 2, d, causal, type});
        check({1, 200, 200, 2, 1, d, causal, type, 15});
        check({1, 70, 190, 2, 2, d, causal, type});
        check({1, 190, 70, 2, 1, d, causal, type});
        check({1, 180, 180, 2, 1, d, causal, type, 0, {0, 0, 5, 100, 101, 160}});
      }
  for (int64_t d : {16, 48, 80, 96, 112}) check({2, 50, 90, 2, 1, d});
  check({1, 1, 1, 1, 1, 64});
  check({1, 129, 129, 132, 66, 64});  // many blocks: whole tiles of queries
}

TEST_CASE("attention on a GPU: whole tiles and tails of the form for sm_90a") {
  if (no_gpu()) return;
  for (DType type : {bf16, f16})
    for (int64_t d : {64, 128}) {
      for (bool causal : {true, false}) {
        check({1, 128, 128, 1, 1, d, causal, type});
        check({2, 384, 384, 4, 2, d, causal, type});
        check({1, 333, 333, 3, 1, d, causal, type});
      }
      check({2, 200, 256, 2, 1, d, false, type});
      check({1, 300, 177, 2, 2, d, false, type});
    }
  check({3, 512, 512, 20, 10, 64});  // more tiles than multiprocessors: some claim several
  check({3, 512, 512, 20, 10, 128});
  check({3, 384, 384, 20, 20, 128, false});
}

TEST_CASE("attention on a GPU: any form") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16}) {
    check({2, 40, 40, 4, 2, 24, true, type});
    check({1, 33, 90, 3, 1, 5, false, type, 10});
    check({1, 90, 33, 2, 1, 72, true, type});
    check({1, 70, 70, 2, 1, 40, true, type, 0, {0, 30, 30, 64}});
  }
  check({1, 20, 20, 1, 1, 300, true, f32});
}

TEST_CASE("gather and scatter on a GPU") {
  if (no_gpu()) return;
  for (DType type : {f32, bf16, f16})
    for (int64_t count : {30, 5000}) {
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
