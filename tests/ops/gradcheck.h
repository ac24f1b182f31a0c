// Checks recorded gradients against central finite differences, both evaluated by the oracle in
// double. Shared by the tests of this folder.
//
// Tolerance. With h = 1e-5 the truncation error is h^2 f''' / 6, about 2e-9 for the steepest rows
// of the table (f''' < 100), and the rounding error is 2e-16 |f| / h, about 1e-9 for losses up to
// 50. 1e-7 of (1 + |gradient|) leaves a factor of 30 and still catches any wrong term.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "fusec/ops/grad.h"
#include "fusec/ops/ops.h"
#include "fusec/ops/oracle.h"

namespace fusec::test {

inline constexpr double kStep = 1e-5;
inline constexpr double kTolerance = 1e-7;

// Fixed-seed values in [lo, hi); the same on every run and machine.
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  double one(double lo, double hi) {
    return lo + (hi - lo) * static_cast<double>(engine_() >> 11) * 0x1p-53;
  }
  std::vector<double> many(const Shape& shape, double lo = -2, double hi = 2) {
    std::vector<double> out(numel(shape));
    for (double& x : out) x = one(lo, hi);
    return out;
  }
  std::vector<float> floats(const Shape& shape) {
    std::vector<float> out(numel(shape));
    for (float& x : out) x = static_cast<float>(one(-1, 1));
    return out;
  }

 private:
  std::mt19937_64 engine_;
};

// A scalar that depends on every element of y with a weight of its own, so that no error cancels.
inline Tensor weighted_sum(const Tensor& y, Draw& draw) {
  Tensor weights = y.graph().constant(draw.floats(y.shape()), y.shape());
  return sum(cast(y, f32) * weights);
}

// Compares d loss / d wrt[i] with finite differences for every element of every wrt, which must be
// leaves. Each wrt's feed is perturbed in place.
inline void check_gradients(const Tensor& loss, const std::vector<Tensor>& wrt,
                            OracleFeeds feeds) {
  const Graph& graph = loss.graph();
  std::vector<Tensor> gradients = grad(loss, wrt);
  std::vector<std::vector<double>> got = evaluate(graph, feeds, gradients);
  auto value = [&] { return evaluate(graph, feeds, {loss})[0][0]; };
  for (size_t w = 0; w < wrt.size(); ++w) {
    REQUIRE(gradients[w].type() == wrt[w].type());
    const std::string& name = graph.node(wrt[w].value()).as<NameAttr>().name;
    std::vector<double>& feed = feeds.at(name);
    for (size_t i = 0; i < feed.size(); ++i) {
      double x = feed[i];
      feed[i] = x + kStep;
      double up = value();
      feed[i] = x - kStep;
      double down = value();
      feed[i] = x;
      double expected = (up - down) / (2 * kStep);
      INFO(name << "[" << i << "]: recorded " << got[w][i] << ", differences " << expected);
      CHECK(std::fabs(got[w][i] - expected) <= kTolerance * (1 + std::fabs(expected)));
    }
  }
}

// A graph with named f32 leaves drawn from lo..hi, and a check of d weighted_sum(y) / d leaves.
struct Bench {
  Graph graph;
  OracleFeeds feeds;
  Draw draw{20240501};
  std::vector<Tensor> leaves;

  Tensor leaf(const std::string& name, Shape shape, double lo = -2, double hi = 2) {
    feeds[name] = draw.many(shape, lo, hi);
    leaves.push_back(graph.input(name, std::move(shape)));
    return leaves.back();
  }
  // An integer input, not differentiated.
  Tensor index(const std::string& name, Shape shape, std::vector<double> values) {
    feeds[name] = std::move(values);
    return graph.input(name, std::move(shape), i32);
  }
  void check(const Tensor& y) { check_gradients(weighted_sum(y, draw), leaves, feeds); }
};

}  // namespace fusec::test
