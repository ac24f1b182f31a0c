// Logits to tokens; see sampler.h.
#include "fusec/models/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "fusec/base/error.h"
#include "fusec/base/philox.h"

namespace fusec::models {
namespace {

int32_t most_likely(std::span<const float> logits) {
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == INFINITY)
      fail_user("sampling: the logit of token " + std::to_string(i) + " is " +
                std::to_string(logits[i]) + "; the model's weights or its input are damaged");
    if (logits[i] > logits[best]) best = i;
  }
  if (logits.empty() || logits[best] == -INFINITY)
    fail_user("sampling: none of " + std::to_string(logits.size()) + " tokens may follow");
  return static_cast<int32_t>(best);
}

// In [0, 1), 53 bits.
double uniform(uint64_t seed, uint64_t draw) {
  PhiloxBlock words = philox(seed, draw);
  uint64_t bits = (static_cast<uint64_t>(words[0]) << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    fail_user("sampling: temperature is " + std::to_string(options.temperature) +
              ", expected 0 or more");
  if (options.top_k < 0)
    fail_user("sampling: top_k is " + std::to_string(options.top_k) + ", expected 0 or more");
  if (!(options.top_p > 0 && options.top_p <= 1))
    fail_user("sampling: top_p is " + std::to_string(options.top_p) +
              ", expected a number above 0 and at most 1");
}

int32_t Sampler::next(std::span<const float> logits) {
  const int32_t best = most_likely(logits);
  if (options_.temperature == 0 || options_.top_k == 1) return best;

  weights_.resize(logits.size());
  const double top = logits[best];
  double total = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    total += weights_[i] = std::exp((logits[i] - top) / options_.temperature);

  order_.resize(logits.size());
  std::iota(order_.begin(), order_.end(), 0);
  // The most likely come first; equal ones in the order of their numbers.
  auto before = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  size_t kept = order_.size();
  if (options_.top_k > 0 && static_cast<size_t>(options_.top_k) < kept) {
    kept = static_cast<size_t>(options_.top_k);
    std::nth_element(order_.begin(), order_.begin() + kept, order_.end(), before);
    std::sort(order_.begin(), order_.begin() + kept, before);
    total = 0;
    for (size_t i = 0; i < kept; ++i) total += weights_[order_[i]];
  }
  if (options_.top_p < 1) {
    // Only as many as are needed are sorted: few hold most of the probability.
    const double wanted = options_.top_p * total;
    double sum = 0;
    for (size_t done = 0, part = 64; done < kept && sum < wanted; part *= 8) {
      const size_t end = std::min(kept, done + part);
      std::partial_sort(order_.begin() + done, order_.begin() + end, order_.begin() + kept, before);
      while (done < end && sum < wanted) sum += weights_[order_[done++]];
      if (sum >= wanted || done == kept) kept = done;
    }
    total = sum;
  }
  double left = uniform(options_.seed, draws_++) * total;
  int32_t chosen = best;  // where rounding leaves a little behind the last
  for (size_t i = 0; i < kept; ++i) {
    if (weights_[order_[i]] <= 0) continue;
    chosen = order_[i];
    left -= weights_[chosen];
    if (left < 0) break;
  }
  return chosen;
}

}  // namespace fusec::models
