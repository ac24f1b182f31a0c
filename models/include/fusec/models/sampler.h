// Logits to a token, on the host: the most likely one, or one drawn by temperature, top-k and
// top-p. Draws are Philox numbers of (seed, how many came before), so equal logits give equal
// tokens on every machine.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fusec::models {

struct SamplerOptions {
  double temperature = 1;  // 0: the most likely token, the first of equals
  int64_t top_k = 0;       // only the k most likely; 0: all
  double top_p = 1;        // only the fewest that have this probability together, behind top_k
  uint64_t seed = 0;
};

class Sampler {
 public:
  // A temperature below 0, a top_k below 0, and a top_p not above 0 and up to 1 are a user Error.
  explicit Sampler(const SamplerOptions& options);

  // A token that is -inf is never drawn. NaN, +inf, and logits without any token are a user Error.
  int32_t next(std::span<const float> logits);

  // Draws so far, and going on from there.
  uint64_t draws() const { return draws_; }
  void set_draws(uint64_t draws) { draws_ = draws; }

 private:
  SamplerOptions options_;
  uint64_t draws_ = 0;
  std::vector<int32_t> order_;  // kept between calls, for their memory
  std::vector<double> weights_;
};

}  // namespace fusec::models
