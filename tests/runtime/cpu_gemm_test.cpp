// GEMM against a triple loop in double: the call (oneDNN where present) and the own kernel of each
// instruction set; odd sizes, every transpose, alpha, beta, batch and dtype.
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <vector>

#include "cpu_call.h"
#include "fusec/base/error.h"
#include "gemm.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Problem {
  int64_t m, n, k, batch = 1;
  bool trans_a = false, trans_b = false;
  double alpha = 1, beta = 0;
  DType type_a = f32, type_b = f32, type_c = f32;
  int64_t pad = 0;  // extra elements a row and a batch item

  int64_t a_rows() const { return trans_a ? k : m; }
  int64_t b_rows() const { return trans_b ? n : k; }
  int64_t lda() const { return (trans_a ? m : k) + pad; }
  int64_t ldb() const { return (trans_b ? k : n) + pad; }
  int64_t ldc() const { return n + pad; }
  int64_t stride_a() const { return a_rows() * lda() + pad; }
  int64_t stride_b() const { return b_rows() * ldb() + pad; }
  int64_t stride_c() const { return m * ldc() + pad; }
  Values a() const { return random_values(batch * stride_a(), 1); }
  Values b() const { return random_values(batch * stride_b(), 2); }
  Values c() const {
    // With beta 0, C must not be read.
    return beta == 0 ? Values(batch * stride_c(), std::nan(""))
                     : random_values(batch * stride_c(), 3);
  }
};

void check(const Problem& p, const Values& got) {
  Values a = p.a(), b = p.b(), c = p.c();
  double worst = 0;
  int64_t touched = 0;
  for (int64_t x = 0; x < p.batch; ++x)
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.ldc(); ++j) {
        int64_t at = x * p.stride_c() + i * p.ldc() + j;
        if (j >= p.n) {  // between the rows: as it was
          touched += std::isnan(c[at]) ? !std::isnan(got[at]) : got[at] != c[at];
          continue;
        }
        double sum = 0;
        for (int64_t q = 0; q < p.k; ++q)
          sum += a[x * p.stride_a() + (p.trans_a ? q * p.lda() + i : i * p.lda() + q)] *
                 b[x * p.stride_b() + (p.trans_b ? j * p.ldb() + q : q * p.ldb() + j)];
        double want = p.alpha * sum + (p.beta == 0 ? 0 : p.beta * c[at]);
        double error = std::abs(got[at] - want);
        // Products of numbers below 1 summed in f32: the error grows like sqrt(k) at 2^-24 a step.
        // A bf16 result is rounded to 8 bits at the end.
        double allowed = 1e-6 * (1 + std::sqrt(static_cast<double>(p.k))) * (1 + std::abs(p.alpha));
        if (p.type_c == bf16) allowed += std::abs(want) / 256;
        worst = std::max(worst, std::isnan(error) ? 1e9 : error / allowed);
      }
  CHECK(worst <= 1);
  CHECK(touched == 0);
}

std::string run_call(const Problem& p, int threads, Values* out, const char* epilogue = "none",
                     const Values& addend = {}, const Values& bias = {}, Values* aux = nullptr,
                     bool in_place = false) {
  CpuCall call("gemm");
  call.operand(p.a(), p.type_a).operand(p.b(), p.type_b);
  call.operand(in_place ? addend : p.c(), p.type_c);
  call.attr("epilogue", epilogue);
  std::string words = epilogue;
  auto has = [&](const char* word) { return words.find(word) != std::string::npos; };
  if (has("aux")) call.operand(p.c(), p.type_c);
  GemmEpilogue e = epilogue_of(call.call());
  if (e.sums()) call.operand(Values(e.bgrada ? p.m : p.n, std::nan("")), p.type_c);
  if (has("add") && in_place) call.again(2);
  if (has("add") && !in_place) call.operand(addend, p.type_c);
  if (has("bias")) call.operand(bias, p.type_c);
  if (e.dgelu) call.operand(addend, p.type_c);
  call.attr("m", p.m).attr("n", p.n).attr("k", p.k).attr("batch", p.batch);
  call.attr("lda", p.lda()).attr("ldb", p.ldb()).attr("ldc", p.ldc());
  call.attr("stride_a", p.stride_a()).attr("stride_b", p.stride_b());
  call.attr("stride_c", p.stride_c()).attr("trans_a", p.trans_a ? 1 : 0);
  call.attr("trans_b", p.trans_b ? 1 : 0).attr("alpha", p.alpha).attr("beta", p.beta);
  call.attr("type_a", name_of(p.type_a).data()).attr("type_b", name_of(p.type_b).data());
  call.attr("type_c", name_of(p.type_c).data());
  call.run(threads);
  *out = call.values(2);
  if (aux && (has("aux") || e.sums())) *aux = call.values(3);
  return call.bytes(2);
}

cpu::Gemm gemm_of(const Problem& p) {
  return {p.m,
          p.n,
          p.k,
          1,
          p.lda(),
          p.ldb(),
          p.ldc(),
          p.stride_a(),
          p.stride_b(),
          p.stride_c(),
          p.trans_a,
          p.trans_b,
          p.type_a,
          p.type_b,
          p.type_c,
          static_cast<float>(p.alpha),
          static_cast<float>(p.beta)};
}

std::vector<char> stored(const Values& x, DType t) {
  std::vector<char> raw(x.size() * size_of(t) + 256);
  for (size_t i = 0; i < x.size(); ++i) store_from_double(raw.data(), t, i, x[i]);
  return raw;
}

void check_own(const Problem& p, const cpu::VectorKernels& v) {
  cpu::Gemm g = gemm_of(p);
  std::vector<char> a = stored(p.a(), p.type_a), b = stored(p.b(), p.type_b),
                    c = stored(p.c(), p.type_c);
  cpu::TileGrid grid = cpu::tile_grid(g);
  for (int64_t i = 0; i < p.m; i += grid.tile_rows)
    for (int64_t j = 0; j < p.n; j += grid.tile_cols)
      cpu::own_gemm_tile(
          v, g, a.data(), b.data(), c.data(),
          {i, std::min(grid.tile_rows, p.m - i), j, std::min(grid.tile_cols, p.n - j)});
  Values got(p.stride_c());
  for (size_t i = 0; i < got.size(); ++i) got[i] = load_as_double(c.data(), p.type_c, i);
  check(p, got);
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  const int64_t shapes[][3] = {{1, 1, 1},   {3, 5, 7},    {8, 32, 16},   {17, 33, 65}, {1, 100, 50},
                               {100, 1, 9}, {64, 48, 300}, {13, 130, 513}, {70, 31, 0}};
  for (auto& s : shapes)
    for (int t = 0; t < 4; ++t)
      for (double beta : {0.0, 1.0, -0.5}) {
        Problem p{s[0], s[1], s[2]};
        p.trans_a = t & 1, p.trans_b = t & 2, p.beta = beta;
        p.alpha = beta == 1.0 ? 1.0 : 0.25;
        p.pad = t;
        all.push_back(p);
      }
  for (int types = 1; types < 8; ++types)
    for (int t = 0; t < 4; ++t) {
      Problem p{29, 47, 270};
      p.trans_a = t & 1, p.trans_b = t & 2, p.beta = types & 1 ? 1.0 : 0.0, p.pad = 3;
      p.type_a = types & 1 ? bf16 : f32, p.type_b = types & 2 ? bf16 : f32;
      p.type_c = types & 4 ? bf16 : f32;
      all.push_back(p);
    }
  return all;
}

}  // namespace

TEST_CASE("gemm: the call equals a triple loop in double") {
  for (Problem p : problems())
    for (int64_t batch : {1, 3}) {
      p.batch = batch;
      CAPTURE(p.m); CAPTURE(p.n); CAPTURE(p.k); CAPTURE(p.trans_a); CAPTURE(p.trans_b);
      CAPTURE(p.beta); CAPTURE(batch);
      Values got;
      run_call(p, 2, &got);
      check(p, got);
    }
}

TEST_CASE("gemm: the own kernel of every instruction set equals a triple loop in double") {
  int count = 0;
  const cpu::VectorKernels* const* sets = cpu::runnable_vector_kernels(&count);
  for (int s = 0; s < count; ++s)
    for (const Problem& p : problems()) {
      CAPTURE(sets[s]->name); CAPTURE(p.m); CAPTURE(p.n); CAPTURE(p.k);
      CAPTURE(p.trans_a); CAPTURE(p.trans_b); CAPTURE(p.beta);
      check_own(p, *sets[s]);
    }
}

// By the kernel that streams B, tile by tile.
Values few_rows(const Problem& p, const cpu::VectorKernels& v) {
  cpu::Gemm g = gemm_of(p);
  REQUIRE(cpu::is_few_rows(g));
  std::vector<char> a = stored(p.a(), p.type_a), b = stored(p.b(), p.type_b),
                    c = stored(p.c(), p.type_c);
  cpu::TileGrid grid = cpu::tile_grid(g);
  CHECK(grid.down == 1);
  for (int64_t j = 0; j < p.n; j += grid.tile_cols)
    cpu::few_rows_tile(v, g, a.data(), b.data(), c.data(),
                       {0, p.m, j, std::min(grid.tile_cols, p.n - j)}, {});
  Values got(p.stride_c());
  for (size_t i = 0; i < got.size(); ++i) got[i] = load_as_double(c.data(), p.type_c, i);
  return got;
}

TEST_CASE("gemm: products of few rows equal a triple loop in double, in every instruction set") {
  int count = 0;
  const cpu::VectorKernels* const* sets = cpu::runnable_vector_kernels(&count);
  for (int s = 0; s < count; ++s)
    for (int64_t m : {1, 2, 4, 7, 8})
      for (auto [n, k] :
           {std::pair<int64_t, int64_t>{1, 1}, {3, 15}, {18, 16}, {70, 47}, {700, 130}, {5, 9000}})
        for (DType type_a : {f32, bf16})
          for (DType type_b : {f32, bf16, f16}) {
            CAPTURE(sets[s]->name);
            CAPTURE(m);
            CAPTURE(n);
            CAPTURE(k);
            CAPTURE(name_of(type_b));
            Problem p{m, n, k};
            p.trans_b = true, p.type_a = type_a, p.type_b = type_b;
            p.pad = m == 4 ? 3 : 0;
            if (m == 2) p.alpha = 0.25, p.beta = -0.5;
            if (m == 7) p.type_c = bf16;
            check(p, few_rows(p, *sets[s]));
          }
}

TEST_CASE("gemm: a row has the same bits beside others, and on any number of threads") {
  Problem p{8, 700, 130};
  p.trans_b = true, p.type_b = bf16;
  Values eight, some, rows = p.a();
  std::string one = run_call(p, 1, &eight);
  CHECK(one == run_call(p, 2, &some));
  CHECK(one == run_call(p, 3, &some));
  for (int64_t m : {1, 3, 5}) {
    Problem q = p;
    q.m = m;
    run_call(q, 2, &some);
    REQUIRE(q.a() == Values(rows.begin(), rows.begin() + m * p.lda()));
    CHECK(some == Values(eight.begin(), eight.begin() + m * p.n));
  }
}

TEST_CASE("gemm: several tiles, the same bits for any number of threads") {
  for (DType type : {f32, bf16})
    for (bool trans : {false, true}) {
      Problem p{600, 520, 140};
      p.trans_a = trans, p.type_a = p.type_b = type;
      Values got;
      std::string one = run_call(p, 1, &got);
      check(p, got);
      CHECK(one == run_call(p, 2, &got));
      CHECK(one == run_call(p, 3, &got));
    }
}

TEST_CASE("gemm: the tile grid covers C with tiles no larger than the bound") {
  for (int64_t m : {1, 31, 128, 513, 4096})
    for (int64_t n : {1, 96, 512, 1600, 65536})
      for (int64_t k : {1, 128, 2048}) {
        cpu::Gemm g{};
        g.m = m, g.n = n, g.k = k, g.batch = 1;
        cpu::TileGrid t = cpu::tile_grid(g);
        CHECK(t.tile_rows <= cpu::kMaxTile);
        CHECK(t.tile_cols <= cpu::kMaxTile);
        CHECK(t.tile_rows * t.down >= m);
        CHECK(t.tile_rows * (t.down - 1) < m);
        CHECK(t.tile_cols * t.across >= n);
        CHECK(t.tile_cols * (t.across - 1) < n);
      }
}

TEST_CASE("gemm: epilogues, of oneDNN's products and of the own kernel's, in tiles") {
  for (std::string name : {"add", "add!", "bias", "gelu", "bias_gelu", "gelu_aux",
                           "add_bias_gelu_aux", "add_bias_gelu_aux!"})
    for (DType type : {f32, bf16, f16})
      for (int64_t k : {40, 0}) {
        CAPTURE(name);
        bool in_place = name.back() == '!';  // the addend lies in C
        std::string words = name.substr(0, name.size() - in_place);
        CAPTURE(name_of(type));
        CAPTURE(k);
        Problem p{700, 530, k, 2};  // two tiles each way
        p.type_c = type, p.pad = 3;
        LibraryCall call;
        call.attrs["epilogue"] = words;
        GemmEpilogue e = epilogue_of(call);
        Values sums, plain = random_values(p.n, 7), got, aux;
        Problem wide = p;
        wide.type_c = f32;
        run_call(wide, 2, &sums);
        Values addend = random_values(p.batch * p.stride_c(), 8);
        run_call(p, 2, &got, words.c_str(), addend, plain, &aux, in_place);
        double worst = 0, worst_aux = 0;
        double unit = type == bf16 ? 1.0 / 256 : type == f16 ? 1.0 / 2048 : 1e-6;
        for (int64_t x = 0; x < p.batch; ++x)
          for (int64_t i = 0; i < p.m; ++i)
            for (int64_t j = 0; j < p.n; ++j) {
              int64_t at = x * p.stride_c() + i * p.ldc() + j;
              double v = sums[at] + (e.add ? addend[at] : 0) + (e.bias ? plain[j] : 0);
              // oneDNN's sums and the own kernel's differ in their order: k = 40 products below 1.
              double slack = 4e-6 * (1 + std::abs(v));
              if (e.aux)
                worst_aux =
                    std::max(worst_aux, std::abs(aux[at] - v) / (slack + unit * std::abs(v)));
              if (e.gelu)
                v = 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
              worst = std::max(worst, std::abs(got[at] - v) / (2 * slack + unit * std::abs(v)));
            }
        CHECK(worst <= 1);
        CHECK(worst_aux <= 1);
        Values again;
        auto run = [&](int threads) {
          return run_call(p, threads, &again, words.c_str(), addend, plain, nullptr, in_place);
        };
        CHECK(run(1) == run(4));
      }
}

TEST_CASE("gemm: a GELU's slope and sums beside the product, odd and empty sizes") {
  for (const char* name : {"dgelu", "dgelu_bgrad", "bgrada", "bgradb", "add_bgrada"})
    for (DType type : {f32, bf16, f16})
      for (int trans = 0; trans < 4; ++trans)
        for (auto [m, n, k] : {std::array<int64_t, 3>{300, 270, 40},
                               {13, 7, 1},
                               {5, 6, 0},
                               {0, 9, 4},
                               {9, 0, 4},
                               {700, 3, 600}}) {
          CAPTURE(name);
          CAPTURE(name_of(type));
          CAPTURE(trans);
          CAPTURE(m);
          CAPTURE(n);
          CAPTURE(k);
          Problem p{m, n, k};
          p.trans_a = trans & 1, p.trans_b = trans & 2, p.pad = 3;
          p.type_a = p.type_b = p.type_c = type;
          LibraryCall call;
          call.attrs["epilogue"] = std::string(name);
          GemmEpilogue e = epilogue_of(call);
          Problem wide = p;
          wide.type_c = f32;
          Values products, pre = random_values(p.stride_c(), 9), got, sums;
          run_call(wide, 2, &products);
          std::string bytes = run_call(p, 1, &got, name, pre, pre, &sums);
          CHECK(bytes == run_call(p, 3, &got, name, pre, pre, &sums));
          double unit = type == bf16 ? 1.0 / 256 : type == f16 ? 1.0 / 2048 : 1e-6, worst = 0;
          auto at = [&](int64_t i, int64_t j) { return i * p.ldc() + j; };
          for (int64_t i = 0; i < m; ++i)
            for (int64_t j = 0; j < n; ++j) {
              double v = products[at(i, j)] + (e.add ? pre[at(i, j)] : 0), x = pre[at(i, j)];
              double t = std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
              if (e.dgelu)
                v *= 0.5 * (1 + t) +
                     0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * x * x);
              // Orders of the sum differ, and the slope is of some roundings in f32.
              double slack = 1e-6 * std::sqrt(1.0 + static_cast<double>(k)) * (4 + std::abs(v));
              worst = std::max(worst, std::abs(got[at(i, j)] - v) / (slack + unit * std::abs(v)));
            }
          CHECK(worst <= 1);
          worst = 0;
          Values a = p.a(), b = p.b();
          for (int64_t j = 0; e.sums() && j < (e.bgrada ? m : n); ++j) {
            double sum = 0;
            for (int64_t q = 0; q < (e.bgrad ? m : k); ++q)
              sum += e.bgrad    ? got[at(q, j)]
                     : e.bgrada ? a[p.trans_a ? q * p.lda() + j : j * p.lda() + q]
                                : b[p.trans_b ? j * p.ldb() + q : q * p.ldb() + j];
            worst = std::max(worst, std::abs(sums[j] - sum) / (1e-7 + unit * std::abs(sum)));
          }
          CHECK(worst <= 1);
        }
}

TEST_CASE("gemm: an unknown type is refused by name") {
  Problem p{2, 2, 2};
  p.type_a = f64;
  Values got;
  CHECK_THROWS_WITH_AS(run_call(p, 1, &got), doctest::Contains("f64"), Error);
}
