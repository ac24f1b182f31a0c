// Sampling: which tokens may come, how often they do, and that a seed says all.
#include <doctest/doctest.h>

#include <cmath>

#include "fusec/base/error.h"
#include "fusec/models/sampler.h"

namespace fusec::models {
namespace {

// How often each token comes in n draws.
std::vector<double> shares(SamplerOptions options, const std::vector<float>& logits, int n) {
  std::vector<double> count(logits.size(), 0.0);
  Sampler sampler(options);
  for (int i = 0; i < n; ++i) count[sampler.next(logits)] += 1.0 / n;
  return count;
}

// 20000 draws: a share is off by at most 0.0036 (one standard error), times 5.
void check_shares(SamplerOptions options, const std::vector<float>& logits,
                  const std::vector<double>& expected) {
  std::vector<double> found = shares(options, logits, 20000);
  for (size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(i);
    if (expected[i] == 0)
      CHECK(found[i] == 0);
    else
      CHECK(std::abs(found[i] - expected[i]) < 0.018);
  }
}

std::vector<float> logits_of(const std::vector<double>& p) {
  std::vector<float> logits;
  for (double x : p) logits.push_back(static_cast<float>(std::log(x) + 3));
  return logits;
}

TEST_CASE("temperature 0 and top_k 1 take the most likely token, the first of equals") {
  std::vector<float> logits = {1, 5, -2, 5, 0};
  CHECK(Sampler({.temperature = 0}).next(logits) == 1);
  CHECK(Sampler({.top_k = 1}).next(logits) == 1);
  CHECK(Sampler({.top_p = 1e-9}).next(logits) == 1);
}

TEST_CASE("tokens come as often as softmax, temperature, top_k and top_p say") {
  std::vector<double> p = {0.1, 0.4, 0.05, 0.25, 0.2};
  check_shares({.seed = 1}, logits_of(p), p);
  // Temperature 1/2: probabilities are squared, 0.275 their sum.
  check_shares({.temperature = 0.5, .seed = 2}, logits_of(p),
               {0.01 / 0.275, 0.16 / 0.275, 0.0025 / 0.275, 0.0625 / 0.275, 0.04 / 0.275});
  check_shares({.top_k = 3, .seed = 3}, logits_of(p), {0, 0.4 / 0.85, 0, 0.25 / 0.85, 0.2 / 0.85});
  check_shares({.top_p = 0.6, .seed = 4}, logits_of(p), {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  // Of three, 0.4 / 0.85 and 0.25 / 0.85 are 0.76 together.
  check_shares({.top_k = 3, .top_p = 0.75, .seed = 5}, logits_of(p),
               {0, 0.4 / 0.65, 0, 0.25 / 0.65, 0});
  check_shares({.top_k = 100, .top_p = 1, .seed = 6}, logits_of(p), p);
}

TEST_CASE("top_p over many tokens keeps the fewest that suffice") {
  // 1000 equal tokens behind one of half the probability: 0.8 needs it and 600 of them, the first.
  std::vector<double> p(1001, 0.5 / 1000);
  p[700] = 0.5;
  Sampler sampler({.top_p = 0.8, .seed = 9});
  std::vector<float> logits = logits_of(p);
  int32_t most = 0;
  for (int i = 0; i < 20000; ++i) {
    int32_t token = sampler.next(logits);
    if (token != 700) most = std::max(most, token);
  }
  CHECK(most <= 601);  // rounding may need one more
  CHECK(most > 580);
}

TEST_CASE("a seed and the number of draws say all") {
  std::vector<float> logits = logits_of({0.1, 0.4, 0.05, 0.25, 0.2});
  auto walk = [&](uint64_t seed, uint64_t from) {
    Sampler sampler({.seed = seed});
    sampler.set_draws(from);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.next(logits));
    CHECK(sampler.draws() == from + 50);
    return tokens;
  };
  CHECK(walk(1, 0) == walk(1, 0));
  CHECK(walk(1, 0) != walk(2, 0));
  std::vector<int32_t> all = walk(1, 0), later = walk(1, 20);
  CHECK(std::equal(all.begin() + 20, all.end(), later.begin()));
}

TEST_CASE("what sampling refuses") {
  CHECK(Sampler({}).next(std::vector<float>{-INFINITY, 2, -INFINITY}) == 1);
  CHECK_THROWS_WITH_AS(Sampler({}).next(std::vector<float>{1, NAN}),
                       doctest::Contains("logit of token 1"), Error);
  CHECK_THROWS_WITH_AS(Sampler({}).next(std::vector<float>{INFINITY}), doctest::Contains("token 0"),
                       Error);
  CHECK_THROWS_WITH_AS(Sampler({}).next(std::vector<float>{-INFINITY}),
                       doctest::Contains("none of 1 tokens"), Error);
  CHECK_THROWS_WITH_AS(Sampler({}).next(std::vector<float>{}), doctest::Contains("none of 0"),
                       Error);
  CHECK_THROWS_WITH_AS(Sampler({.temperature = -1}), doctest::Contains("temperature"), Error);
  CHECK_THROWS_WITH_AS(Sampler({.top_k = -1}), doctest::Contains("top_k"), Error);
  CHECK_THROWS_WITH_AS(Sampler({.top_p = 0}), doctest::Contains("top_p"), Error);
}

}  // namespace
}  // namespace fusec::models
