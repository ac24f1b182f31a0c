// Fast normal numbers against the formula in double, and pieces against the whole.
#include "fusec/core/normal_fill.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "fusec/base/philox.h"

namespace fusec {
namespace {

constexpr double kPi = 3.14159265358979323846;

TEST_CASE("normal numbers are Box and Muller's of the Philox words") {
  constexpr int64_t kCount = 1 << 16;
  const uint64_t key = 0x123456789ABCDEFull, stream = 0xFEDCBA987654321ull;
  std::vector<float> z(kCount);
  fill_normal(z.data(), 0, kCount, 1, key, stream);
  double worst = 0;
  for (int64_t block = 0; block < kCount / 4; ++block) {
    const PhiloxBlock w = philox(key, static_cast<uint64_t>(block), stream);
    for (int half = 0; half < 2; ++half) {
      const double u = ((w[2 * half] >> 8) + 1) * 0x1p-24;
      // Quadrants begin an eighth of the circle before the axes; 24 bits say where in a quadrant.
      const double within = ((w[2 * half + 1] & 0x3FFFFFFF) >> 6) * 0x1p-24 - 0.5;
      const double angle = ((w[2 * half + 1] >> 30) + within) * kPi / 2;
      const double radius = std::sqrt(-2 * std::log(u));
      worst = std::max(worst, std::abs(z[4 * block + 2 * half] - radius * std::cos(angle)));
      worst = std::max(worst, std::abs(z[4 * block + 2 * half + 1] - radius * std::sin(angle)));
    }
  }
  // A dozen roundings of numbers below 6, each at most 2^-22.
  CHECK(worst < 12 * 0x1p-22);
}

TEST_CASE("any piece is what the whole holds there, and a deviation scales it") {
  std::vector<float> whole(3000), scaled(3000);
  fill_normal(whole.data(), 0, 3000, 1, 5, 7);
  fill_normal(scaled.data(), 0, 3000, 0.25f, 5, 7);
  for (const auto& [first, count] : {std::pair<int64_t, int64_t>{0, 1}, {4, 255}, {1024, 1976}}) {
    std::vector<float> piece(static_cast<size_t>(count));
    fill_normal(piece.data(), first, count, 1, 5, 7);
    CHECK(std::equal(piece.begin(), piece.end(), whole.begin() + first));
  }
  for (size_t i = 0; i < whole.size(); ++i) CHECK(scaled[i] == 0.25f * whole[i]);
}

TEST_CASE("moments of a million numbers") {
  std::vector<float> z(1 << 20);
  fill_normal(z.data(), 0, static_cast<int64_t>(z.size()), 1, 11, 13);
  double sums[5] = {};
  for (const float x : z)
    for (int k = 1; k <= 4; ++k) sums[k] += std::pow(static_cast<double>(x), k);
  // Four standard errors: of x^k over n draws, sqrt(var(x^k) / n).
  const double n = static_cast<double>(z.size());
  CHECK(std::abs(sums[1] / n) < 4 * std::sqrt(1 / n));
  CHECK(std::abs(sums[2] / n - 1) < 4 * std::sqrt(2 / n));
  CHECK(std::abs(sums[3] / n) < 4 * std::sqrt(15 / n));
  CHECK(std::abs(sums[4] / n - 3) < 4 * std::sqrt(96 / n));
}

}  // namespace
}  // namespace fusec
