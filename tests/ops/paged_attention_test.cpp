// paged_attention() and append_kv() as the recorder and the oracle see them: pages in any order
// against plain attention over the same keys, 8-bit pages, chunks, what is refused with which line.
#include <cmath>

#include "fusec/ops/bounds.h"
#include "fusec/ops/composite.h"
#include "fusec/ops/grad.h"
#include "fusec/ops/oracle.h"
#include "refused.h"

using namespace fusec;
using namespace fusec::test;

namespace {

std::vector<double> wave(int64_t n, double step) {
  std::vector<double> out(n);
  for (int64_t i = 0; i < n; ++i) out[i] = std::sin(step * static_cast<double>(i * i % 997 + 1));
  return out;
}

// Five pages of 3 tokens, 2 key heads of 4 elements; two sequences of 3 pages at most.
struct Cache {
  Graph g;
  OracleFeeds feeds;
  Tensor k = leaf("k", {5, 3, 2, 4}, 0.7), v = leaf("v", {5, 3, 2, 4}, 0.3);
  Tensor table = numbers("table", {2, 3}, {4, 0, 3, 0, 2, 77});  // page 0 is in both
  Tensor lengths = numbers("lengths", {2}, {7, 4});

  Tensor leaf(const std::string& name, Shape shape, double step) {
    feeds[name] = wave(numel(shape), step);
    return g.input(name, shape);
  }
  Tensor numbers(const std::string& name, Shape shape, std::vector<double> values) {
    feeds[name] = std::move(values);
    return g.input(name, shape, i32);
  }
  std::vector<double> value(const Tensor& x) { return evaluate(g, feeds, {x})[0]; }
  // The keys (values) of a sequence in their order, [1, length, 2, 4].
  Tensor in_order(const Tensor& pages, std::vector<float> places, int64_t length) {
    Tensor page = g.constant(std::move(places), {3}, i32);
    Tensor rows = reshape(gather(pages, page), {9, 2, 4});
    return reshape(slice(rows, 0, 0, length), {1, length, 2, 4});
  }
};

void check_equal(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(std::fabs(got[i] - expected[i]) < 1e-12);
}

}  // namespace

TEST_CASE("paged_attention: one token a sequence is attention over its pages") {
  for (int64_t window : {0, 1, 3})
    for (double cap : {0.0, 2.0}) {
      Cache c;
      Tensor q = c.leaf("q", {2, 6, 4}, 0.9);
      std::vector<double> got = c.value(
          paged_attention(q, c.k, c.v, c.table, c.lengths, {.softcap = cap, .window = window}));
      AttentionOptions o{.softcap = cap, .window = window};
      Tensor first = attention(reshape(slice(q, 0, 0, 1), {1, 1, 6, 4}),
                               c.in_order(c.k, {4, 0, 3}, 7), c.in_order(c.v, {4, 0, 3}, 7), o);
      Tensor second = attention(reshape(slice(q, 0, 1, 1), {1, 1, 6, 4}),
                                c.in_order(c.k, {0, 2, 0}, 4), c.in_order(c.v, {0, 2, 0}, 4), o);
      check_equal(got, c.value(concat({reshape(first, {6, 4}), reshape(second, {6, 4})}, 0)));
    }
}

TEST_CASE("paged_attention: chunks of several tokens, none, and tokens of no sequence") {
  Cache c;
  Tensor q = c.leaf("q", {5, 2, 4}, 0.9);
  auto with = [&](const char* name, std::vector<double> cu) {
    PagedAttentionOptions o{.window = 4};
    o.cu_q = c.numbers(name, {3}, std::move(cu));
    return c.value(paged_attention(q, c.k, c.v, c.table, c.lengths, o));
  };
  Tensor three = attention(reshape(slice(q, 0, 0, 3), {1, 3, 2, 4}), c.in_order(c.k, {4, 0, 3}, 7),
                           c.in_order(c.v, {4, 0, 3}, 7), {.window = 4});
  std::vector<double> expected = c.value(three), got = with("cu", {0, 3, 3});
  expected.resize(40, 0.0);
  check_equal(got, expected);
  // More tokens than the sequence has: the first stand before its start and see nothing.
  got = with("cu2", {0, 0, 5});
  for (int i = 0; i < 8; ++i) CHECK(got[i] == 0);
  CHECK(got[8] != 0);
  // With a length of 0, too; pages of no use may be any number.
  c.feeds["lengths"] = {0, 0};
  c.feeds["table"] = {-9, -9, -9, -9, -9, -9};
  check_equal(with("cu3", {0, 2, 5}), std::vector<double>(40, 0.0));
}

TEST_CASE("paged_attention: 8-bit pages are their elements minus 128, times a scale") {
  Cache c;
  Tensor q = c.leaf("q", {2, 2, 4}, 0.9), e = c.g.input("e", {5, 3, 2, 4}, u8);
  for (int i = 0; i < 120; ++i) c.feeds["e"].push_back(i * 7 % 256);
  Tensor ks = c.leaf("ks", {5, 3, 2}, 0.2), vs = c.leaf("vs", {5, 3, 2}, 0.4);
  for (const char* name : {"ks", "vs"})
    for (double& x : c.feeds[name]) x *= 0.01;  // elements of about 1
  auto wide = [&](const Tensor& s) { return (cast(e, f32) - 128.0) * unsqueeze(s, -1); };
  Tensor got = paged_attention(q, e, e, c.table, c.lengths, {.k_scale = ks, .v_scale = vs});
  Tensor expected = paged_attention(q, wide(ks), wide(vs), c.table, c.lengths);
  check_equal(c.value(got), c.value(expected));
  BoundedFeeds feeds;
  for (const auto& [name, values] : c.feeds) feeds[name] = exactly(values);
  std::vector<BoundedData> bounds = evaluate_bounded(c.g, feeds, {got, expected});
  for (size_t i = 0; i < bounds[0].value.size(); ++i) {
    CHECK(bounds[0].error[i] < 1e-3);
    CHECK(std::fabs(bounds[0].value[i] - bounds[1].value[i]) <=
          bounds[0].error[i] + bounds[1].error[i]);
  }
}

TEST_CASE("paged_attention: pages of f8e4m3 are their elements times a scale") {
  Cache c;
  Tensor q = c.leaf("q", {2, 2, 4}, 0.9), e = c.g.input("e", {5, 3, 2, 4}, f8e4m3);
  for (int i = 0; i < 120; ++i)
    c.feeds["e"].push_back(float_from_f8e4m3(static_cast<uint8_t>(i * 7 % 127 + i % 2 * 128)));
  Tensor ks = c.leaf("ks", {5, 3, 2}, 0.2), vs = c.leaf("vs", {5, 3, 2}, 0.4);
  for (const char* name : {"ks", "vs"})
    for (double& x : c.feeds[name]) x *= 0.01;
  auto wide = [&](const Tensor& s) { return cast(e, f32) * unsqueeze(s, -1); };
  Tensor got = paged_attention(q, e, e, c.table, c.lengths, {.k_scale = ks, .v_scale = vs});
  Tensor expected = paged_attention(q, wide(ks), wide(vs), c.table, c.lengths);
  check_equal(c.value(got), c.value(expected));
}

TEST_CASE("paged_attention: bounds of 8-bit pages beside 16-bit q hold what f16 loses") {
  // q's second element and the second value hide behind first ones that are larger by 2^40.
  Graph g;
  Tensor q = g.input("q", {1, 1, 2}, bf16), k = g.input("k", {1, 2, 1, 2}, f8e4m3);
  Tensor v = g.input("v", {1, 2, 1, 2}, f8e4m3), scale = g.input("s", {1, 2, 1});
  Tensor o = paged_attention(q, k, v, g.input("table", {1, 1}, i32), g.input("lengths", {1}, i32),
                             {.scale = 1, .k_scale = scale, .v_scale = scale});
  BoundedFeeds feeds = {{"q", exactly({0x1p30, 0x1p-12})}, {"k", exactly({0, 1, 0, 2})},
                        {"v", exactly({0, 1, 1, 0})},      {"s", exactly({1, 1})},
                        {"table", exactly({0})},           {"lengths", exactly({2})}};
  BoundedData y = evaluate_bounded(g, feeds, {o})[0];
  double lost = 0x1p30 * 0x1p-40;  // of q: a score is off by up to 3 of these
  for (double e : y.error) CHECK((e > lost / 4 && e < 16 * lost));
  feeds["q"] = exactly({1, 0x1p-12});
  y = evaluate_bounded(g, feeds, {o})[0];
  for (double e : y.error) CHECK(e < 0x1p-7);
}

TEST_CASE("append_kv writes rows of the pages, and reading them gives what was written") {
  Cache c;
  Tensor k = c.leaf("kn", {3, 2, 4}, 0.1), v = c.leaf("vn", {3, 2, 4}, 0.6);
  Tensor at = c.numbers("at", {3}, {7, 4, -1}), of = c.numbers("of", {3}, {0, 1, 1});
  Tensor rows = paged_rows(at, c.table, 3, of);
  check_equal(c.value(rows), {3 * 3 + 1, 2 * 3 + 1, -1});
  PagedKv now = append_kv(k, v, {c.k, c.v}, rows);
  std::vector<double> pages = c.feeds["k"], got = c.value(now.k);
  for (int i = 0; i < 8; ++i) {
    pages[10 * 8 + i] = c.feeds["kn"][i];
    pages[7 * 8 + i] = c.feeds["kn"][8 + i];
  }
  check_equal(got, pages);

  PagedKv narrow{c.g.input("e", {5, 3, 2, 4}, u8), c.g.input("f", {5, 3, 2, 4}, u8),
                 c.leaf("ks", {5, 3, 2}, 0.2), c.leaf("vs", {5, 3, 2}, 0.2)};
  c.feeds["e"] = c.feeds["f"] = std::vector<double>(120, 128);
  for (int i = 0; i < 4; ++i) c.feeds["kn"][i] = 0;  // a head of zeros
  PagedKv after = append_kv(k, v, narrow, rows);
  std::vector<double> e = c.value(after.k), scale = c.value(after.k_scale);
  for (int i = 0; i < 16; ++i) {
    int row = i < 8 ? 10 : 7, at_page = row * 8 + i % 8;
    double s = scale[at_page / 4], found = (e[at_page] - 128) * s;
    CHECK(std::fabs(found - c.feeds["kn"][i]) <= 0.501 * s);
  }
  CHECK(e[0] == 128);

  narrow.k = c.g.input("e8", {5, 3, 2, 4}, f8e4m3);
  narrow.v = c.g.input("f8", {5, 3, 2, 4}, f8e4m3);
  c.feeds["e8"] = c.feeds["f8"] = std::vector<double>(120, 1.5);
  after = append_kv(k, v, narrow, rows);
  e = c.value(after.k), scale = c.value(after.k_scale);
  for (int i = 0; i < 16; ++i) {
    int row = i < 8 ? 10 : 7, at_page = row * 8 + i % 8;
    double s = scale[at_page / 4], found = e[at_page] * s, wanted = c.feeds["kn"][i];
    CHECK(std::fabs(found - wanted) <= std::fabs(wanted) * 0x1.01p-4 + 0x1p-10 * s);
  }
  CHECK(e[0] == 1.5);

  // Elements so small that their scale would be 0 are zeros, not 0 / 0.
  c.feeds["kn"].assign(c.feeds["kn"].size(), 0);
  c.feeds["kn"][1] = 0x1p-143;
  for (double x : c.value(append_kv(k, v, narrow, rows).k)) CHECK(std::isfinite(x));
}

TEST_CASE("paged_attention: what is refused") {
  Cache c;
  Tensor q = c.leaf("q", {2, 6, 4}, 0.9), long_q = c.leaf("lq", {3, 6, 4}, 0.9);
  Tensor e = c.g.input("e", {5, 3, 2, 4}, u8), s = c.leaf("s", {5, 3, 1}, 1);
  CHECK_ERROR(paged_attention(q, c.k, c.v, c.lengths, c.lengths), "page_table i32[B, max_pages]");
  CHECK_ERROR(paged_attention(q, c.k, e, c.table, c.lengths), "k_pages and v_pages");
  CHECK_ERROR(paged_attention(q, e, e, c.table, c.lengths), "or f8e4m3 with k_scale and v_scale");
  CHECK_ERROR(paged_attention(q, e, e, c.table, c.lengths, {.k_scale = s}), "both k_scale");
  CHECK_ERROR(paged_attention(q, e, e, c.table, c.lengths, {.k_scale = s, .v_scale = s}),
              "k_scale and v_scale f32[5, 3, 2]");
  CHECK_ERROR(paged_attention(q, c.k, c.v, c.table, c.table), "lengths i32[2]");
  CHECK_ERROR(paged_attention(long_q, c.k, c.v, c.table, c.lengths), "a query token a sequence");
  CHECK_ERROR(paged_attention(long_q, c.k, c.v, c.table, c.lengths, {.cu_q = c.lengths}),
              "cu_q i32[3]");
  CHECK_ERROR(paged_attention(q, c.k, c.v, c.table, c.lengths, {.window = -1}), "window > 0");
  const uint32_t line = __LINE__ + 1;
  Tensor o = paged_attention(q, c.k, c.v, c.table, c.lengths);
  CHECK(error_of([&] { grad(sum(o), {q}); }, __FILE__, line)
            .find("paged_attention has no gradient") != std::string::npos);
  auto fed = [&](const char* name, std::vector<double> values) {
    std::vector<double> before = c.feeds[name];
    c.feeds[name] = std::move(values);
    std::string text = error_of([&] { c.value(o); }, __FILE__, line);
    c.feeds[name] = before;
    return text;
  };
  CHECK(fed("lengths", {10, 4}).find("lengths[0] is 10; expected 0 to 9") != std::string::npos);
  CHECK(fed("lengths", {-1, 4}).find("lengths[0] is -1") != std::string::npos);
  CHECK(fed("lengths", {7, 7}).find("page_table[1, 2] is 77; expected 0 to 4") !=
        std::string::npos);
  CHECK_ERROR(append_kv(q, q, {e, e}, c.lengths), "with scales if they are u8");
  CHECK_ERROR(paged_rows(c.table, c.table, 3), "positions i32 [tokens]");
}
