// AdamW as an op: the recorded update against the algorithm written out in double, and the compiled
// one against both; a gradient that is not finite skips it.
#include "agree.h"

using namespace fusec;
using namespace fusec::test;

namespace {

constexpr double kRate = 0.05;

struct Problem {
  Graph graph;
  Tensor x, w, b, loss, norm;
  explicit Problem(AdamWSettings settings) {
    x = graph.input("x", {6, 3});
    w = graph.parameter("w", {4, 3}), b = graph.parameter("b", {4});
    loss = sum(square(tanh(linear(x, w, b)) - 0.3));
    norm = adamw(graph.input("lr", {}), {w, b}, grad(loss, {w, b}), settings);
  }
};

// AdamW on one flat vector of parameters, the first 12 of them decayed (w), the others not (b).
struct AdamReference {
  std::vector<double> p, m = std::vector<double>(16), v = m;
  int t = 0;
  double step(std::vector<double> g, const AdamWSettings& s) {
    double norm = 0;
    for (double x : g) norm += x * x;
    norm = std::sqrt(norm);
    double scale = s.clip > 0 ? std::min(1.0, s.clip / (norm + 1e-6)) : 1;
    ++t;
    for (size_t i = 0; i < p.size(); ++i) {
      double d = g[i] * scale;
      m[i] = s.betas.beta1 * m[i] + (1 - s.betas.beta1) * d;
      v[i] = s.betas.beta2 * v[i] + (1 - s.betas.beta2) * d * d;
      double mean = m[i] / (1 - std::pow(s.betas.beta1, t));
      double spread = std::sqrt(v[i] / (1 - std::pow(s.betas.beta2, t)));
      p[i] -= kRate * (mean / (spread + s.betas.eps) + (i < 12 ? s.decay * p[i] : 0));
    }
    return norm;
  }
};

}  // namespace

TEST_CASE("adamw is the published algorithm, recorded and compiled") {
  for (double clip : {0.0, 0.5}) {
    AdamWSettings settings{.decay = 0.1, .clip = clip};
    Problem p(settings);
    std::vector<Tensor> grads = grad(p.loss, {p.w, p.b});
    Oracle oracle(p.graph);
    Executable exe = compile(p.graph, {{"norm", p.norm}});
    Feeds feeds = complete(p.graph, {{"lr", {kRate}}}, -1, 1);
    for (const char* name : {"x", "w", "b", "lr"}) {
      oracle.set(name, feeds.at(name));
      write(exe, name, feeds.at(name));
    }
    AdamReference reference;
    reference.p = feeds.at("w");
    reference.p.insert(reference.p.end(), feeds.at("b").begin(), feeds.at("b").end());
    for (int i = 0; i < 4; ++i) {
      auto values = oracle.evaluate(grads);
      std::vector<double> g = values[0];
      g.insert(g.end(), values[1].begin(), values[1].end());
      double norm = reference.step(g, settings);
      CHECK(std::fabs(oracle.step({p.norm})[0][0] - norm) < 1e-9);
      REQUIRE(exe.run().finite);
      CHECK(std::fabs(exe.item<float>("norm") - norm) < 1e-5 * norm);
      std::vector<double> recorded = oracle.get("w"), compiled = read(exe, "w");
      for (const std::vector<double>& more : {oracle.get("b")})
        recorded.insert(recorded.end(), more.begin(), more.end());
      for (double x : read(exe, "b")) compiled.push_back(x);
      for (size_t k = 0; k < 16; ++k) {
        CHECK(std::fabs(recorded[k] - reference.p[k]) < 1e-9);
        // A step moves a weight by about kRate whatever its gradient, whose f32 error is magnified
        // where it is small: 1e-4 of the step covers |g| down to 1e-3 of the largest.
        CHECK(std::fabs(compiled[k] - reference.p[k]) < 1e-4 * kRate * (i + 1) + 1e-6);
      }
    }
    CHECK(exe.item<float>("adamw.step") == 4);
  }
}

TEST_CASE("adamw skips a step whose gradient is not finite") {
  Problem p({});
  Executable exe = compile(p.graph, {{"norm", p.norm}});
  exe.set("lr", 0.1f);
  exe.set("w", std::vector<float>(12, 0.5f));
  exe.set("b", std::vector<float>(4, 0.1f));
  exe.set("x", std::vector<float>(18, NAN));
  CHECK(!exe.run().finite);
  CHECK(exe.get<float>("w") == std::vector<float>(12, 0.5f));
  CHECK(exe.item<float>("adamw.step") == 0);
  exe.set("x", std::vector<float>(18, 0.5f));
  CHECK(exe.run().finite);
  CHECK(exe.get<float>("w") != std::vector<float>(12, 0.5f));
}
