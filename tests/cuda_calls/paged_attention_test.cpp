// paged_attention: the CUDA texts, run on the host thread by thread, against formulas in double.
// The bounds follow from what a kernel may round: weights to the stored type before the second
// product (times the value's scale, for 8-bit pages), the result to the stored type, all else in
// f32; and what f16 loses of q and of weights beside 8-bit pages (ops.h).
#include <doctest/doctest.h>

#include <cmath>

#include "fusec/base/error.h"
#include "operands.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Case {
  PagedShape shape;
  std::vector<int> lengths;
  std::vector<int> cu = {};
  double q_times = 1;     // the scales of keys are divided by it
  bool v_spread = false;  // scales of values from 2^-30 to 2^30

  // Pages in no order, some in several sequences; what no sequence uses names no page.
  Values table() const {
    Values out;
    for (int64_t i = 0; i < shape.b; ++i)
      for (int64_t p = 0; p < shape.max_pages; ++p)
        out.push_back(p * shape.page_size < lengths[i]
                          ? static_cast<double>((7 * p + 3 * (i / 2) + 1) % shape.pages)
                          : -5);
    return out;
  }
};

double stored_roundoff(DType t) { return t == bf16 ? 0x1p-8 : t == f16 ? 0x1p-11 : 0x1p-24; }

std::vector<Operand> operands_of(const Case& c) {
  const PagedShape& x = c.shape;
  int64_t slots = x.pages * x.page_size, n = x.tokens * x.h * x.d;
  // Scores of spread about 3, so that the softmax is far from uniform.
  Values q = random_values(n, 11), k = random_values(slots * x.kv * x.d, 12);
  Values v = random_values(slots * x.kv * x.d, 13), ks = random_values(slots * x.kv, 14), vs = ks;
  for (double& e : q) e *= 4 * c.q_times;
  auto held = [&](double e, double otherwise) {
    if (!x.narrow) return otherwise;
    if (!x.floats) return std::floor(128 + 127 * e);
    return static_cast<double>(float_from_f8e4m3(f8e4m3_from_float(static_cast<float>(127 * e))));
  };
  for (double& e : k) e = held(e, 2 * e);
  for (double& e : v) e = held(e, e);
  for (double& e : ks) e = (1.25 + e) / 80 / c.q_times;
  for (size_t i = 0; i < vs.size(); ++i)
    vs[i] = (1.5 + vs[i]) / 128 * (c.v_spread ? std::exp2(i % 61 - 30.0) : 1);
  std::vector<Operand> out = {{q, x.type},
                              {k, x.page_type()},
                              {v, x.page_type()},
                              {c.table(), i32},
                              {Values(c.lengths.begin(), c.lengths.end()), i32},
                              {Values(n, NAN), x.type}};
  if (x.cu_q) out.push_back({Values(c.cu.begin(), c.cu.end()), i32});
  if (x.narrow) out.push_back({ks, f32}), out.push_back({vs, f32});
  return out;
}

// o and how far it may be off.
std::pair<Values, Values> formulas(const Case& c, const std::vector<Operand>& in) {
  const PagedShape& x = c.shape;
  const Values &q = in[0].values, &k = in[1].values, &v = in[2].values, &table = in[3].values;
  Values o(q.size()), bound(q.size());
  double scale = static_cast<float>(1 / std::sqrt(static_cast<double>(x.d)));
  double u = 0x1p-24, stored = x.type == f32 ? 0 : stored_roundoff(x.type);
  const double zero = x.floats ? 0 : 128;
  const bool halves = x.narrow && x.type != f32;
  for (int64_t i = 0; i < x.b; ++i) {
    int64_t first = x.cu_q ? c.cu[i] : i, last = x.cu_q ? c.cu[i + 1] : i + 1;
    for (int64_t t = first; t < last; ++t)
      for (int64_t head = 0; head < x.h; ++head) {
        int64_t end = c.lengths[i] - last + t + 1, at = (t * x.h + head) * x.d;
        int64_t begin = x.window ? std::max<int64_t>(0, end - x.window) : 0;
        auto row = [&](int64_t j) {
          auto page = static_cast<int64_t>(table[i * x.max_pages + j / x.page_size]);
          return (page * x.page_size + j % x.page_size) * x.kv + head / (x.h / x.kv);
        };
        auto value = [&](const Values& pages, size_t scales, int64_t r, int64_t e) {
          double y = pages[r * x.d + e];
          return x.narrow ? (y - zero) * static_cast<float>(in[scales].values[r]) : y;
        };
        size_t ks = in.size() - 2, vs = in.size() - 1;
        double lost = 0, largest = 0;  // of an element of q; scale of a value
        for (int64_t e = 0; halves && e < x.d; ++e)
          lost = std::max(lost, 0x1p-40 * std::fabs(q[at + e]));
        for (int64_t j = 0; halves && j < c.lengths[i]; ++j)
          largest = std::max(largest, std::fabs(in[vs].values[row(j)]));
        Values score;
        double total = 0, size = 0, top = 0;
        for (int64_t j = begin; j < end; ++j) {
          double s = 0, products = 0;
          for (int64_t e = 0; e < x.d; ++e) {
            double term = q[at + e] * value(k, ks, row(j), e) * scale;
            s += term;
            products += std::fabs(term);
            products += lost / u * std::fabs(value(k, ks, row(j), e)) * scale;
          }
          if (x.softcap) s = x.softcap * std::tanh(s / x.softcap);
          score.push_back(s);
          total += std::exp(s);
          top = std::max(top, std::fabs(s)), size = std::max(size, products);
        }
        // Of a weight: its score (d products, scale, the cap's tanh), the maximum, exp2, the sum.
        double weight = u * ((static_cast<double>(x.d) + 8) * size + 8 * x.softcap + 4 * top + 80);
        for (int64_t j = begin; j < end; ++j)
          for (int64_t e = 0; e < x.d; ++e) {
            double term = std::exp(score[j - begin]) / total * value(v, vs, row(j), e);
            o[at + e] += term;
            if (halves) bound[at + e] += 0x1p-38 * largest * std::fabs(v[row(j) * x.d + e] - zero);
            bound[at + e] += std::fabs(term) *
                             (stored + 2 * weight + u * (static_cast<double>(end - begin) + 16));
          }
      }
  }
  double least = x.type == f16 ? 0x1p-25 : 1e-30;
  for (size_t i = 0; i < o.size(); ++i)
    bound[i] += stored_roundoff(x.type) * (std::fabs(o[i]) + bound[i]) + least;
  return {o, bound};
}

std::string form_of(const LibraryCall& call, const cuda::CallTarget& target = {}) {
  std::string text = cuda::launches_of(call, target)[0].text;
  return text.substr(0, text.find('\n'));
}

void check(const std::vector<Case>& cases, const char* form) {
  Checks checks;
  for (const Case& c : cases)
    checks.add({{c.shape.call()}}, [c, form] {
      const PagedShape& x = c.shape;
      INFO("h " << x.h << " kv " << x.kv << " d " << x.d << " page_size " << x.page_size << " type "
                << std::string(name_of(x.type)) << " pages " << std::string(name_of(x.page_type()))
                << " window " << x.window << " softcap " << x.softcap << " length " << c.lengths[0]
                << " cu " << x.cu_q);
      CHECK(form_of(x.call()).find(form) != std::string::npos);
      std::vector<Operand> in = operands_of(c);
      auto [o, bound] = formulas(c, in);
      check_within(run_text(x.call(), in)[5], o, bound, "o");
    });
  checks.run();
}

// kv, group, d, pages, page_size, max_pages; a token a sequence.
Case decode(int64_t kv, int64_t group, int64_t d, int64_t pages, int64_t page_size,
            int64_t max_pages, std::vector<int> lengths, DType type = bf16, bool narrow = false,
            int64_t window = 0, double softcap = 0) {
  auto b = static_cast<int64_t>(lengths.size());
  return {{b, b, kv * group, kv, d, pages, page_size, max_pages, window, softcap, type, narrow},
          std::move(lengths)};
}

Case f8(Case c) {
  c.shape.floats = true;
  return c;
}

Case sized(Case c, double q_times, bool v_spread) {
  c.q_times = q_times, c.v_spread = v_spread;
  return c;
}

Case chunks(Case c, std::vector<int> cu, int64_t more_tokens = 0) {
  c.shape.tokens = cu.back() + more_tokens;
  c.shape.cu_q = true;
  c.cu = std::move(cu);
  return c;
}

}  // namespace

TEST_CASE("tensor cores: ratios of heads, page sizes, lengths at their edges") {
  check({decode(2, 4, 64, 9, 16, 8, {1, 15, 16, 17, 100, 128}),
         decode(1, 1, 128, 300, 1, 300, {0, 290}), decode(1, 5, 80, 9, 16, 8, {16, 33}, f16),
         decode(2, 8, 128, 5, 64, 5, {300, 65}),
         decode(1, 20, 16, 9, 3, 9, {27, 5}),    // two tiles of 16 rows in one
         decode(1, 33, 32, 9, 3, 9, {27}, f16),  // two tiles
         decode(1, 2, 256, 9, 16, 8, {100}),
         decode(1, 4, 64, 9, 16, 80, {1280, 700})},  // parts of the keys
        "mma.sync");
}

TEST_CASE("tensor cores: windows, softcap, 8-bit pages") {
  check({decode(2, 2, 64, 20, 16, 20, {300, 130, 7}, bf16, false, 40),
         decode(1, 4, 64, 20, 16, 80, {1280, 3}, f16, false, 600, 3),
         decode(2, 4, 64, 9, 16, 8, {100, 128, 0}, bf16, true),
         decode(1, 1, 128, 40, 1, 300, {290, 77}, bf16, true, 100, 2),
         decode(1, 8, 96, 9, 16, 80, {1280, 30}, bf16, true)},
        "mma.sync");
}

TEST_CASE("tensor cores: pages of f8e4m3; 8-bit pages beside f16") {
  check({f8(decode(2, 4, 64, 9, 16, 8, {100, 128, 0}, bf16, true)),
         f8(decode(1, 1, 128, 40, 1, 300, {290, 77}, bf16, true, 100, 2)),
         f8(decode(1, 8, 96, 9, 16, 80, {1280, 30}, f16, true)),
         f8(decode(1, 2, 256, 9, 5, 9, {44, 1}, f16, true)),
         f8(chunks(decode(1, 3, 32, 30, 16, 70, {1100}, bf16, true), {0, 33})),
         decode(2, 4, 64, 9, 16, 8, {100, 128, 0}, f16, true),
         decode(1, 3, 160, 20, 16, 20, {300}, f16, true, 40, 4)},
        "mma.sync");
}

TEST_CASE("tensor cores: large and small q, and scales of values from 2^-30 to 2^30") {
  std::vector<Case> cases;
  for (double q : {0x1p100, 0x1p27, 0x1p-60, 0x1p-124})
    for (bool floats : {false, true}) {
      Case c = sized(decode(1, 4, 32, 9, 16, 80, {1280, 33}, bf16, true), q, q > 1);
      cases.push_back(floats ? f8(c) : c);
    }
  check(cases, "mma.sync");
}

TEST_CASE("parts of the keys: ratios of heads from 1 to 8, lengths from 0, every kind of page") {
  std::vector<Case> cases;
  for (int64_t group = 1; group <= 8; ++group)
    for (int kind = 0; kind < 4; ++kind) {
      const int64_t page_size = int64_t{1} << ((group + kind) % 6);
      Case c = decode(group % 2 + 1, group, kind % 2 ? 32 : 64, 1100 / page_size, page_size,
                      1100 / page_size, {0, 1, 77 + static_cast<int>(group), 1024},
                      kind == 1 ? f16 : bf16, kind > 1);
      cases.push_back(kind == 3 ? f8(c) : c);
    }
  check(cases, "mma.sync");
}

TEST_CASE("many parts of many rows are joined by a kernel of its own, few by the last block") {
  auto launches = [](const Case& c) { return cuda::launches_of(c.shape.call(), {}).size(); };
  Case many = decode(1, 16, 256, 40, 16, 300, {600, 3}), few = decode(1, 4, 64, 90, 16, 90, {1200});
  CHECK(launches(many) == 2);
  CHECK(launches(few) == 1);
  CHECK(cuda::call_counters(few.shape.call(), {}) == 1);
  CHECK(cuda::call_counters(many.shape.call(), {}) == 0);
  check({many, few, f8(decode(1, 32, 128, 40, 16, 600, {500}, bf16, true)),
         chunks(decode(1, 16, 64, 40, 16, 60, {600, 20}), {0, 2, 5}, 2)},
        "mma.sync");
  check({decode(1, 3, 24, 90, 16, 90, {1200, 0}), decode(2, 1, 17, 90, 16, 90, {1000}, f32),
         f8(decode(1, 4, 40, 90, 16, 90, {1300}, bf16, true))},
        "any form");
}

TEST_CASE("tensor cores: chunks of several tokens, none, and tokens of no sequence") {
  check({chunks(decode(2, 4, 64, 9, 16, 8, {100, 50, 128, 2}), {0, 30, 30, 41, 46}, 3),
         chunks(decode(1, 2, 16, 9, 16, 8, {100, 90}, f16, false, 7, 5), {0, 60, 120}),
         chunks(decode(1, 3, 32, 30, 16, 70, {1100}, bf16, true), {0, 33}),
         chunks(decode(2, 2, 16, 3, 4, 2, {0, 8}), {0, 0, 0}, 2)},
        "mma.sync");
}

TEST_CASE("any form: types, head sizes, all options") {
  check({decode(2, 4, 20, 9, 16, 8, {1, 16, 100}, f32), decode(1, 1, 5, 9, 3, 8, {24, 0}, bf16),
         decode(1, 3, 64, 30, 16, 70, {1100, 20}, f32, false, 700, 3),
         decode(2, 2, 40, 9, 16, 8, {100, 128}, f16, true),
         decode(1, 5, 8, 9, 16, 8, {100}, f32, true, 9),
         f8(decode(1, 5, 8, 9, 16, 8, {100}, f32, true, 9)),
         f8(decode(2, 2, 40, 9, 16, 8, {100, 128}, f16, true)),
         chunks(decode(1, 4, 24, 9, 16, 8, {100, 2}, f32), {0, 30, 35}, 2)},
        "any form");
}

TEST_CASE("the form follows from type, head size and alignment; parts from shapes alone") {
  PagedShape x = decode(8, 4, 128, 100, 16, 2048, {1}).shape;
  auto form = [](const PagedShape& s) {
    return form_of(s.call()).find("mma") != std::string::npos;
  };
  CHECK(form(x));
  PagedShape narrow = x, narrow_f16 = x, odd = x, single = x;
  narrow.narrow = narrow_f16.narrow = true, narrow_f16.type = f16, odd.d = 72, single.type = f32;
  CHECK(form(narrow));
  CHECK(form(narrow_f16));
  CHECK_FALSE(form(odd));
  CHECK_FALSE(form(single));
  PagedShape large = x;
  large.d = 256;
  CHECK(form(large));
  cuda::CallTarget consumer;
  consumer.major = 12, consumer.shared_per_block = 99 << 10;
  CHECK(form_of(large.call(), consumer).find("any form") != std::string::npos);
  CHECK(form_of(x.call(), consumer).find("mma.sync") != std::string::npos);
  LibraryCall off = x.call();
  off.args[1].byte_offset = 8;
  CHECK(form_of(off).find("any form") != std::string::npos);
  // 8 blocks of one sequence become 8 * 66: two rounds of two a multiprocessor.
  CHECK(cuda::launches_of(x.call(), {})[0].grid[0] == 8 * 66);
  CHECK(cuda::call_workspace(x.call(), {}) > 0);
  x.b = x.tokens = 64;
  CHECK(cuda::launches_of(x.call(), {})[0].grid[0] == 64 * 8);
  CHECK(cuda::call_workspace(x.call(), {}) == 0);  // one part writes what comes out
  x.b = x.tokens = 0;
  CHECK(cuda::launches_of(x.call(), {}).empty());
  LibraryCall truths = decode(1, 2, 8, 3, 4, 2, {8}).shape.call();
  truths.attrs["page_type"] = "b8";
  CHECK_THROWS_AS(cuda::launches_of(truths, {}), Error);
}

TEST_CASE("what is not a page, a length or a range of queries is reported") {
  for (int64_t d : {8, 32}) {
    Case c = decode(1, 2, d, 3, 4, 2, {8, 5});
    auto status = [](const Case& x, const std::function<void(std::vector<Operand>&)>& change) {
      std::vector<Operand> in = operands_of(x);
      change(in);
      cuda::Status s;
      run_text(x.shape.call(), in, &s);
      return s;
    };
    cuda::Status page = status(c, [](auto& in) { in[3].values = {0, 1, 2, 7}; });
    CHECK(page.error == 3);
    CHECK(page.index == 7);
    CHECK(page.bound == 3);
    CHECK(page.skip == 1);
    CHECK(status(c, [](auto& in) { in[3].values = {0, -1, 2, 1}; }).index == -1);
    // Entries that no key needs are not read.
    Case windowed = decode(1, 2, d, 3, 4, 2, {8, 3}, bf16, false, 2);
    CHECK(status(windowed, [](auto& in) { in[3].values = {-9, 1, 2, 99}; }).error == 0);
    cuda::Status length = status(c, [](auto& in) { in[4].values = {8, 9}; });
    CHECK(length.error == 4);
    CHECK(length.bound == 8);
    CHECK(status(c, [](auto& in) { in[4].values = {-1, 5}; }).error == 4);
    Case several = chunks(c, {0, 3, 5});
    for (const Values& cu : std::vector<Values>{{0, 4, 2}, {0, 2, 6}, {1, 2, 5}})
      CHECK(status(several, [&](auto& in) { in[6].values = cu; }).error == 5);
  }
}
