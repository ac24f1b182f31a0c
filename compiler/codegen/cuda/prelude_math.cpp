// Helpers that compute.
//
// Division and square root are made of the approximate instructions and one step of Newton's on
// the exact remainder: correct to the last place but for rare ties, exact where the quotient or
// root is representable, and without the branch and call of the IEEE forms, which keep elements
// from overlapping. Scaling keeps 1 / b and the remainder within range; where the remainder is NaN
// (0, infinities) the first approximation is the answer.
#include "prelude_helpers.h"

namespace fusec::codegen_cuda {
namespace {

constexpr Helper kHelpers[] = {
    {"rcp_approx", "", R"(
// Within one unit of the last place.
$ float rcp_approx(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}
)"},
    {"divide_large", "rcp_approx", R"(
// a / b for b that is not tiny.
$ float divide_large(float a, float b) {
  const float s = fabsf(b) > 0x1p124f ? 0x1p-8f : 1.0f;
  b *= s, a *= s;
  const float r = rcp_approx(b), q = a * r;
  const float c = fmaf(fmaf(-q, b, a), r, q);
  return c == c ? c : q;
}
)"},
    {"divide", "rcp_approx", R"(
$ float divide(float a, float b) {
  const float size = fabsf(b);
  const float s = size > 0x1p100f ? 0x1p-64f : size < 0x1p-64f ? 0x1p32f : 1.0f;
  b *= s, a *= s;
  const float r = rcp_approx(b), q = a * r;
  const float c = fmaf(fmaf(-q, b, a), r, q);
  return c == c ? c : q;
}
)"},
    {"rsqrt_approx", "", R"(
$ float rsqrt_approx(float v) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}
)"},
    {"root", "rsqrt_approx", R"(
// The square root.
$ float root(float v) {
  const bool tiny = v < 0x1p-70f;
  const float x = tiny ? v * 0x1p64f : v;
  const float r = rsqrt_approx(x), q = x * r;
  const float c = fmaf(fmaf(-q, q, x), 0.5f * r, q);
  const float y = tiny ? c * 0x1p-32f : c;
  return y == y || !(v >= 0.0f) ? y : v;  // 0 and infinity are their own roots
}
)"},
    {"exp2_approx", "", R"(
// Within two units of the last place; results below 2^-126 are 0.
$ float exp2_approx(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}
)"},
    {"tanh_small", "", R"(
// Of |v| < 0.57, but for the sign of 0.
$ float tanh_small(float v) {
  const float u = v * v;
  float p = fmaf(u, 0.0161332935f, -0.0525133163f);
  p = fmaf(u, p, 0.133182943f);
  p = fmaf(u, p, -0.333328456f);
  return fmaf(p * u, v, v);
}
)"},
    {"tanh_f32", "exp2_approx rcp_approx tanh_small", R"(
// Within four units of the last place, without a branch: a polynomial where 1 - 2 / (e^2x + 1)
// would cancel.
$ float tanh_f32(float v) {
  const float far = fmaf(-2.0f, rcp_approx(exp2_approx(fabsf(v) * 2.88539008f) + 1.0f), 1.0f);
  return copysignf(fabsf(v) < 0.57f ? tanh_small(v) : far, v);
}
)"},
    {"any_active", "", R"(
// Whether the test holds for any thread of the warp that is here, too.
$ bool any_active(bool test) {
  unsigned any;
  asm volatile(
      "{ .reg .b32 m; .reg .pred p, q; setp.ne.u32 p, %1, 0; activemask.b32 m; "
      "vote.sync.any.pred q, p, m; selp.u32 %0, 1, 0, q; }"
      : "=r"(any) : "r"((unsigned)test));
  return any != 0;
}
)"},
    {"tanh_lanes", "tanh_f32 any_active", R"(
// tanh_f32 of all lanes: the same bits, for half the work where none of a warp is large.
template <int N>
$ void tanh_lanes(float (&v)[N]) {
  float most = fabsf(v[0]);
#pragma unroll
  for (int j = 1; j < N; ++j) most = fmaxf(most, fabsf(v[j]));
  if (any_active(!(most < 0.57f))) {
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = tanh_f32(v[j]);
  } else {
#pragma unroll
    for (int j = 0; j < N; ++j) v[j] = copysignf(tanh_small(v[j]), v[j]);
  }
}
)"},
    {"exp_below", "exp2_approx", R"(
// e^v of a v that is not above 0, for a sum with a term of 1: off by |v| + 3 units of 2^-24 of
// itself, which is less than 4 of the sum.
$ float exp_below(float v) { return exp2_approx(v * 1.44269504f); }
)"},
    {"max_nan", "", R"(
// The larger; NaN wins.
$ float max_nan(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
)"},
    {"max_nan_f64", "", R"(
$ double max_nan(double a, double b) { return a != a || a > b ? a : b; }
)"},
    {"min_nan", "", R"(
// The smaller; NaN wins.
$ float min_nan(float a, float b) {
  float r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
)"},
    {"min_nan_f64", "", R"(
$ double min_nan(double a, double b) { return a != a || a < b ? a : b; }
)"},
    {"negated", "", R"(
// -v, in two steps: ptxas 13.0 joins a negation with the maximum behind it, wrongly.
$ int negated(int v) {
  int r;
  asm("{ .reg .b32 t; not.b32 t, %1; add.s32 %0, t, 1; }" : "=r"(r) : "r"(v));
  return r;
}
)"},
    {"max_int", "", R"(
template <class T>
$ T max_int(T a, T b) { return a > b ? a : b; }
)"},
    {"min_int", "", R"(
template <class T>
$ T min_int(T a, T b) { return a < b ? a : b; }
)"},
    {"divide_int", "", R"(
// Towards 0; never traps and wraps: x / 0 is x.
template <class T>
$ T divide_int(T a, T b) {
  if (b == 0) return a;
  return b == -1 ? (T)(0ull - (unsigned long long)a) : a / b;
}
)"},
    {"to_i32", "", R"(
// Towards 0; NaN and what does not fit give the least integer.
template <class T>
$ int to_i32(T v) {
  return v > (T)-2147483649.0 && v < (T)2147483648.0 ? (int)v : (int)0x80000000u;
}
)"},
    {"to_i64", "", R"(
// Towards 0; NaN and what does not fit give the least integer.
template <class T>
$ long long to_i64(T v) {
  return v >= (T)-9223372036854775808.0 && v < (T)9223372036854775808.0
             ? (long long)v : (long long)0x8000000000000000ull;
}
)"},
    {"philox_word", "", R"(
// Word 0 of Philox4x32-10 (Salmon et al., SC'11).
$ long long philox_word(long long key, long long counter) {
  unsigned k0 = (unsigned)key, k1 = (unsigned)((unsigned long long)key >> 32);
  unsigned c0 = (unsigned)counter, c1 = (unsigned)((unsigned long long)counter >> 32);
  unsigned c2 = 0, c3 = 0;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned h0 = __umulhi(0xD2511F53u, c0), l0 = 0xD2511F53u * c0;
    const unsigned h1 = __umulhi(0xCD9E8D57u, c2), l1 = 0xCD9E8D57u * c2;
    c0 = h1 ^ c1 ^ k0, c1 = l1, c2 = h0 ^ c3 ^ k1, c3 = l0;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c0;
}
)"},
};

}  // namespace

std::span<const Helper> math_helpers() { return kHelpers; }

}  // namespace fusec::codegen_cuda
