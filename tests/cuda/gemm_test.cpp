// GEMM against a double loop: types, transposes, strides, batches, beta, odd sizes and addresses,
// empty sums. The bound is that of a sum of k rounded products (Higham, "Accuracy and Stability of
// Numerical Algorithms", 3.1), and half a unit of the stored type.
#include <dlfcn.h>

#include <algorithm>
#include <cmath>

#include "gemm_plan.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// Half a unit in the last place of a number near 1, and the least spacing of all, halved.
double rounding(DType t) {
  switch (t) {
    case DType::f64: return std::ldexp(1, -53);
    case DType::bf16: return std::ldexp(1, -8);
    case DType::f16: return std::ldexp(1, -11);
    default: return std::ldexp(1, -24);
  }
}
bool has_part(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}
double least(DType t) { return t == f16 ? std::ldexp(1, -25) : 0; }

// Compares all of C's memory after each of three runs: eager, recorded, replayed.
void check(const Case& x) {
  INFO("m " << x.m << " n " << x.n << " k " << x.k << " batch " << x.batch << " trans " << x.trans_a
            << x.trans_b << " pad " << x.pad << " offset " << x.offset << " beta " << x.beta << " "
            << name_of(x.ab) << " " << name_of(x.c) << " " << x.epilogue);
  GemmPlan plan(x);
  cuda::LoadOptions options;
  options.tf32 = x.tf32;
  std::unique_ptr<Program> p = plan.load(nullptr, options);

  std::string va = values(x.ab, plan.size_a, 1);
  std::string vb = values(plan.type_b, x.batch * plan.stride_b, 2);
  std::string vc = values(x.c, x.batch * plan.stride_c, 3), got(vc.size(), '\0');
  p->write(plan.a, va.data(), va.size());
  p->write(plan.b, vb.data(), vb.size());
  std::string addend = x.in_place ? vc : values(x.c, x.batch * plan.stride_c, 4);
  std::string bias = values(x.c, x.n, 5), aux;
  if (plan.addend >= 0) p->write(plan.addend, addend.data(), addend.size());
  if (plan.bias >= 0) p->write(plan.bias, bias.data(), bias.size());
  std::string pre = values(x.c, x.batch * plan.stride_c, 6);
  if (plan.pre >= 0) p->write(plan.pre, pre.data(), pre.size());
  // Twice the rounding of the sum's type: tensor cores cut off where others round. In tf32 both
  // factors are cut to 10 bits first.
  double unit = x.tf32 ? std::ldexp(1, -9) : 2 * rounding(x.c == f64 ? f64 : f32);
  std::vector<double> want_aux, bound_aux;
  std::vector<double> want, bound;  // of every element of C's memory; what is no part of C stays
  for (int64_t at = 0; at < x.batch * plan.stride_c; ++at) {
    int64_t item = at / plan.stride_c, i = at % plan.stride_c / plan.ldc, j = at % plan.ldc;
    double old = load_as_double(vc.data(), x.c, at), sum = 0, size = 0;
    for (int64_t q = 0; q < x.k && j < x.n; ++q) {
      int64_t at_a = x.trans_a ? q * plan.lda + i : i * plan.lda + q;
      int64_t at_b = x.trans_b ? j * plan.ldb + q : q * plan.ldb + j;
      double u = load_as_double(va.data(), x.ab, x.offset + item * plan.stride_a + at_a);
      double v = load_as_double(vb.data(), plan.type_b, item * plan.stride_b + at_b);
      sum += u * v, size += std::fabs(u * v);
    }
    if (x.beta == 0 && j < x.n) old = 0;
    want.push_back(j < x.n ? x.alpha * sum + x.beta * old : old);
    bound.push_back(j < x.n ? static_cast<double>(x.k + 3) * unit *
                                      (std::fabs(x.alpha) * size + std::fabs(x.beta * old)) +
                                  rounding(x.c) * std::fabs(want.back()) + least(x.c)
                            : 0);
    if (j >= x.n || !plan.epilogue.any()) continue;
    double& v = want.back();
    double wide = bound.back() - rounding(x.c) * std::fabs(v);  // before it is stored
    // cuBLASLt may have stored the product with its bias before the addend, or with the addend
    // before the rest.
    double add = plan.epilogue.add ? load_as_double(addend.data(), x.c, at) : 0;
    double bias_j = plan.epilogue.bias ? load_as_double(bias.data(), x.c, j) : 0;
    if (!on_stand_in())
      wide += rounding(x.c) * std::max(std::fabs(v + add), std::fabs(v + bias_j)) + least(x.c);
    v += add + bias_j;
    wide += 2 * unit * (std::fabs(v) + 2);
    if (plan.epilogue.aux) want_aux.push_back(v);
    if (plan.epilogue.aux) bound_aux.push_back(wide + rounding(x.c) * std::fabs(v));
    if (plan.epilogue.gelu) {
      // No slope of GELU is above 1.13. cuBLASLt may take tanh from the hardware, to 2^-11.
      wide = 1.13 * wide + 0.5 * std::fabs(v) * (on_stand_in() ? unit : std::ldexp(1, -10));
      v = 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    }
    if (plan.epilogue.dgelu) {
      // Of pre in [-1, 1]: a slope is at most 1.1, and changes by 1.3 times what tanh does.
      double u = load_as_double(pre.data(), x.c, at);
      double t = std::tanh(0.7978845608028654 * (u + 0.044715 * u * u * u));
      wide = 1.1 * wide + std::fabs(v) * (on_stand_in() ? 8 * unit : 1.3 * std::ldexp(1, -10));
      v *= 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * u * u);
    }
    bound.back() = wide + rounding(x.c) * std::fabs(v);
  }
  std::vector<double> want_sums, bound_sums;
  for (int64_t j = 0; plan.sums >= 0 && j < (plan.epilogue.bgrada ? x.m : x.n); ++j) {
    double sum = 0, size = 0, error = 0;
    for (int64_t q = 0; q < (plan.epilogue.bgrad ? x.m : x.k); ++q) {
      int64_t at_a = x.trans_a ? q * plan.lda + j : j * plan.lda + q;
      int64_t at_b = x.trans_b ? j * plan.ldb + q : q * plan.ldb + j;
      double term = plan.epilogue.bgrad    ? want[static_cast<size_t>(q * plan.ldc + j)]
                    : plan.epilogue.bgrada ? load_as_double(va.data(), x.ab, x.offset + at_a)
                                           : load_as_double(vb.data(), plan.type_b, at_b);
      sum += term, size += std::fabs(term);
      if (plan.epilogue.bgrad) error += bound[static_cast<size_t>(q * plan.ldc + j)];
    }
    want_sums.push_back(sum);
    bound_sums.push_back(error + static_cast<double>(x.m + x.k) * unit * size +
                         rounding(x.c) * (std::fabs(sum) + error) + least(x.c));
  }
  for (int run = 0; run < 3; ++run) {
    p->write(plan.c, vc.data(), vc.size());
    p->run();
    p->read(plan.c, got.data(), got.size());
    size_t wrong = 0, first = 0;
    for (size_t at = want.size(); at-- > 0;)
      if (!(std::fabs(load_as_double(got.data(), x.c, at) - want[at]) <= bound[at]))
        ++wrong, first = at;
    INFO("run " << run << ", element " << first);
    if (wrong > 0) CHECK(load_as_double(got.data(), x.c, first) == want[first]);
    CHECK(wrong == 0);
    for (size_t j = 0; j < want_sums.size(); ++j) {
      std::string sums(want_sums.size() * static_cast<size_t>(size_of(x.c)), '\0');
      p->read(plan.sums, sums.data(), sums.size());
      INFO("sum " << j);
      double v = load_as_double(sums.data(), x.c, static_cast<int64_t>(j));
      REQUIRE(std::fabs(v - want_sums[j]) <= bound_sums[j]);
    }
    if (plan.aux < 0) continue;
    aux.resize(vc.size());
    p->read(plan.aux, aux.data(), aux.size());
    for (size_t i = 0; i < want_aux.size(); ++i) {
      auto row = static_cast<int64_t>(i) / x.n, col = static_cast<int64_t>(i) % x.n;
      int64_t at = row / x.m * plan.stride_c + row % x.m * plan.ldc + col;
      INFO("aux of row " << row << ", column " << col);
      REQUIRE(std::fabs(load_as_double(aux.data(), x.c, at) - want_aux[i]) <= bound_aux[i]);
    }
  }
}

}  // namespace

TEST_CASE("GEMM: transposes, sizes and strides of every kind, in every type") {
  if (no_gpu()) return;
  for (bool trans_a : {false, true})
    for (bool trans_b : {false, true})
      for (DType type : {f32, bf16, f16, f64}) {
        for (Case x : {Case{64, 48, 32}, Case{1, 128, 64}, Case{128, 1, 64}, Case{33, 65, 17},
                       Case{5, 3, 1}, Case{1, 1, 1}, Case{70, 130, 40}}) {
          x.trans_a = trans_a, x.trans_b = trans_b;
          x.ab = x.c = type;
          check(x);
          x.batch = 3, x.pad = 8, x.alpha = 0.5, x.beta = -0.25;
          check(x);
          x.pad = 3;
          check(x);
        }
      }
}

TEST_CASE("GEMM: sums kept in f32, accumulated in place") {
  if (no_gpu()) return;
  for (DType type : {bf16, f16})
    for (double beta : {0.0, 1.0}) {
      Case x{96, 64, 160};
      x.ab = type, x.beta = beta, x.trans_a = true;
      check(x);
      x.pad = 1;
      check(x);
    }
}

TEST_CASE("GEMM: addresses that are not aligned") {
  if (no_gpu()) return;
  for (int64_t offset : {1, 2, 4, 8, 64})
    for (DType type : {f32, bf16}) {
      Case x{64, 64, 64};
      x.ab = x.c = type, x.offset = offset;
      check(x);
    }
}

TEST_CASE("GEMM: operands of two types, and a type that cuBLASLt does not combine") {
  if (no_gpu()) return;
  Case x{40, 72, 24};
  x.ab = bf16, x.b = f32, x.mixed = true;
  check(x);
  x.ab = f32, x.b = f16, x.c = bf16;
  check(x);
  x = Case{40, 72, 24};
  x.ab = f32, x.c = bf16, x.beta = 2;
  check(x);
}

TEST_CASE("GEMM: epilogues, by cuBLASLt and by the own kernel") {
  if (no_gpu()) return;
  for (const char* epilogue :
       {"add", "bias", "add_bias", "gelu", "bias_gelu", "gelu_aux", "bias_gelu_aux",
        "add_bias_gelu_aux", "dgelu", "dgelu_bgrad", "bgrada", "bgradb", "add_bgrada"})
    for (DType c : {bf16, f16, f32})
      for (int64_t n : {64, 72, 13}) {  // rows of 13 are the own kernel's
        Case x{40, n, 48};
        x.ab = c == f32 ? bf16 : c, x.c = c, x.epilogue = epilogue;
        check(x);
        x.trans_b = true, x.pad = 8, x.alpha = 0.5;
        check(x);
        if (!GemmPlan(x).epilogue.sums()) x.batch = 2;  // the own kernel's, too
        check(x);
        x.trans_a = !x.trans_b;
        check(x);
        x.k = 0;
        check(x);
        if (!GemmPlan(x).epilogue.add) continue;
        x.in_place = true;
        check(x);
        x.k = 48, x.batch = 1;
        check(x);
        x.pad = 0, x.alpha = 1;
        check(x);
      }
  Case x{40, 64, 48};
  x.epilogue = "bias_gelu_aux";
  x.ab = x.c = bf16;
  std::string line = GemmPlan(x).load()->backend("gemm");
  if (!std::getenv("STAND_IN_NO_CUBLASLT")) CHECK(!has_part(line, "own kernel"));
  x.epilogue = "dgelu_bgrad";
  line = GemmPlan(x).load()->backend("gemm");
  if (!std::getenv("STAND_IN_NO_CUBLASLT")) CHECK(!has_part(line, "own kernel"));
  x.epilogue = "bias_gelu_aux";
  x.n = 60;  // rows of aux that are no multiples of 8
  line = GemmPlan(x).load()->backend("gemm");
  CHECK(has(line, "1 by an own kernel"));
}

TEST_CASE("GEMM: sums that cuBLASLt has no algorithm for are a kernel's behind its product") {
  if (no_gpu() || !on_stand_in() || std::getenv("STAND_IN_NO_CUBLASLT")) return;
  setenv("STAND_IN_NO_SUMS", "1", 1);
  for (const char* epilogue : {"dgelu_bgrad", "bgrada", "bgradb", "add_bgradb"})
    for (bool trans : {false, true}) {
      Case x{44, 72, 56};  // sizes that no other test asks an algorithm for
      x.ab = x.c = bf16, x.epilogue = epilogue, x.trans_a = trans, x.trans_b = trans;
      CHECK(!has_part(GemmPlan(x).load()->backend("gemm"), "own kernel"));
      check(x);
    }
  unsetenv("STAND_IN_NO_SUMS");
}

TEST_CASE("GEMM: an empty sum, and empty results") {
  if (no_gpu()) return;
  for (const char* epilogue : {"dgelu_bgrad", "bgrada", "bgradb"})
    for (Case x : {Case{0, 24, 8}, Case{24, 0, 8}, Case{24, 16, 0}, Case{0, 0, 8}}) {
      x.epilogue = epilogue;
      check(x);
    }
  for (double beta : {0.0, 1.5}) {
    Case x{20, 36, 0};
    x.beta = beta, x.batch = 2;
    check(x);
    x.ab = x.c = f64;
    check(x);
  }
  check(Case{0, 36, 8});
  check(Case{8, 0, 8});
  Case none{8, 8, 8};
  none.batch = 0;
  check(none);
}

TEST_CASE("GEMM: large enough for workspace, and in tf32") {
  if (no_gpu() || on_stand_in()) return;
  for (DType type : {f32, bf16}) {
    Case x{256, 384, 4096};
    x.ab = x.c = type;
    check(x);
  }
  Case x{256, 256, 256};
  x.tf32 = true;
  check(x);
}

TEST_CASE("GEMM: the line of the start-up table says what serves it") {
  if (no_gpu()) return;
  Case x{64, 64, 64};
  std::string line = GemmPlan(x).load()->backend("gemm");
  bool absent = std::getenv("STAND_IN_NO_CUBLASLT") != nullptr;
  if (absent) CHECK(has(line, "1 by an own kernel (cuBLASLt 13.99"));
  if (absent) CHECK(has(line, "does not start on Stand-in"));
  if (on_stand_in() && !absent) CHECK(has(line, "cuBLASLt 13.99 ("));
  if (on_stand_in() && !absent) CHECK(has(line, "libcublasLt.so.13), tf32 off"));
  if (absent) return;
  x.offset = 1;  // an address that the stand-in's algorithm does not take
  x.ab = x.b = x.c = bf16;
  line = GemmPlan(x).load()->backend("gemm");
  if (on_stand_in()) CHECK(has(line, "1 by an own kernel (cuBLASLt has no algorithm for m 64"));
}

TEST_CASE("GEMM: equal products ask for an algorithm once, and others for their own") {
  if (no_gpu() || !on_stand_in() || std::getenv("STAND_IN_NO_CUBLASLT")) return;
  Case x{72, 88, 104};
  x.c = x.ab = x.b = bf16;
  GemmPlan(x).load()->backend("gemm");
  std::string path = std::getenv("FUSEC_CUDA_PATH");
  void* library = dlopen((path + "/libcublasLt.so.13").c_str(), RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(library);
  auto* asked = reinterpret_cast<int (*)()>(dlsym(library, "fusec_stand_in_heuristics"));
  int before = asked();
  GemmPlan(x).load()->backend("gemm");
  check(x);
  CHECK(asked() == before);
  // One that has no algorithm is not kept, so it is asked for anew.
  x.offset = 1;
  GemmPlan(x).load()->backend("gemm");
  GemmPlan(x).load()->backend("gemm");
  CHECK(asked() == before + 2);
}

TEST_CASE("GEMM: other types are refused as on the CPU") {
  if (no_gpu()) return;
  Case x{8, 8, 8};
  x.ab = f64, x.c = f32;
  CHECK(has(error_of([&] { check(x); }, ErrorKind::unsupported), "f64 throughout"));
}
