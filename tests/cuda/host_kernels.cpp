// The kernels that the tests launch on the stand-in, in C++: those of cuda_plan.h, and those of the
// library calls that the tests of the executor use.
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

#include "call.h"
#include "fusec/base/dtype.h"
#include "fusec/core/normal_fill.h"
#include "stand_in/stand_in.h"

using fusec::DType;
using fusec::cuda::Status;
using fusec::test::HostKernel;

namespace {

template <class T>
T arg(void** args, int i) {
  T value;
  std::memcpy(&value, args[i], sizeof value);
  return value;
}
bool stopped(void** args, int i) {
  auto* skip = arg<const unsigned*>(args, i);
  return skip && *skip != 0;
}

void scale(void** args, unsigned blocks, const std::string&) {
  auto* x = arg<const float*>(args, 0);
  auto* y = arg<float*>(args, 1);
  auto n = arg<int64_t>(args, 2);
  if (stopped(args, 3)) return;
  for (int64_t i = 0; i < n && i < blocks * 128ll; ++i) y[i] = 2 * x[i];
}

void add(void** args, unsigned blocks, const std::string&) {
  auto* x = arg<const float*>(args, 0);
  auto* y = arg<float*>(args, 1);
  auto n = arg<int64_t>(args, 2);
  if (stopped(args, 3)) return;
  for (int64_t i = 0; i < n && i < blocks * 128ll; ++i) y[i] += x[i];
}

void scales(void** args, unsigned blocks, const std::string&) {
  auto* table = arg<const uint64_t*>(args, 0);
  auto segments = arg<int>(args, 1);
  if (stopped(args, 2)) return;
  for (unsigned block = 0; block < blocks; ++block) {
    int s = 0;
    while (s + 1 < segments && table[(s + 1) * 4] <= block) ++s;
    const uint64_t* row = table + s * 4;
    for (int t = 0; t < 128; ++t) {
      auto i = static_cast<int64_t>((block - row[0]) * 128 + t);
      if (i < static_cast<int64_t>(row[1]))
        std::bit_cast<float*>(row[3])[i] = 2 * std::bit_cast<const float*>(row[2])[i];
    }
  }
}

// The text names the types: "typedef Bf16 A;".
DType type_in(const std::string& text, const char* name) {
  auto is = [&](const char* type) {
    return text.find(std::string("typedef ") + type + " " + name + ";") != std::string::npos;
  };
  return is("double") ? fusec::f64 : is("Bf16") ? fusec::bf16 : is("F16") ? fusec::f16 : fusec::f32;
}

void gemm(void** args, unsigned blocks, const std::string& text) {
  auto number = [&](int i) { return arg<int64_t>(args, i); };
  if (stopped(args, 18)) return;
  int64_t m = number(3), n = number(4), k = number(5), lda = number(6), ldb = number(7),
          ldc = number(8);
  auto is = [&](const char* name) {
    return text.find(std::string(name) + " = true") != std::string::npos;
  };
  bool trans_a = is("kTransA"), trans_b = is("kTransB");
  double alpha = arg<double>(args, 12), beta = arg<double>(args, 13);
  DType ta = type_in(text, "A"), tb = type_in(text, "B"), tc = type_in(text, "C");
  auto* a = arg<const char*>(args, 0);
  auto* b = arg<const char*>(args, 1);
  auto* c = arg<char*>(args, 2);
  int64_t batch = blocks / ((m + 63) / 64 * ((n + 63) / 64));
  for (int64_t item = 0; item < batch; ++item)
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t p = 0; p < k; ++p)
          sum += fusec::load_as_double(a, ta,
                                       item * number(9) + (trans_a ? p * lda + i : i * lda + p)) *
                 fusec::load_as_double(b, tb,
                                       item * number(10) + (trans_b ? j * ldb + p : p * ldb + j));
        int64_t at = item * number(11) + i * ldc + j;
        double old = beta == 0 ? 0 : beta * fusec::load_as_double(c, tc, at);
        double x = alpha * sum + old;
        if (is("kAdd")) x += fusec::load_as_double(arg<const char*>(args, 15), tc, at);
        if (is("kBias")) x += fusec::load_as_double(arg<const char*>(args, 16), tc, j);
        if (is("kAux")) fusec::store_from_double(arg<char*>(args, 14), tc, at, x);
        if (is("kGelu"))
          x = 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
        if (is("kDgelu")) {
          double u = fusec::load_as_double(arg<const char*>(args, 17), tc, at);
          double t = std::tanh(0.7978845608028654 * (u + 0.044715 * u * u * u));
          x *= 0.5 * (1 + t) + 0.5 * u * (1 - t * t) * 0.7978845608028654 * (1 + 0.134145 * u * u);
        }
        fusec::store_from_double(c, tc, at, x);
      }
}

void gemm_sums(void** args, unsigned blocks, const std::string& text) {
  auto number = [&](int i) { return arg<int64_t>(args, i); };
  if (stopped(args, 5)) return;
  const char* of = text.find("typedef C X;") != std::string::npos   ? "C"
                   : text.find("typedef A X;") != std::string::npos ? "A"
                                                                    : "B";
  bool across = text.find("kAcross = true") != std::string::npos;
  for (int64_t j = 0; j < number(2) && j < blocks * 32ll; ++j) {
    double sum = 0;
    for (int64_t r = 0; r < number(3); ++r)
      sum += fusec::load_as_double(arg<const char*>(args, 0), type_in(text, of),
                                   across ? r * number(4) + j : j * number(4) + r);
    fusec::store_from_double(arg<char*>(args, 1), type_in(text, "C"), j, sum);
  }
}

void guard(void** args, unsigned, const std::string&) {
  if (!std::isfinite(*arg<const float*>(args, 0))) arg<Status*>(args, 1)->skip = 1;
}

// Rows of one float, i32 indices.
void gather(void** args, unsigned, const std::string&) {
  auto* table = arg<const float*>(args, 0);
  auto* index = arg<const int*>(args, 1);
  auto* out = arg<float*>(args, 2);
  auto* status = arg<Status*>(args, 6);
  auto rows = arg<int64_t>(args, 4);
  for (int i = arg<int>(args, 3) - 1; i >= 0; --i) {  // backwards: the last bad index wins
    out[i] = index[i] < 0 || index[i] >= rows ? 0 : table[index[i]];
    if (index[i] < rows || status->error != 0) continue;
    *status = {1, 1, arg<int>(args, 7), index[i], rows};
  }
}

void draw_normal(void** args, unsigned, const std::string&) {
  fusec::fill_normal(arg<float*>(args, 0), 0, arg<int64_t>(args, 1), arg<float>(args, 2),
                     arg<uint64_t>(args, 3), arg<uint64_t>(args, 4));
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default"))) const HostKernel

EXPORT fusec_kernel_scale{4, scale};
EXPORT fusec_kernel_add{4, add};
EXPORT fusec_kernel_scales{3, scales};
EXPORT fusec_kernel_fusec_draw_normal{5, draw_normal};
EXPORT fusec_kernel_fusec_gemm{19, gemm};
EXPORT fusec_kernel_fusec_gemm_sums{6, gemm_sums};
EXPORT fusec_kernel_fusec_guard{2, guard};
EXPORT fusec_kernel_fusec_gather{8, gather};
