// paged_attention against a naive double version: ratios of heads, head and page sizes, windows,
// softcap, 8-bit pages, chunks, shared pages, parts of the keys, threads; and what it refuses.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "cpu_call.h"
#include "fusec/base/error.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Case {
  int64_t kv, group, d, pages, page_size, max_pages;
  std::vector<int> lengths;
  DType type = f32;
  int64_t window = 0;
  double softcap = 0;
  bool narrow = false;  // 8-bit pages: u8, or
  std::vector<int> cu = {};
  int64_t more_tokens = 0;  // behind the last sequence
  bool floats = false;      // f8e4m3

  int64_t b() const { return static_cast<int64_t>(lengths.size()); }
  int64_t h() const { return kv * group; }
  int64_t tokens() const { return (cu.empty() ? b() : cu.back()) + more_tokens; }
  double scale() const { return 1 / std::sqrt(static_cast<double>(d)); }
  int64_t slots() const { return pages * page_size; }
  static Values times(Values x, double f) {
    for (double& e : x) e *= f;
    return x;
  }
  // Scores of spread about 3, so that the softmax is far from uniform.
  Values q() const { return times(random_values(tokens() * h() * d, 21), 4); }
  Values side(uint64_t key, double f) const {
    Values x = times(random_values(slots() * kv * d, key), f);
    for (double& e : x)
      if (narrow && !floats) e = 128 + std::floor(60 * e);
    for (double& e : x)
      if (floats) e = float_from_f8e4m3(f8e4m3_from_float(static_cast<float>(60 * e)));
    return x;
  }
  Values k() const { return side(22, 2); }
  Values v() const { return side(23, 1); }
  Values scales(uint64_t key) const {
    Values x = random_values(slots() * kv, key);
    for (double& e : x) e = (1.25 + e) / 64;
    return x;
  }
  // Pages in no order, some in several sequences; what no sequence uses names no page.
  Values table() const {
    Values out;
    for (int64_t i = 0; i < b(); ++i)
      for (int64_t p = 0; p < max_pages; ++p) {
        bool used = p * page_size < lengths[i];
        out.push_back(used ? static_cast<double>((7 * p + 3 * (i / 2) + 1) % pages) : -5);
      }
    return out;
  }
};

Values naive(const Case& c) {
  Values q = c.q(), k = c.k(), v = c.v(), table = c.table(), o(q.size());
  Values ks = c.scales(24), vs = c.scales(25);
  for (int64_t i = 0; i < c.b(); ++i) {
    int64_t first = c.cu.empty() ? i : c.cu[i], last = c.cu.empty() ? i + 1 : c.cu[i + 1];
    for (int64_t t = first; t < last; ++t)
      for (int64_t head = 0; head < c.h(); ++head) {
        int64_t end = c.lengths[i] - last + t + 1, at = (t * c.h() + head) * c.d;
        int64_t begin = c.window ? std::max<int64_t>(0, end - c.window) : 0;
        Values weight;
        auto row = [&](int64_t j) {
          auto page = static_cast<int64_t>(table[i * c.max_pages + j / c.page_size]);
          return (page * c.page_size + j % c.page_size) * c.kv + head / c.group;
        };
        auto value = [&](const Values& x, const Values& s, int64_t r, int64_t e) {
          return c.narrow ? (x[r * c.d + e] - (c.floats ? 0 : 128)) * s[r] : x[r * c.d + e];
        };
        for (int64_t j = begin; j < end; ++j) {
          double s = 0;
          for (int64_t e = 0; e < c.d; ++e) s += q[at + e] * value(k, ks, row(j), e);
          s *= c.scale();
          weight.push_back(std::exp(c.softcap ? c.softcap * std::tanh(s / c.softcap) : s));
        }
        double total = std::accumulate(weight.begin(), weight.end(), 0.0);
        for (int64_t j = begin; j < end; ++j)
          for (int64_t e = 0; e < c.d; ++e)
            o[at + e] += weight[j - begin] / total * value(v, vs, row(j), e);
      }
  }
  return o;
}

CpuCall call_of(const Case& c) {
  CpuCall call("paged_attention");
  DType page = !c.narrow ? c.type : c.floats ? f8e4m3 : u8;
  call.operand(c.q(), c.type).operand(c.k(), page).operand(c.v(), page);
  call.operand(c.table(), i32).operand({c.lengths.begin(), c.lengths.end()}, i32);
  call.operand(Values(c.q().size(), std::nan("")), c.type);
  if (!c.cu.empty()) call.operand({c.cu.begin(), c.cu.end()}, i32);
  if (c.narrow) call.operand(c.scales(24), f32).operand(c.scales(25), f32);
  call.attr("tokens", c.tokens()).attr("b", c.b()).attr("h", c.h()).attr("kv", c.kv);
  call.attr("d", c.d).attr("pages", c.pages).attr("page_size", c.page_size);
  call.attr("max_pages", c.max_pages).attr("window", c.window);
  call.attr("cu_q", c.cu.empty() ? 0 : 1).attr("scale", c.scale()).attr("softcap", c.softcap);
  call.attr("type", name_of(c.type).data()).attr("page_type", name_of(page).data());
  return call;
}

// Largest |got - want| relative to the largest |want|.
double distance(const Values& got, const Values& want) {
  double worst = 0, size = 1e-3;
  for (size_t i = 0; i < want.size(); ++i) {
    size = std::max(size, std::abs(want[i]));
    double error = std::abs(got[i] - want[i]);
    worst = std::max(worst, std::isnan(error) ? 1e9 : error);
  }
  return worst / size;
}

const std::vector<Case> kCases = {
    {1, 1, 1, 1, 1, 1, {1}},
    {2, 1, 64, 40, 1, 40, {40, 0, 1, 17}},  // a token a page
    {2, 4, 64, 9, 16, 8, {1, 15, 16, 17, 100, 128}},
    {1, 5, 80, 9, 16, 8, {16, 33}},
    {2, 8, 128, 5, 64, 5, {300, 64, 65}},
    {1, 4, 128, 70, 16, 140, {2200, 1500}},  // parts of the keys
    {1, 1, 20, 30, 16, 140, {2200}},
    {1, 70, 16, 9, 3, 9, {27, 5}},  // more heads than a tile has rows
    {2, 2, 64, 20, 16, 20, {300, 130, 7}, f32, 40},
    {1, 4, 64, 20, 16, 140, {2200, 3}, f32, 1500, 3.0},
    {2, 2, 32, 9, 16, 8, {100, 5}, f32, 1, 15.0},
    {2, 4, 64, 9, 16, 8, {100, 128, 0}, f32, 0, 0, true},
    {1, 5, 80, 40, 16, 140, {2200, 77}, f32, 0, 2.0, true},
    // Chunks: of different lengths, none, more tokens than are cached, tokens of no sequence.
    {2, 4, 64, 9, 16, 8, {100, 50, 128, 2}, f32, 0, 0, false, {0, 30, 30, 100, 105}, 3},
    {1, 2, 16, 9, 16, 8, {100, 90}, f32, 7, 5.0, false, {0, 60, 120}},
    {1, 1, 24, 70, 16, 140, {2200}, f32, 0, 0, true, {0, 33}},
    {2, 2, 8, 3, 4, 2, {0, 8}, f32, 0, 0, false, {0, 0, 0}, 2},
};

}  // namespace

TEST_CASE("paged attention equals the naive version; threads change no bit") {
  std::vector<Case> cases = kCases;
  for (Case c : kCases)
    if (c.narrow) c.floats = true, cases.push_back(c);
  for (Case c : cases)
    for (DType type : {f32, bf16, f16}) {
      c.type = type;
      CAPTURE(c.group);
      CAPTURE(c.d);
      CAPTURE(c.page_size);
      CAPTURE(c.window);
      CAPTURE(c.softcap);
      CAPTURE(c.narrow);
      CAPTURE(c.floats);
      CAPTURE(c.lengths[0]);
      CAPTURE(name_of(type));
      // f32: exp of arguments up to about 20 and sums of a few thousand terms. Others: the result
      // is rounded to 8 or 11 bits.
      double eps = type == f32 ? 1e-5 : type == bf16 ? 1.0 / 256 : 1.0 / 1024;
      CpuCall call = call_of(c);
      std::string two = call.run(2).bytes(5);
      CHECK(distance(call.values(5), naive(c)) < eps);
      CHECK(call.run(1).bytes(5) == two);
      CHECK(call.run(5).bytes(5) == two);
    }
}

TEST_CASE("paged attention: what is not a page, a length or a range of queries is refused") {
  auto error = [](Case c, const std::function<void(Case&)>& change) {
    change(c);
    try {
      call_of(c).run();
    } catch (const Error& e) {
      CHECK(e.kind() == ErrorKind::user);
      return std::string(e.what());
    }
    return std::string("none");
  };
  Case c{1, 2, 8, 3, 4, 2, {8, 5}};
  auto has = [](const std::string& text, const char* part) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  };
  has(error(c, [](Case& x) { x.lengths[1] = 9; }), "lengths[1] is 9; expected 0 to 8");
  has(error(c, [](Case& x) { x.lengths[0] = -1; }), "lengths[0] is -1; expected 0 to 8");
  has(error(c, [](Case& x) { x.cu = {0, 2, 1}, x.more_tokens = 4; }), "cu_q[2] is 1; expected");
  has(error(c, [](Case& x) { x.cu = {1, 2, 3}; }), "cu_q[0] is 1; expected");

  CpuCall bad("paged_attention");
  bad.operand(Values(16), f32).operand(Values(96), f32).operand(Values(96), f32);
  bad.operand({0, 1, 2, 3}, i32).operand({3, 5}, i32).operand(Values(16), f32);
  bad.attr("tokens", 2).attr("b", 2).attr("h", 1).attr("kv", 1).attr("d", 8).attr("pages", 3);
  bad.attr("page_size", 4).attr("max_pages", 2).attr("window", 0).attr("cu_q", 0);
  bad.attr("scale", 1.0).attr("softcap", 0.0).attr("type", "f32").attr("page_type", "f32");
  try {
    bad.run();
    FAIL("no error was thrown");
  } catch (const Error& e) {
    has(e.what(), "page_table[1, 1] is 3; expected 0 to 2, a page");
  }
  bad.attr("window", 1);  // of which key 4 alone is seen, on that page
  CHECK_THROWS_AS(bad.run(), Error);
  bad.attr("page_type", "b8");
  try {
    bad.run();
    FAIL("no error was thrown");
  } catch (const Error& e) {
    has(e.what(), "pages are of q's type, u8 or f8e4m3");
  }
}
