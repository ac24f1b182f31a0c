// Each instruction set's vector routines against plain double arithmetic.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "cpu_call.h"
#include "simd.h"

using namespace fusec;
using namespace fusec::cpu;

namespace {

std::vector<const VectorKernels*> sets() {
  int count = 0;
  const VectorKernels* const* all = runnable_vector_kernels(&count);
  return {all, all + count};
}

std::vector<float> random_floats(int64_t n, uint64_t key, float scale = 1) {
  std::vector<float> out;
  for (double x : test::random_values(n, key)) out.push_back(static_cast<float>(x) * scale);
  return out;
}

double capped(const ScoreTile& t, double raw) {
  double s = raw * t.scale;
  return t.softcap == 0 ? s : t.softcap * std::tanh(s / t.softcap);
}

// Which keys a query sees: i + oldest <= j <= i + diagonal or j < prefix.
struct Band {
  int64_t diagonal, oldest, prefix;
  bool sees(int64_t i, int64_t j) const {
    return (j <= i + diagonal && j >= i + oldest) || j < prefix;
  }
};
// All keys, causal, a window, one that reaches ahead, and each with a prefix. Query 0 sees no key
// where the diagonal is negative and no prefix is given.
constexpr Band kBands[] = {{100, -100, 0}, {-3, -100, 0}, {-3, -9, 0},   {5, -4, 0},
                           {-3, -100, 2},  {-3, -7, 15},  {100, -3, -5}, {0, 0, 1}};

}  // namespace

TEST_CASE("simd: online softmax over two tiles equals softmax over all keys") {
  const int64_t ld = 32, keys = 13;
  for (const VectorKernels* v : sets())
    for (float cap : {0.0f, 5.0f})
      for (Band band : kBands) {
        CAPTURE(v->name); CAPTURE(cap); CAPTURE(band.diagonal);
        // The second tile's scores reach far above and below the first's.
        std::vector<float> raw[2] = {random_floats(keys * ld, 1, 3),
                                     random_floats(keys * ld, 2, 60)};
        std::vector<float> p[2] = {raw[0], raw[1]}, factor(ld), first_factor(ld);
        std::vector<float> max(ld, -std::numeric_limits<float>::infinity()), sum(ld, 0.0f);
        ScoreTile tile[2];
        for (int i = 0; i < 2; ++i) {
          int64_t before = i * keys;
          tile[i] = {p[i].data(),           keys, ld, band.diagonal - before, band.oldest - before,
                     band.prefix - before, 0.7f, cap};
          v->softmax_tile(tile[i], max.data(), sum.data(), i ? factor.data() : first_factor.data());
        }
        for (int64_t q = 0; q < ld; ++q) {
          auto visible = [&](int i, int64_t j) { return band.sees(q, j + i * keys); };
          double total = 0;
          for (int i = 0; i < 2; ++i)
            for (int64_t j = 0; j < keys; ++j)
              if (visible(i, j)) total += std::exp(capped(tile[i], raw[i][j * ld + q]));
          if (total == 0) {
            CHECK(sum[q] == 0);
            continue;
          }
          // f32 sums of up to 26 terms, and arguments up to 42 rounded to f32 before exp.
          CHECK(max[q] + std::log(sum[q]) == doctest::Approx(std::log(total)).epsilon(1e-5));
          for (int i = 0; i < 2; ++i)
            for (int64_t j = 0; j < keys; ++j) {
              double want = visible(i, j) ? std::exp(capped(tile[i], raw[i][j * ld + q])) / total : 0;
              double got = p[i][j * ld + q] * (i == 0 ? factor[q] : 1.0f) / sum[q];
              CHECK(std::abs(got - want) < 1e-5);
            }
        }
      }
}

TEST_CASE("simd: a NaN score makes its row NaN, and no other") {
  for (const VectorKernels* v : sets()) {
    std::vector<float> s(16 * 2, 0.5f), max(16, -std::numeric_limits<float>::infinity()), sum(16),
        factor(16);
    s[16 + 3] = std::nanf("");
    v->softmax_tile({s.data(), 2, 16, 100, -100, 0, 1, 0}, max.data(), sum.data(), factor.data());
    for (int i = 0; i < 16; ++i) CHECK(std::isnan(sum[i]) == (i == 3));
  }
}

TEST_CASE("simd: gradient of the scores, masked and capped") {
  const int64_t ld = 16, keys = 9;
  for (const VectorKernels* v : sets())
    for (float cap : {0.0f, 4.0f})
      for (Band band : kBands) {
        CAPTURE(v->name); CAPTURE(cap); CAPTURE(band.diagonal);
        std::vector<float> raw = random_floats(keys * ld, 3, 4), dp = random_floats(keys * ld, 4);
        std::vector<float> lse = random_floats(ld, 5, 2), delta = random_floats(ld, 6);
        if (!band.sees(0, 0)) lse[0] = -std::numeric_limits<float>::infinity();  // saw no key
        std::vector<float> p = raw, ds = dp;
        ScoreTile tile{p.data(), keys, ld, band.diagonal, band.oldest, band.prefix, 0.5f, cap};
        v->softmax_grad_tile(tile, ds.data(), lse.data(), delta.data());
        for (int64_t j = 0; j < keys; ++j)
          for (int64_t q = 0; q < ld; ++q) {
            bool visible = band.sees(q, j);
            double s = capped(tile, raw[j * ld + q]), want = visible ? std::exp(s - lse[q]) : 0;
            double slope = cap == 0 ? 1 : 1 - (s / cap) * (s / cap);
            double grad = want * (dp[j * ld + q] - delta[q]) * 0.5 * slope;
            // Relative to the largest possible value, e^4: f32 rounding of exp's argument.
            CHECK(std::abs(p[j * ld + q] - want) < 1e-6 * 55);
            CHECK(std::abs(ds[j * ld + q] - grad) < 2e-6 * 55);
          }
      }
}

TEST_CASE("simd: transpose of odd sizes fills missing lanes with zeros") {
  for (const VectorKernels* v : sets())
    for (int64_t rows : {1, 3, 6, 15, 16})
      for (int64_t cols : {1, 5, 8, 31}) {
        std::vector<float> in = random_floats(rows * (cols + 2), 7), out(cols * 16, 99.0f);
        v->transpose(in.data(), cols + 2, rows, cols, out.data(), 16);
        int64_t wrong = 0;
        for (int64_t p = 0; p < cols; ++p)
          for (int64_t i = 0; i < 16; ++i)
            wrong += out[p * 16 + i] != (i < rows ? in[i * (cols + 2) + p] : 0);
        CHECK(wrong == 0);
      }
}

TEST_CASE("simd: f16 widens as the scalar form does, every number of it") {
  std::vector<uint16_t> half(1 << 16);
  for (size_t i = 0; i < half.size(); ++i) half[i] = static_cast<uint16_t>(i);
  for (const VectorKernels* v : sets())
    for (size_t count : {half.size(), half.size() - 5}) {
      std::vector<float> wide(half.size(), 7.0f);
      v->from_f16(half.data(), wide.data(), static_cast<int64_t>(count));
      int wrong = 0;
      for (size_t i = 0; i < half.size(); ++i) {
        float expected = i < count ? float_from_f16(half[i]) : 7.0f;
        wrong += std::isnan(expected)
                     ? !std::isnan(wide[i])
                     : std::bit_cast<uint32_t>(wide[i]) != std::bit_cast<uint32_t>(expected);
      }
      CAPTURE(v->name);
      CHECK(wrong == 0);
    }
}

TEST_CASE("simd: bf16 conversions equal the scalar ones, NaN and ties included") {
  std::vector<float> in = random_floats(100, 8, 1e3f);
  for (size_t i = 0; i < in.size(); ++i) in[i] *= 1.0001f;
  in.insert(in.end(), {std::nanf(""), -0.0f, INFINITY, 1e-40f, 1.00390625f, 1.01171875f, 3.4e38f});
  for (const VectorKernels* v : sets()) {
    std::vector<uint16_t> half(in.size());
    std::vector<float> back(in.size());
    v->to_bf16(in.data(), half.data(), in.size());
    v->from_bf16(half.data(), back.data(), in.size());
    for (size_t i = 0; i < in.size(); ++i) {
      CHECK(half[i] == bf16_from_float(in[i]));
      CHECK(std::bit_cast<uint32_t>(back[i]) == static_cast<uint32_t>(half[i]) << 16);
    }
  }
}
