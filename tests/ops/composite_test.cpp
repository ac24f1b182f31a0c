// Composite ops: values against formulas written out here, gradients against finite differences.
#include <algorithm>

#include "fusec/ops/composite.h"
#include "fusec/ops/loss.h"
#include "fusec/ops/loss.h"
#include "fusec/ops/moe.h"
#include "fusec/ops/random.h"
#include "fusec/ops/views.h"
#include "gradcheck.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// Composites are a dozen double operations on values of order 1: 1e-12 is 1e4 roundings.
void close(const std::vector<double>& got, const std::vector<double>& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i)
    CHECK(std::fabs(got[i] - expected[i]) <= 1e-12 * (1 + std::fabs(expected[i])));
}

}  // namespace

TEST_CASE("softmax") {
  Bench b;
  Tensor x = b.leaf("x", {3, 5});
  Tensor y = softmax(x);
  std::vector<double> got = evaluate(b.graph, b.feeds, {y})[0], expected;
  for (int r = 0; r < 3; ++r) {
    double total = 0;
    for (int c = 0; c < 5; ++c) total += std::exp(b.feeds["x"][r * 5 + c]);
    for (int c = 0; c < 5; ++c) expected.push_back(std::exp(b.feeds["x"][r * 5 + c]) / total);
  }
  close(got, expected);
  b.check(y);
  b.check(softmax(x, 0));
}

TEST_CASE("softmax survives large logits") {
  Graph g;
  Tensor y = softmax(g.input("x", {3}));
  close(evaluate(g, {{"x", {1e4, 1e4, -1e4}}}, {y})[0], {0.5, 0.5, 0});
}

TEST_CASE("rms_norm and layer_norm") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 7}), w = b.leaf("w", {7}), bias = b.leaf("bias", {7});
  std::vector<Tensor> y = {rms_norm(x, 1e-6, w), layer_norm(x, w, bias)};
  auto got = evaluate(b.graph, b.feeds, y);
  std::vector<double> rms, layer;
  for (int r = 0; r < 6; ++r) {
    const double* row = &b.feeds["x"][r * 7];
    double squares = 0, mean = 0, variance = 0;
    for (int c = 0; c < 7; ++c) squares += row[c] * row[c] / 7, mean += row[c] / 7;
    for (int c = 0; c < 7; ++c) variance += (row[c] - mean) * (row[c] - mean) / 7;
    for (int c = 0; c < 7; ++c) {
      rms.push_back(row[c] / std::sqrt(squares + 1e-6) * b.feeds["w"][c]);
      layer.push_back((row[c] - mean) / std::sqrt(variance + 1e-5) * b.feeds["w"][c] +
                      b.feeds["bias"][c]);
    }
  }
  close(got[0], rms);
  close(got[1], layer);
  b.check(y[0] * y[1] + rms_norm(x));
}

TEST_CASE("softcap and swiglu") {
  Bench b;
  Tensor x = b.leaf("x", {3, 5}), up = b.leaf("up", {3, 5});
  auto got = evaluate(b.graph, b.feeds, {softcap(x, 1.5), swiglu(x, up)});
  std::vector<double> capped, gated;
  for (size_t i = 0; i < 15; ++i) {
    double v = b.feeds["x"][i];
    capped.push_back(1.5 * std::tanh(v / 1.5));
    gated.push_back(v / (1 + std::exp(-v)) * b.feeds["up"][i]);
  }
  close(got[0], capped);
  close(got[1], gated);
  b.check(softcap(x, 1.5) + swiglu(x, up));
}

TEST_CASE("cross_entropy: ignored targets cost nothing and get no gradient") {
  Bench b;
  Tensor z = b.leaf("z", {4, 5}, -3, 3);
  Tensor target = b.index("target", {4}, {2, -1, 0, 4});
  Tensor loss = cross_entropy(z, target);
  std::vector<double> got = evaluate(b.graph, b.feeds, {loss})[0], expected;
  for (int r = 0; r < 4; ++r) {
    double total = 0;
    for (int c = 0; c < 5; ++c) total += std::exp(b.feeds["z"][r * 5 + c]);
    int t = static_cast<int>(b.feeds["target"][r]);
    expected.push_back(t < 0 ? 0 : std::log(total) - b.feeds["z"][r * 5 + t]);
  }
  close(got, expected);
  b.check(loss);
  std::vector<double> d = evaluate(b.graph, b.feeds, grad(sum(loss), {z}))[0];
  CHECK(std::all_of(d.begin() + 5, d.begin() + 10, [](double v) { return v == 0; }));
}

TEST_CASE("rope rotates pairs (i, i + d/2) with Hugging Face's sign") {
  Bench b;
  Tensor x = b.leaf("x", {2, 3, 2, 4});
  Tensor cos = b.leaf("cos", {3, 2}), sin = b.leaf("sin", {3, 2});
  Tensor y = rope(x, cos, sin);
  std::vector<double> got = evaluate(b.graph, b.feeds, {y})[0], expected;
  for (int row = 0; row < 12; ++row)
    for (int c = 0; c < 4; ++c) {
      const double* v = &b.feeds["x"][row * 4];
      int t = row / 2 % 3, i = c % 2;
      double rotated = c < 2 ? -v[c + 2] : v[c - 2];
      expected.push_back(v[c] * b.feeds["cos"][t * 2 + i] + rotated * b.feeds["sin"][t * 2 + i]);
    }
  close(got, expected);
  b.check(y);
  Tensor per_batch = b.leaf("cos_b", {2, 3, 2});
  b.check(rope(x, per_batch, sin) + sum(cos));
}
