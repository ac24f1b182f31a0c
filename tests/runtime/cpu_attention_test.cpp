// Attention and its gradient against a naive double version (scores held whole; its own gradient is
// checked by finite differences): masks, GQA, odd sizes, softcap, documents, dtypes, threads.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "cpu_call.h"
#include "fusec/base/error.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Case {
  int64_t b, t, s, h, kv, d;
  bool causal;
  double softcap = 0;
  std::vector<int> cu_seqlens = {};
  DType type = f32;
  int64_t window = 0;
  bool top_left = false;
  std::vector<int> prefix = {};

  double scale() const { return 1 / std::sqrt(static_cast<double>(d)); }
  int64_t q_size() const { return b * t * h * d; }
  int64_t k_size() const { return b * s * kv * d; }
  // Scores of spread about 3, so that the softmax is far from uniform.
  Values q() const { return scaled(random_values(q_size(), 11), 4); }
  Values k() const { return scaled(random_values(k_size(), 12), 2); }
  Values v() const { return random_values(k_size(), 13); }
  Values d_out() const { return random_values(q_size(), 14); }
  static Values scaled(Values x, double f) {
    for (double& e : x) e *= f;
    return x;
  }
  int document(int64_t token) const {
    for (size_t i = 0; i + 1 < cu_seqlens.size(); ++i)
      if (cu_seqlens[i] <= token && token < cu_seqlens[i + 1]) return static_cast<int>(i);
    return -1;
  }
  bool visible(int64_t item, int64_t i, int64_t j) const {
    int64_t at = i + (top_left ? 0 : s - t);
    if (!cu_seqlens.empty()) {
      item = document(i);
      if (item < 0 || item != document(j)) return false;
      at = i - cu_seqlens[item], j -= cu_seqlens[item];
    }
    if (!prefix.empty() && j < prefix[item]) return true;
    if (window > 0 && (j <= at - window || j >= at + window)) return false;
    return !causal || j <= at;
  }
};

struct Result {
  Values o, lse, dq, dk, dv;
};

// Everything whole and in double. Gradients are the chain rule written out per score.
Result naive(const Case& c, const Values& q, const Values& k, const Values& v,
             const Values& d_out) {
  Result r{Values(c.q_size()), Values(c.b * c.h * c.t), Values(c.q_size()), Values(c.k_size()),
           Values(c.k_size())};
  for (int64_t b = 0; b < c.b; ++b)
    for (int64_t h = 0; h < c.h; ++h)
      for (int64_t i = 0; i < c.t; ++i) {
        int64_t qi = ((b * c.t + i) * c.h + h) * c.d;
        auto kj = [&](int64_t j) { return ((b * c.s + j) * c.kv + h / (c.h / c.kv)) * c.d; };
        Values score(c.s), p(c.s);
        double total = 0;
        for (int64_t j = 0; j < c.s; ++j) {
          if (!c.visible(b, i, j)) continue;
          for (int64_t x = 0; x < c.d; ++x) score[j] += q[qi + x] * k[kj(j) + x];
          score[j] *= c.scale();
          if (c.softcap) score[j] = c.softcap * std::tanh(score[j] / c.softcap);
          total += p[j] = std::exp(score[j]);
        }
        r.lse[(b * c.h + h) * c.t + i] =
            total == 0 ? -std::numeric_limits<double>::infinity() : std::log(total);
        if (total == 0) continue;
        double delta = 0;
        Values dp(c.s);
        for (int64_t j = 0; j < c.s; ++j) {
          p[j] /= total;
          for (int64_t x = 0; x < c.d; ++x) {
            r.o[qi + x] += p[j] * v[kj(j) + x];
            dp[j] += d_out[qi + x] * v[kj(j) + x];
            r.dv[kj(j) + x] += p[j] * d_out[qi + x];
          }
          delta += p[j] * dp[j];
        }
        for (int64_t j = 0; j < c.s; ++j) {
          double slope = c.softcap ? 1 - std::pow(score[j] / c.softcap, 2) : 1;
          double ds = p[j] * (dp[j] - delta) * slope * c.scale();
          for (int64_t x = 0; x < c.d; ++x) {
            r.dq[qi + x] += ds * k[kj(j) + x];
            r.dk[kj(j) + x] += ds * q[qi + x];
          }
        }
      }
  return r;
}

CpuCall attributes(CpuCall call, const Case& c) {
  call.attr("b", c.b).attr("t", c.t).attr("s", c.s).attr("h", c.h).attr("kv", c.kv);
  call.attr("d", c.d).attr("causal", c.causal ? 1 : 0).attr("scale", c.scale());
  call.attr("softcap", c.softcap).attr("type", name_of(c.type).data());
  call.attr("docs", c.cu_seqlens.empty() ? 0 : static_cast<int>(c.cu_seqlens.size()) - 1);
  if (c.window) call.attr("window", c.window);
  if (c.top_left) call.attr("top_left", 1);
  if (!c.prefix.empty()) call.attr("prefix", 1);
  if (!c.cu_seqlens.empty()) call.operand({c.cu_seqlens.begin(), c.cu_seqlens.end()}, i32);
  if (!c.prefix.empty()) call.operand({c.prefix.begin(), c.prefix.end()}, i32);
  return call;
}

CpuCall forward(const Case& c, int threads = 2) {
  CpuCall call("attention");
  call.operand(c.q(), c.type).operand(c.k(), c.type).operand(c.v(), c.type);
  call.operand(Values(c.q_size(), std::nan("")), c.type);
  call.operand(Values(c.b * c.h * c.t, std::nan("")), f32);
  call = attributes(std::move(call), c);
  call.run(threads);
  return call;
}

CpuCall backward(const Case& c, const Values& o, const Values& lse, int threads = 2) {
  CpuCall call("attention_grad");
  call.operand(c.d_out(), c.type).operand(c.q(), c.type).operand(c.k(), c.type);
  call.operand(c.v(), c.type).operand(o, c.type).operand(lse, f32);
  call.operand(Values(c.q_size(), std::nan("")), c.type);
  for (int i = 0; i < 2; ++i) call.operand(Values(c.k_size(), std::nan("")), c.type);
  call = attributes(std::move(call), c);
  call.run(threads);
  return call;
}

// Largest |got - want| relative to the largest |want|; infinities must match exactly.
double distance(const Values& got, const Values& want) {
  double worst = 0, size = 1e-30;
  for (size_t i = 0; i < want.size(); ++i) {
    if (std::isinf(want[i])) {
      if (got[i] != want[i]) return 1e9;
      continue;
    }
    size = std::max(size, std::abs(want[i]));
    double error = std::abs(got[i] - want[i]);
    worst = std::max(worst, std::isnan(error) ? 1e9 : error);
  }
  return worst / std::max(size, 1e-3);
}

const std::vector<Case> kCases = {
    {1, 1, 1, 1, 1, 1, true},
    {2, 32, 32, 4, 2, 32, true},
    {2, 80, 80, 4, 2, 32, false},
    {1, 77, 77, 3, 1, 20, true},
    {2, 33, 50, 2, 2, 16, true},          // more keys than queries: bottom-right alignment
    {1, 50, 33, 2, 1, 24, true},          // fewer: the first 17 queries see nothing
    {1, 5, 300, 2, 1, 64, false},         // cross attention
    {1, 70, 9, 2, 2, 17, false},
    {1, 200, 200, 6, 2, 64, true, 15.0},  // several tiles, softcap
    {1, 130, 150, 2, 1, 128, true, 2.0},
    {1, 100, 100, 4, 2, 32, true, 0, {0, 10, 10, 11, 75, 100}},   // with an empty document
    {1, 300, 300, 2, 1, 32, false, 5.0, {0, 0, 140, 270}},        // 30 tokens in no document
    {2, 0, 4, 1, 1, 8, false},
    {1, 3, 0, 1, 1, 8, true},
    // Windows: whole tiles on both sides are skipped; of two keys; both ways; beyond t + s.
    {1, 300, 300, 2, 1, 64, true, 0, {}, f32, 70},
    {1, 200, 330, 2, 2, 32, true, 3.0, {}, f32, 2},
    {2, 200, 200, 2, 1, 16, false, 0, {}, f32, 40},
    {1, 90, 40, 1, 1, 8, true, 0, {}, f32, 25},
    {1, 40, 40, 1, 1, 8, true, 0, {}, f32, int64_t{1} << 60},
    {1, 260, 260, 2, 1, 32, true, 0, {0, 100, 100, 240, 260}, f32, 33},
    // Aligned at the top left: more keys than queries, and fewer.
    {1, 70, 150, 2, 1, 16, true, 0, {}, f32, 0, true},
    {1, 150, 70, 2, 1, 16, true, 0, {}, f32, 20, true},
    // A prefix, alone and with a window that leaves tiles between the two.
    {3, 100, 100, 2, 1, 16, true, 0, {}, f32, 0, false, {0, 37, 1000}},
    {2, 300, 300, 2, 1, 16, true, 0, {}, f32, 20, false, {-5, 70}},
    {2, 150, 70, 2, 1, 16, true, 0, {}, f32, 0, false, {1, 0}},
    {1, 200, 200, 2, 1, 16, true, 0, {0, 90, 90, 190}, f32, 9, false, {30, 7, 80}},
    // Heads of other sizes.
    {1, 70, 70, 2, 1, 80, true}, {1, 70, 70, 2, 1, 96, false}, {1, 70, 70, 2, 1, 256, true},
};

}  // namespace

TEST_CASE("attention: forward and backward equal the naive version") {
  for (Case c : kCases)
    for (DType type : {f32, bf16}) {
      c.type = type;
      CAPTURE(c.t); CAPTURE(c.s); CAPTURE(c.d); CAPTURE(c.causal); CAPTURE(c.softcap);
      CAPTURE(name_of(type));
      Result want = naive(c, c.q(), c.k(), c.v(), c.d_out());
      // f32: exp of arguments up to about 20 and sums of a few hundred terms. bf16: results are
      // rounded to 8 bits, and the backward reads an o that was.
      double eps = type == f32 ? 1e-5 : 1.0 / 128;
      CpuCall f = forward(c);
      CHECK(distance(f.values(3), want.o) < eps);
      CHECK(distance(f.values(4), want.lse) < 1e-5);
      CpuCall g = backward(c, f.values(3), f.values(4));
      CHECK(distance(g.values(6), want.dq) < 2 * eps);
      CHECK(distance(g.values(7), want.dk) < 2 * eps);
      CHECK(distance(g.values(8), want.dv) < eps);
    }
}

TEST_CASE("attention: the naive gradients equal finite differences") {
  for (double softcap : {0.0, 2.0}) {
    Case c{1, 5, 6, 2, 1, 4, true, softcap};
    Values in[3] = {c.q(), c.k(), c.v()}, d_out = c.d_out();
    Result r = naive(c, in[0], in[1], in[2], d_out);
    const Values* grads[3] = {&r.dq, &r.dk, &r.dv};
    for (int which = 0; which < 3; ++which)
      for (size_t i = 0; i < in[which].size(); ++i) {
        const double step = 1e-5;  // error of central differences: step^2, about 1e-10
        double loss[2] = {0, 0};
        for (int side = 0; side < 2; ++side) {
          Values x[3] = {in[0], in[1], in[2]};
          x[which][i] += side ? step : -step;
          Values o = naive(c, x[0], x[1], x[2], d_out).o;
          for (size_t j = 0; j < o.size(); ++j) loss[side] += o[j] * d_out[j];
        }
        CHECK(std::abs((loss[1] - loss[0]) / (2 * step) - (*grads[which])[i]) < 1e-7);
      }
  }
}

TEST_CASE("attention: the same bits for 1, 2 and 7 threads") {
  // One key head: with 7 threads the backward splits into query and key tiles, with 1 it does not.
  for (Case c : {Case{1, 333, 333, 3, 1, 40, true, 10.0}, Case{3, 50, 90, 4, 2, 32, false},
                 Case{1, 300, 300, 2, 1, 32, true, 0, {0, 7, 7, 200, 280}},
                 Case{2, 300, 300, 2, 1, 16, true, 0, {}, f32, 20, false, {-5, 70}}})
    for (DType type : {f32, bf16}) {
      c.type = type;
      CpuCall f1 = forward(c, 1), f2 = forward(c, 2), f7 = forward(c, 7);
      CpuCall g1 = backward(c, f1.values(3), f1.values(4), 1);
      for (int arg : {3, 4}) {
        CHECK(f1.bytes(arg) == f2.bytes(arg));
        CHECK(f1.bytes(arg) == f7.bytes(arg));
      }
      for (int threads : {2, 7}) {
        CpuCall g = backward(c, f1.values(3), f1.values(4), threads);
        for (int arg : {6, 7, 8}) CHECK(g.bytes(arg) == g1.bytes(arg));
      }
    }
}

TEST_CASE("attention: a document in a pack has the bits of the document alone") {
  Case pack{1, 100, 100, 2, 1, 32, true, 15.0, {0, 37, 100}};
  Case alone{1, 63, 63, 2, 1, 32, true, 15.0, {0, 63}};
  int64_t q_row = pack.h * pack.d, k_row = pack.kv * pack.d;
  CpuCall call("attention");
  auto tail = [](const Values& x, int64_t from) { return Values(x.begin() + from, x.end()); };
  call.operand(tail(pack.q(), 37 * q_row), f32).operand(tail(pack.k(), 37 * k_row), f32);
  call.operand(tail(pack.v(), 37 * k_row), f32).operand(Values(63 * q_row), f32);
  call.operand(Values(2 * 63), f32);
  call = attributes(std::move(call), alone);
  CHECK(call.run().values(3) == tail(forward(pack).values(3), 37 * q_row));
}

TEST_CASE("attention: bad cu_seqlens are user errors that name the value") {
  for (auto [cu, text] : {std::pair<std::vector<int>, const char*>{{1, 5, 10}, "cu_seqlens[0] is 1"},
                          {{0, 7, 5}, "cu_seqlens[2] is 5"},
                          {{0, 5, 11}, "cu_seqlens[2] is 11"}})
    try {
      forward({1, 10, 10, 1, 1, 8, true, 0, cu});
      FAIL("no error");
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::user);
      CHECK(std::string(e.what()).find(text) != std::string::npos);
    }
}
