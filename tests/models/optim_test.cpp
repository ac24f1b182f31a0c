// AdamW as recorded against the formula by hand, and schedules.
#include <doctest/doctest.h>

#include <cmath>

#include "small_model.h"

namespace fusec::models {
namespace {

struct Reference {  // one parameter
  std::vector<double> p, m, v;
  double rate, decay;
};

TEST_CASE("three steps of AdamW equal the formula") {
  AdamWOptions options;
  options.clip = 0.5;
  options[ParamGroup::matrix].decay = 0.1;
  options[ParamGroup::embedding] = {.lr_scale = 3, .decay = 0};
  Graph graph;
  Tensor w = graph.parameter("trunk.0.w", {2, 2});
  Tensor b = graph.parameter("trunk.0.b", {2});
  Tensor e = graph.parameter("embedding.weight", {1, 2});
  Tensor gw = graph.input("gw", {2, 2}), gb = graph.input("gb", {2}),
         ge = graph.input("ge", {1, 2});
  Tensor norm = adamw(graph, {w, b, e}, {gw, gb, ge}, options);

  std::vector<Reference> reference = {{{1, -2, 0.5, 3}, {0, 0, 0, 0}, {0, 0, 0, 0}, 1, 0.1},
                                      {{0.2, -0.4}, {0, 0}, {0, 0}, 1, 0},  // 1-D: no decay
                                      {{2, -1}, {0, 0}, {0, 0}, 3, 0}};
  std::vector<std::string> names = {"trunk.0.w", "trunk.0.b", "embedding.weight"};
  std::vector<std::string> feeds = {"gw", "gb", "ge"};
  Oracle oracle(graph);
  for (size_t i = 0; i < names.size(); ++i) oracle.set(names[i], reference[i].p);

  const double lr = 0.01;
  for (int step = 1; step <= 3; ++step) {
    // The second step's gradients are small, so that it is not clipped.
    double scale = step == 2 ? 0.01 : 1;
    std::vector<std::vector<double>> grads = {
        {scale, -2 * scale, 0, 0.5 * scale}, {-scale, 0.25 * scale}, {3 * scale, step * scale}};
    double squares = 0;
    for (size_t i = 0; i < grads.size(); ++i) {
      oracle.set(feeds[i], grads[i]);
      for (double g : grads[i]) squares += g * g;
    }
    double c1 = 1 - std::pow(options.beta1, step), c2 = 1 - std::pow(options.beta2, step);
    oracle.set("lr", {lr});
    oracle.set("bias1", {1 / c1});
    oracle.set("bias2", {1 / c2});
    CHECK(oracle.step({norm})[0][0] == doctest::Approx(std::sqrt(squares)).epsilon(1e-9));

    double clip = std::min(1.0, options.clip / (std::sqrt(squares) + 1e-6));
    for (size_t i = 0; i < reference.size(); ++i) {
      Reference& r = reference[i];
      for (size_t j = 0; j < r.p.size(); ++j) {
        double g = grads[i][j] * clip;
        r.m[j] = options.beta1 * r.m[j] + (1 - options.beta1) * g;
        r.v[j] = options.beta2 * r.v[j] + (1 - options.beta2) * g * g;
        double update = (r.m[j] / c1) / (std::sqrt(r.v[j] / c2) + options.eps);
        r.p[j] -= lr * r.rate * (update + r.decay * r.p[j]);
        // Both sides are double; only the order of operations differs.
        CHECK(oracle.get(names[i])[j] == doctest::Approx(r.p[j]).epsilon(1e-9));
        CHECK(oracle.get(names[i] + ".m")[j] == doctest::Approx(r.m[j]).epsilon(1e-9));
        CHECK(oracle.get(names[i] + ".v")[j] == doctest::Approx(r.v[j]).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("adamw refuses nothing to train") {
  Graph graph;
  CHECK_THROWS_AS(adamw(graph, {}, {}, {}), Error);
}

TEST_CASE("groups follow parameter names") {
  CHECK(group_of("embedding.weight") == ParamGroup::embedding);
  CHECK(group_of("head.weight") == ParamGroup::unembedding);
  CHECK(group_of("resampler.0.attn.q.weight") == ParamGroup::vision);
  CHECK(group_of("trunk.11.mlp.gate.weight") == ParamGroup::matrix);
}

TEST_CASE("schedules rise, then fall to the floor") {
  Schedule s{.kind = Schedule::Kind::cosine, .warmup = 0.1, .floor = 0.2};
  CHECK(s.factor(0) == 0);
  CHECK(s.factor(0.05) == doctest::Approx(0.5));
  CHECK(s.factor(0.1) == doctest::Approx(1));
  CHECK(s.factor(0.55) == doctest::Approx(0.6));  // half way down: (1 + floor) / 2
  CHECK(s.factor(1) == doctest::Approx(0.2));
  CHECK(s.factor(7) == doctest::Approx(0.2));
  s.kind = Schedule::Kind::linear;
  CHECK(s.factor(0.325) == doctest::Approx(0.8));
  CHECK(s.factor(1) == doctest::Approx(0.2));
  s.kind = Schedule::Kind::constant;
  CHECK(s.factor(1) == 1);
  s.warmup = 0;
  CHECK(s.factor(0) == 1);
  CHECK(Schedule::parse_kind("linear") == Schedule::Kind::linear);
  CHECK_THROWS_WITH_AS(Schedule::parse_kind("cosin"), doctest::Contains("cosine"), Error);
}

}  // namespace
}  // namespace fusec::models
