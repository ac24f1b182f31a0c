// The ops built from others and the ordered ones: values against formulas written out here,
// gradients against finite differences.
#include <algorithm>

#include "fusec/base/philox.h"
#include "fusec/ops/loss.h"
#include "fusec/ops/moe.h"
#include "fusec/ops/random.h"
#include "fusec/ops/views.h"
#include "gradcheck.h"

using namespace fusec;
using namespace fusec::test;

namespace {

using Values = std::vector<double>;

// A dozen double operations on values of order 1: 1e-12 is 1e4 roundings.
void close(const Values& got, const Values& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) {
    INFO("element " << i << ": " << got[i] << ", expected " << expected[i]);
    CHECK(std::fabs(got[i] - expected[i]) <= 1e-12 * (1 + std::fabs(expected[i])));
  }
}

Values value_of(Bench& b, const Tensor& t) { return evaluate(b.graph, b.feeds, {t})[0]; }

}  // namespace

TEST_CASE("any, all, argmax, argmin") {
  Bench b;
  Tensor x = b.leaf("x", {3, 4});
  b.feeds["x"] = {1, 5, 5, 2, -1, -3, -2, -3, 0, NAN, 7, NAN};
  close(value_of(b, argmax(x)), {1, 0, 1});
  close(value_of(b, argmin(x)), {0, 1, 1});
  close(value_of(b, argmax(x, 0, true)), {0, 2, 2, 2});
  close(value_of(b, any(x > 4.5, {1})), {1, 0, 1});
  close(value_of(b, all(x > -2.5, {0})), {1, 0, 1, 0});
  close(value_of(b, all(x < 100.0, {0, 1})), {0});
  Tensor empty = b.graph.input("empty", {0, 3}, b8);
  b.feeds["empty"] = {};
  close(value_of(b, any(empty, {0})), {0, 0, 0});
  close(value_of(b, all(empty, {0})), {1, 1, 1});
  CHECK_THROWS_AS(argmax(empty, 0), Error);
}

TEST_CASE("isnan, isfinite, logic, clamp, integer powers") {
  Bench b;
  Tensor x = b.leaf("x", {5});
  b.feeds["x"] = {NAN, INFINITY, -INFINITY, -3, 2};
  close(value_of(b, isnan(x)), {1, 0, 0, 0, 0});
  close(value_of(b, isfinite(x)), {0, 0, 0, 1, 1});
  close(value_of(b, logical_not(isfinite(x))), {1, 1, 1, 0, 0});
  close(value_of(b, logical_and(x > 0.0, isfinite(x))), {0, 0, 0, 0, 1});
  close(value_of(b, logical_or(x < 0.0, isnan(x))), {1, 0, 1, 1, 0});
  Tensor tail = slice(x, 0, -2, 2);
  close(value_of(b, clamp(tail, -1, 1.5)), {-1, 1.5});
  close(value_of(b, concat({pow(tail, 2), pow(tail, 3), pow(tail, -1), pow(tail, 1)}, 0)),
        {9, 4, -27, 8, -1.0 / 3, 0.5, -3, 2});
}

TEST_CASE("axes: a number, a list, or a vector; never a flag") {
  static_assert(!std::is_convertible_v<bool, Axes>);
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 4});
  std::vector<int64_t> both = {0, 2};
  CHECK(sum(x, 1).shape() == Shape{2, 4});
  CHECK(max(x, -1, true).shape() == Shape{2, 3, 1});
  CHECK(mean(x, {0, -1}).shape() == Shape{3});
  CHECK(min(x, both).shape() == Shape{3});
  CHECK(logsumexp(x, 2).shape() == Shape{2, 3});
  CHECK(sum(x, {}).shape() == x.shape());
  close(value_of(b, sum(x, 1)), value_of(b, sum(x, {1})));
}

TEST_CASE("logsumexp, log_softmax, variance") {
  Bench b;
  Tensor x = b.leaf("x", {3, 4});
  Values lse, logs, spread;
  for (int r = 0; r < 3; ++r) {
    double total = 0, mean = 0, squares = 0;
    const double* v = &b.feeds["x"][r * 4];
    for (int c = 0; c < 4; ++c) total += std::exp(v[c]), mean += v[c] / 4;
    for (int c = 0; c < 4; ++c) squares += (v[c] - mean) * (v[c] - mean) / 4;
    lse.push_back(std::log(total));
    spread.push_back(squares);
    for (int c = 0; c < 4; ++c) logs.push_back(v[c] - lse.back());
  }
  close(value_of(b, logsumexp(x, {1})), lse);
  close(value_of(b, log_softmax(x)), logs);
  close(value_of(b, variance(x, {-1}, true)), spread);
  b.check(log_softmax(x, 0) + logsumexp(x, {0, 1}) + variance(x, {0}));
  Graph g;
  Tensor low = logsumexp(g.input("x", {2, 2}), {1});
  Values got = evaluate(g, {{"x", {-INFINITY, -INFINITY, 1e4, 1e4}}}, {low})[0];
  CHECK(got[0] == -INFINITY);
  CHECK(std::fabs(got[1] - (1e4 + std::log(2.0))) < 1e-9);
}

TEST_CASE("squeeze, pick, split, stack, pad") {
  Bench b;
  Tensor x = b.leaf("x", {2, 1, 4});
  const Values& v = b.feeds["x"];
  close(value_of(b, squeeze(x, 1)), v);
  close(value_of(b, pick(x, -1, -1)), {v[3], v[7]});
  std::vector<Tensor> halves = split(x, 2, 2);
  close(value_of(b, stack({halves[1], halves[0]}, -1)),
        {v[2], v[0], v[3], v[1], v[6], v[4], v[7], v[5]});
  close(value_of(b, pad(squeeze(x, 1), 0, 1, 0, 9)),
        {9, 9, 9, 9, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]});
  b.check(stack({halves[1], halves[0]}, 0) + pick(x, 2, 0));
  b.check(pad(pad(x, 2, 1, 2), 1, 0, 1) * 2.0);
  CHECK_THROWS_AS(squeeze(x, 0), Error);
  CHECK_THROWS_AS(split(x, 3, 2), Error);
  CHECK_THROWS_AS(pad(x, 0, -1, 0), Error);
  CHECK_THROWS_AS(pick(x, 0, 2), Error);
}

TEST_CASE("take_along and one_hot") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 2});
  Tensor index = b.index("index", {2, 2, 2}, {2, 0, 1, -1, 0, 0, 2, 2});
  const Values& v = b.feeds["x"];
  close(value_of(b, take_along(x, index, 1)),
        {v[4], v[1], v[2], 0, v[6], v[7], v[10], v[11]});
  b.check(take_along(x, index, 1));
  Tensor last = b.index("last", {2, 3, 1}, {1, 0, 1, 1, 0, 0});
  close(value_of(b, take_along(x, last, -1)), {v[1], v[2], v[5], v[7], v[8], v[10]});
  Tensor label = b.index("label", {3}, {2, -1, 0});
  close(value_of(b, one_hot(label, 3)), {0, 0, 1, 0, 0, 0, 1, 0, 0});
  CHECK_THROWS_AS(take_along(x, label, 1), Error);
  CHECK_THROWS_AS(take_along(x, x, 1), Error);
}

TEST_CASE("cumsum both ways, along any axis") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 2});
  const Values& v = b.feeds["x"];
  close(value_of(b, cumsum(x, 1)),
        {v[0], v[1], v[0] + v[2], v[1] + v[3], v[0] + v[2] + v[4], v[1] + v[3] + v[5], v[6], v[7],
         v[6] + v[8], v[7] + v[9], v[6] + v[8] + v[10], v[7] + v[9] + v[11]});
  Values back = value_of(b, cumsum(x, -1, true));
  for (int i = 0; i < 12; i += 2) {
    CHECK(std::fabs(back[i] - v[i] - v[i + 1]) < 1e-12);
    CHECK(back[i + 1] == v[i + 1]);
  }
  b.check(cumsum(x, 0) * cumsum(x, 2, true));
  CHECK_THROWS_AS(cumsum(x, 3), Error);
  CHECK_THROWS_AS(cumsum(x > 0.0, 0), Error);
}

TEST_CASE("top_k: order, ties, NaN, gradient") {
  Bench b;
  Tensor x = b.leaf("x", {2, 5});
  b.feeds["x"] = {1, 3, 3, -1, 2, 0.5, NAN, 7, INFINITY, 0};
  TopK best = top_k(x, 3);
  close(value_of(b, best.indices), {1, 2, 4, 1, 3, 2});
  CHECK(value_of(b, best.values)[5] == 7);
  CHECK(std::isnan(value_of(b, best.values)[3]));
  b.feeds["x"] = {1, 3, 3.5, -1, 2, 0.5, 9, 7, 8, 0};
  b.check(top_k(x, 2).values);
  CHECK_THROWS_AS(top_k(x, 6), Error);
  CHECK_THROWS_AS(top_k(x, 0), Error);
}

TEST_CASE("conv2d: kernels, strides, padding, patches") {
  Bench b;
  Tensor x = b.leaf("x", {2, 2, 5, 4}), bias = b.leaf("bias", {3});
  auto direct = [&](const Values& w, int k, int stride, int padding) {
    Values out;
    int oh = (5 + 2 * padding - k) / stride + 1, ow = (4 + 2 * padding - k) / stride + 1;
    for (int n = 0; n < 2; ++n)
      for (int o = 0; o < 3; ++o)
        for (int r = 0; r < oh; ++r)
          for (int c = 0; c < ow; ++c) {
            double total = b.feeds["bias"][o];
            for (int ch = 0; ch < 2; ++ch)
              for (int i = 0; i < k; ++i)
                for (int j = 0; j < k; ++j) {
                  int y = r * stride + i - padding, z = c * stride + j - padding;
                  if (y < 0 || y >= 5 || z < 0 || z >= 4) continue;
                  total += b.feeds["x"][((n * 2 + ch) * 5 + y) * 4 + z] *
                           w[((o * 2 + ch) * k + i) * k + j];
                }
            out.push_back(total);
          }
    return out;
  };
  struct Row {
    int kernel, stride, padding;
  };
  for (Row r : {Row{3, 1, 1}, Row{3, 2, 0}, Row{2, 2, 0}, Row{1, 1, 0}, Row{2, 1, 2}}) {
    std::string name = "w" + std::to_string(r.kernel) + std::to_string(r.stride);
    Tensor w = b.leaf(name + std::to_string(r.padding), {3, 2, r.kernel, r.kernel});
    Tensor y = conv2d(x, w, bias, {.stride = r.stride, .padding = r.padding});
    close(value_of(b, y), direct(b.feeds[name + std::to_string(r.padding)], r.kernel, r.stride,
                                 r.padding));
    check_gradients(weighted_sum(y, b.draw), {x, w, bias}, b.feeds);
  }
  CHECK_THROWS_AS(conv2d(x, b.graph.input("big", {3, 2, 7, 7})), Error);
  CHECK_THROWS_AS(conv2d(x, b.graph.input("three", {3, 3, 2, 2})), Error);
}

TEST_CASE("mean_pool, cosine_similarity, geglu, relu_squared") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 4}), y = b.leaf("y", {2, 3, 4});
  const Values &u = b.feeds["x"], &v = b.feeds["y"];
  Tensor mask = b.graph.constant(std::vector<float>{1, 0, 1, 0, 0, 0}, {2, 3}) > 0.5;
  Values pooled, similar;
  for (int c = 0; c < 4; ++c) pooled.push_back((u[c] + u[8 + c]) / 2);
  pooled.resize(8, 0);
  close(value_of(b, mean_pool(x, mask)), pooled);
  for (int r = 0; r < 6; ++r) {
    double dot = 0, uu = 0, vv = 0;
    for (int c = 0; c < 4; ++c) {
      double p = u[r * 4 + c], q = v[r * 4 + c];
      dot += p * q, uu += p * p, vv += q * q;
    }
    similar.push_back(dot / std::sqrt(uu * vv));
  }
  close(value_of(b, cosine_similarity(x, y)), similar);
  b.check(cosine_similarity(x, y, 1) + sum(mean_pool(x, mask)) + sum(mean_pool(y)));
  b.check(geglu(x, y) + relu_squared(x));
  Tensor zero = b.graph.constant(0, {3});
  close(value_of(b, cosine_similarity(zero, zero)), {0});
}

TEST_CASE("interleaved rope turns neighbours") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 2, 4}), cos = b.leaf("cos", {3, 2}), sin = b.leaf("sin", {3, 2});
  Tensor y = rope(x, cos, sin, Rope::interleaved);
  Values got = value_of(b, y), expected;
  for (int row = 0; row < 12; ++row)
    for (int c = 0; c < 4; ++c) {
      const double* v = &b.feeds["x"][row * 4];
      int t = row / 2 % 3, i = c / 2;
      double other = c % 2 == 0 ? -v[c + 1] : v[c - 1];
      expected.push_back(v[c] * b.feeds["cos"][t * 2 + i] + other * b.feeds["sin"][t * 2 + i]);
    }
  close(got, expected);
  b.check(y);
}

TEST_CASE("cross_entropy: softcap, ignore_index, reductions") {
  Bench b;
  Tensor z = b.leaf("z", {2, 2, 5}, -3, 3);
  Tensor target = b.index("target", {2, 2}, {2, -1, 0, 4});
  Values each;
  for (int r = 0; r < 4; ++r) {
    double total = 0, mean = 0;
    auto capped = [&](int c) { return 2 * std::tanh(b.feeds["z"][r * 5 + c] / 2); };
    for (int c = 0; c < 5; ++c) total += std::exp(capped(c)), mean += capped(c) / 5;
    int t = static_cast<int>(b.feeds["target"][r]);
    bool ignored = t < 0 || t == 4;
    each.push_back(ignored ? 0 : std::log(total) - 0.9 * capped(t) - 0.1 * mean);
  }
  CrossEntropyOptions o{.softcap = 2, .smoothing = 0.1, .ignore_index = 4};
  close(value_of(b, cross_entropy(z, target, o)), each);
  o.reduction = Reduction::sum;
  close(value_of(b, cross_entropy(z, target, o)), {each[0] + each[2]});
  o.reduction = Reduction::mean;
  Tensor mean = cross_entropy(z, target, o);
  close(value_of(b, mean), {(each[0] + each[2]) / 2});
  check_gradients(mean, {z}, b.feeds);
  b.feeds["target"] = {-1, -1, 4, 4};
  close(value_of(b, mean), {0});
  CHECK_THROWS_AS(cross_entropy(z, b.index("wrong", {4}, {0, 0, 0, 0})), Error);
}

TEST_CASE("top-k router: weights, balance, gradients, dense experts") {
  Bench b;
  Tensor logits = b.leaf("logits", {3, 4}), x = b.leaf("x", {3, 2});
  b.feeds["logits"] = {1, 2, 0, -1, 0.5, 0.4, 0.3, 2, 3, 3.5, -2, 1};
  Routing route = top_k_router(logits, 2);
  Values weights = value_of(b, route.weights);
  double a = std::exp(1.0) / (std::exp(1.0) + std::exp(2.0));
  close(Values(weights.begin(), weights.begin() + 4), {a, 1 - a, 0, 0});
  close(value_of(b, sum(route.weights, {1})), {1, 1, 1});
  close(value_of(b, route.chosen), {1, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0});
  Tensor gate = b.leaf("gate", {4, 3, 2}), up = b.leaf("up", {4, 3, 2}),
         down = b.leaf("down", {4, 2, 3});
  Tensor y = moe_swiglu(x, route.weights, gate, up, down), expected;
  for (int64_t e = 0; e < 4; ++e) {
    Tensor one = swiglu_mlp(x, pick(gate, 0, e), pick(up, 0, e), pick(down, 0, e));
    Tensor part = one * slice(route.weights, 1, e, 1);
    expected = expected.defined() ? expected + part : part;
  }
  close(value_of(b, y), value_of(b, expected));
  b.check(y + route.balance);
  CHECK_THROWS_AS(top_k_router(logits, 5), Error);
}

TEST_CASE("random numbers: known words, independence, moments, steps") {
  // Known answers of Philox4x32-10 from Random123's kat_vectors.
  CHECK(philox(0, 0)[0] == 0x6627e8d5u);
  CHECK(philox(0xffffffffffffffffull, 0xffffffffffffffffull, 0xffffffffffffffffull)[0] ==
        0x408f276du);
  Graph g;
  Tensor key = step_key(g);
  Tensor words = random_words(key, {4}), u = uniform(key, {100, 200}), n = normal(key, {20000}),
         coin = bernoulli(key, {20000}, 0.25), again = uniform(key, {100, 200});
  Tensor dropped = dropout(g.constant(2, {20000}), 0.2, key);
  Oracle oracle(g);
  oracle.set("rng", {5});
  auto first = oracle.step({words, u, n, coin, again, dropped});
  for (int i = 0; i < 4; ++i) CHECK(first[0][i] == philox(5, i)[0]);
  auto mean = [](const Values& v) {
    double total = 0;
    for (double x : v) total += x;
    return total / static_cast<double>(v.size());
  };
  // Standard errors of 20000 draws: 0.002 (uniform), 0.007 (normal), 0.003 (coin); five of each.
  CHECK(std::fabs(mean(first[1]) - 0.5) < 0.01);
  CHECK(*std::min_element(first[1].begin(), first[1].end()) >= 0);
  CHECK(*std::max_element(first[1].begin(), first[1].end()) < 1);
  CHECK(std::fabs(mean(first[2])) < 0.035);
  Values squares = first[2];
  for (double& x : squares) x *= x;
  CHECK(std::fabs(mean(squares) - 1) < 0.05);
  CHECK(std::fabs(mean(first[3]) - 0.25) < 0.016);
  CHECK(first[1] != first[4]);  // another stream
  CHECK(std::fabs(mean(first[5]) - 2) < 0.04);
  CHECK(std::count(first[5].begin(), first[5].end(), 2.5) +
            std::count(first[5].begin(), first[5].end(), 0) == 20000);
  CHECK(oracle.get("rng")[0] == 6);
  CHECK(oracle.step({u})[0] != first[1]);  // the next step draws anew
  CHECK_THROWS_AS(uniform(g.input("float", {}), {3}), Error);
  CHECK_THROWS_AS(dropout(u, 1.0, key), Error);
}

TEST_CASE("dropout's gradient is its mask") {
  Graph g;
  Tensor key = g.input("key", {}, i64), x = g.input("x", {50});
  Tensor y = dropout(x, 0.4, key), dx = grad(sum(y), {x})[0];
  auto got = evaluate(g, {{"key", {3}}, {"x", Values(50, 1.0)}}, {y, dx});
  close(got[0], got[1]);
}

TEST_CASE("sampling follows the distribution and its limits") {
  Graph g;
  Tensor key = g.input("key", {}, i64), row = g.input("logits", {4});
  Tensor many = broadcast_to(row, {8000, 4});
  Tensor plain = sample(many, key), cold = sample(many, key, {.temperature = 0});
  Tensor two = sample(many, key, {.top_k = 2}), nucleus = sample(many, key, {.top_p = 0.75});
  Values p = {0.1, 0.5, 0.15, 0.25}, logits;
  for (double x : p) logits.push_back(std::log(x));
  auto got = evaluate(g, {{"key", {11}}, {"logits", logits}}, {plain, cold, two, nucleus});
  auto share = [&](int which, double token) {
    return static_cast<double>(std::count(got[which].begin(), got[which].end(), token)) / 8000;
  };
  // Standard error of a share is at most 0.0056; five of them.
  for (int t = 0; t < 4; ++t) CHECK(std::fabs(share(0, t) - p[t]) < 0.028);
  CHECK(share(1, 1) == 1);
  CHECK(std::fabs(share(2, 1) - 2.0 / 3) < 0.028);
  CHECK(share(2, 0) + share(2, 2) == 0);
  CHECK(std::fabs(share(3, 3) - 1.0 / 3) < 0.028);  // 0.5 alone is short of 0.75: two tokens
  CHECK(share(3, 0) + share(3, 2) == 0);
  CHECK_THROWS_AS(sample(many, key, {.top_p = 0}), Error);
}

TEST_CASE("ops inside a composite carry the line of its call") {
  Graph g;
  Tensor x = g.input("x", {2, 3});
  size_t before = g.nodes().size();
  uint32_t line = __LINE__ + 1;
  Tensor y = softmax(x);
  for (size_t i = before; i < g.nodes().size(); ++i) CHECK(g.nodes()[i].loc.line == line);
  try {
    line = __LINE__ + 1;
    rope(y, x, x);
    FAIL("expected an error");
  } catch (const Error& e) {
    CHECK(e.where().line == line);
  }
  Tensor after = x + 1.0;
  CHECK(g.node(after.value()).loc.line == __LINE__ - 1);
}
