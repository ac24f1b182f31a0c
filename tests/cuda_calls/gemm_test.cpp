// The own GEMM's CUDA text with every epilogue, run on the host thread by thread, against the CPU
// device: both sum in f32 and round once, in other orders.
#include <doctest/doctest.h>

#include <array>
#include <cmath>

#include "fusec/base/philox.h"
#include "operands.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Product {
  int64_t m, n, k;
  bool trans_a, trans_b;
  DType type;
  const char* epilogue;
};

LibraryCall call_of(const Product& p) {
  LibraryCall call;
  call.name = "gemm";
  const std::string type(name_of(p.type));
  call.attrs = {{"m", p.m},
                {"n", p.n},
                {"k", p.k},
                {"batch", int64_t{1}},
                {"lda", p.trans_a ? p.m : p.k},
                {"ldb", p.trans_b ? p.k : p.n},
                {"ldc", p.n},
                {"stride_a", p.m * p.k},
                {"stride_b", p.k * p.n},
                {"stride_c", p.m * p.n},
                {"trans_a", int64_t{p.trans_a}},
                {"trans_b", int64_t{p.trans_b}},
                {"type_a", type},
                {"type_b", type},
                {"type_c", type},
                {"alpha", 1.0},
                {"beta", 0.0},
                {"epilogue", std::string(p.epilogue)}};
  size_t arguments = epilogue_of(call).arguments();
  for (size_t i = 0; i < arguments; ++i) call.args.push_back({static_cast<int>(i), 0});
  return call;
}

std::vector<Operand> operands_of(const Product& p, const GemmEpilogue& e) {
  int64_t c = p.m * p.n;
  std::vector<Operand> out = {{random_values(p.m * p.k, 1), p.type},
                              {random_values(p.k * p.n, 2), p.type},
                              {Values(c, 1), p.type}};
  if (e.aux) out.push_back({Values(c, 1), p.type});
  if (e.sums()) out.push_back({Values(e.bgrada ? p.m : p.n, 1), p.type});
  if (e.add) out.push_back({random_values(c, 3), p.type});
  if (e.bias) out.push_back({random_values(p.n, 4), p.type});
  if (e.dgelu) out.push_back({random_values(c, 5), p.type});
  return out;
}

// Twice the rounding of the stored type, and of sums of `terms` numbers below 2 in f32.
void check_near(const Values& got, const Values& want, DType type, int64_t terms) {
  double unit = type == bf16 ? 1.0 / 128 : type == f16 ? 1.0 / 1024 : 1e-6, worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    double allowed = unit * std::abs(want[i]) + 2e-6 * std::sqrt(1.0 + static_cast<double>(terms));
    worst = std::max(worst, std::abs(got[i] - want[i]) / allowed);
  }
  CHECK(worst <= 1);
}

}  // namespace

TEST_CASE("own GEMM: epilogues, odd sizes and sizes of 0") {
  Checks checks;
  for (const char* epilogue :
       {"none", "add_bias_gelu_aux", "dgelu", "dgelu_bgrad", "bgrada", "bgradb", "add_bgradb"})
    for (DType type : {f32, bf16, f16})
      for (int trans = 0; trans < 4; ++trans) {
        if (type != bf16 && trans != 1) continue;
        Product any{0, 0, 0, (trans & 1) != 0, (trans & 2) != 0, type, epilogue};
        any.m = any.n = any.k = 1;
        checks.add({{call_of(any)}}, [=] {
          for (auto [m, n, k] : {std::array<int64_t, 3>{70, 66, 20},
                                 {5, 3, 1},
                                 {33, 7, 100},
                                 {64, 64, 16},
                                 {3, 40, 0},
                                 {0, 5, 3},
                                 {5, 0, 3}}) {
            Product p = any;
            p.m = m, p.n = n, p.k = k;
            INFO(p.epilogue << " " << std::string(name_of(type)) << " trans " << trans << " m " << m
                            << " n " << n << " k " << k);
            LibraryCall call = call_of(p);
            GemmEpilogue e = epilogue_of(call);
            std::vector<Operand> in = operands_of(p, e);
            std::vector<Values> got = run_text(call, in), want = run_cpu(call, in);
            check_near(got[2], want[2], type, k);
            if (e.aux) check_near(got[e.aux_at()], want[e.aux_at()], type, k);
            // Sums of C: its elements may differ by their rounding, each.
            if (!e.sums()) continue;
            Values sums = want[e.sums_at()];
            if (e.bgrad)
              for (int64_t j = 0; j < n; ++j) {
                sums[j] = 0;
                for (int64_t i = 0; i < m; ++i) sums[j] += got[2][i * n + j];
              }
            check_near(got[e.sums_at()], sums, type, e.bgrad ? m : k);
          }
        });
      }
  checks.run();
}

TEST_CASE("own GEMM: a stopped commit step writes nothing") {
  Product p{20, 12, 8, false, false, f32, "dgelu_bgrad"};
  LibraryCall call = call_of(p);
  std::vector<Operand> in = operands_of(p, epilogue_of(call));
  cuda::Status status;
  std::vector<Values> got = run_text(call, in, &status, true);
  CHECK(got[2] == in[2].values);
  CHECK(got[3] == in[3].values);
}
