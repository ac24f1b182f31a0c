// The helpers' text. A value of a type of 1 or 2 bytes travels packed in 32-bit words until it is
// used, so that a row kept in registers takes no more of them than it has bytes.
//
// Division and square root are made of the approximate instructions and one step of Newton's on
// the exact remainder: correct to the last place but for rare ties, exact where the quotient or
// root is representable, and without the branch and call of the IEEE forms, which keep elements
// from overlapping. Scaling keeps 1 / b and the remainder within range; where the remainder is NaN
// (0, infinities) the first approximation is the answer.
#include "prelude.h"

#include <sstream>
#include <string_view>

#include "fusec/base/error.h"

namespace fusec::codegen_cuda {
namespace {

struct Helper {
  const char* name;
  const char* needs;  // names, separated by spaces
  const char* text;
};

constexpr Helper kHelpers[] = {
    {"from_bf16", "", R"(
$ float from_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }
)"},
    {"to_bf16", "", R"(
// To nearest even.
$ unsigned short to_bf16(float v) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}
)"},
    {"round_bf16", "from_bf16 to_bf16", R"(
$ float round_bf16(float v) { return from_bf16(to_bf16(v)); }
)"},
    {"from_f16", "", R"(
$ float from_f16(unsigned short bits) {
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
  return v;
}
)"},
    {"to_f16", "", R"(
$ unsigned short to_f16(float v) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}
)"},
    {"round_f16", "from_f16 to_f16", R"(
$ float round_f16(float v) { return from_f16(to_f16(v)); }
)"},
    {"f32_at", "", R"(
// Lane j of packed words.
template <int N>
$ float f32_at(const unsigned (&w)[N], int j) { return __uint_as_float(w[j]); }
)"},
    {"f64_at", "", R"(
template <int N>
$ double f64_at(const unsigned (&w)[N], int j) {
  return __hiloint2double((int)w[2 * j + 1], (int)w[2 * j]);
}
)"},
    {"i32_at", "", R"(
template <int N>
$ int i32_at(const unsigned (&w)[N], int j) { return (int)w[j]; }
)"},
    {"i64_at", "", R"(
template <int N>
$ long long i64_at(const unsigned (&w)[N], int j) {
  return (long long)((unsigned long long)w[2 * j + 1] << 32 | w[2 * j]);
}
)"},
    {"u8_at", "", R"(
template <int N>
$ unsigned char u8_at(const unsigned (&w)[N], int j) { return w[j / 4] >> (8 * (j & 3)) & 255; }
)"},
    {"b8_at", "", R"(
template <int N>
$ bool b8_at(const unsigned (&w)[N], int j) { return (w[j / 4] >> (8 * (j & 3)) & 255) != 0; }
)"},
    {"bf16_at", "", R"(
template <int N>
$ float bf16_at(const unsigned (&w)[N], int j) {
  return __uint_as_float(j & 1 ? w[j / 2] & 0xffff0000u : w[j / 2] << 16);
}
)"},
    {"f16_at", "from_f16", R"(
template <int N>
$ float f16_at(const unsigned (&w)[N], int j) {
  return from_f16((unsigned short)(w[j / 2] >> (16 * (j & 1))));
}
)"},
    {"pack_f32", "", R"(
template <int N, int C>
$ void pack_f32(unsigned (&w)[N], const float (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = __float_as_uint(v[j]);
}
)"},
    {"pack_f64", "", R"(
template <int N, int C>
$ void pack_f64(unsigned (&w)[N], const double (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    w[2 * j] = (unsigned)__double2loint(v[j]);
    w[2 * j + 1] = (unsigned)__double2hiint(v[j]);
  }
}
)"},
    {"pack_i32", "", R"(
template <int N, int C>
$ void pack_i32(unsigned (&w)[N], const int (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = (unsigned)v[j];
}
)"},
    {"pack_i64", "", R"(
template <int N, int C>
$ void pack_i64(unsigned (&w)[N], const long long (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    w[2 * j] = (unsigned)(unsigned long long)v[j];
    w[2 * j + 1] = (unsigned)((unsigned long long)v[j] >> 32);
  }
}
)"},
    {"pack_u8", "", R"(
template <class T, int N, int C>
$ void pack_u8(unsigned (&w)[N], const T (&v)[C]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    w[i] = 0;
#pragma unroll
    for (int j = 4 * i; j < 4 * i + 4 && j < C; ++j) w[i] |= (unsigned)v[j] << (8 * (j & 3));
  }
}
)"},
    {"bf16_pair", "", R"(
$ unsigned bf16_pair(float low, float high) {
  unsigned w;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
)"},
    {"pack_bf16", "to_bf16 bf16_pair", R"(
template <int N, int C>
$ void pack_bf16(unsigned (&w)[N], const float (&v)[C]) {
  if constexpr (C == 1) {
    w[0] = to_bf16(v[0]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) w[i] = bf16_pair(v[2 * i], v[2 * i + 1]);
  }
}
)"},
    {"f16_pair", "", R"(
$ unsigned f16_pair(float low, float high) {
  unsigned w;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}
)"},
    {"pack_f16", "to_f16 f16_pair", R"(
template <int N, int C>
$ void pack_f16(unsigned (&w)[N], const float (&v)[C]) {
  if constexpr (C == 1) {
    w[0] = to_f16(v[0]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) w[i] = f16_pair(v[2 * i], v[2 * i + 1]);
  }
}
)"},
    {"Reuse", "", R"(
enum Reuse { again, once };  // once: the first to leave the caches
)"},
    {"fetch", "Reuse", R"(
template <Reuse R, class T>
$ T fetch(const T* at) {
  if constexpr (R == once)
    return __ldcs(at);
  else
    return *at;
}
)"},
    {"load", "fetch", R"(
// BYTES bytes into words, in accesses of B bytes.
template <int B, int BYTES, Reuse R = again, int N>
$ void load(unsigned (&w)[N], const void* from) {
  if constexpr (B == 16) {
#pragma unroll
    for (int i = 0; i < BYTES / 16; ++i) {
      const uint4 v = fetch<R>(static_cast<const uint4*>(from) + i);
      w[4 * i] = v.x, w[4 * i + 1] = v.y, w[4 * i + 2] = v.z, w[4 * i + 3] = v.w;
    }
  } else if constexpr (B == 8) {
#pragma unroll
    for (int i = 0; i < BYTES / 8; ++i) {
      const uint2 v = fetch<R>(static_cast<const uint2*>(from) + i);
      w[2 * i] = v.x, w[2 * i + 1] = v.y;
    }
  } else if constexpr (B == 4) {
#pragma unroll
    for (int i = 0; i < BYTES / 4; ++i) w[i] = fetch<R>(static_cast<const unsigned*>(from) + i);
  } else if constexpr (B == 2) {
#pragma unroll
    for (int i = 0; i < BYTES / 2; ++i) {
      const unsigned v = fetch<R>(static_cast<const unsigned short*>(from) + i);
      w[i / 2] = i & 1 ? w[i / 2] | v << 16 : v;
    }
  } else {
#pragma unroll
    for (int i = 0; i < BYTES; ++i) {
      const unsigned v = fetch<R>(static_cast<const unsigned char*>(from) + i);
      w[i / 4] = i & 3 ? w[i / 4] | v << (8 * (i & 3)) : v;
    }
  }
}
)"},
    {"load_strided", "", R"(
// C elements of S bytes, `stride` elements apart, into words; the last one again past `end`.
template <int S, int C, int N>
$ void load_strided(unsigned (&w)[N], const void* from, long long stride, long long end = C) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    const long long at = (j < end ? j : end - 1) * stride;
    if constexpr (S == 8) {
      const uint2 v = static_cast<const uint2*>(from)[at];
      w[2 * j] = v.x, w[2 * j + 1] = v.y;
    } else if constexpr (S == 4) {
      w[j] = static_cast<const unsigned*>(from)[at];
    } else if constexpr (S == 2) {
      const unsigned v = static_cast<const unsigned short*>(from)[at];
      w[j / 2] = j & 1 ? w[j / 2] | v << 16 : v;
    } else {
      const unsigned v = static_cast<const unsigned char*>(from)[at];
      w[j / 4] = j & 3 ? w[j / 4] | v << (8 * (j & 3)) : v;
    }
  }
}
)"},
    {"put", "Reuse", R"(
template <Reuse R, class T>
$ void put(T* at, T v) {
  if constexpr (R == once)
    __stcs(at, v);
  else
    *at = v;
}
)"},
    {"store", "put", R"(
// BYTES bytes of words to memory, in accesses of B bytes.
template <int B, int BYTES, Reuse R = again, int N>
$ void store(void* to, const unsigned (&w)[N]) {
  if constexpr (B == 16) {
#pragma unroll
    for (int i = 0; i < BYTES / 16; ++i)
      put<R>(static_cast<uint4*>(to) + i,
        make_uint4(w[4 * i], w[4 * i + 1], w[4 * i + 2], w[4 * i + 3]));
  } else if constexpr (B == 8) {
#pragma unroll
    for (int i = 0; i < BYTES / 8; ++i)
      put<R>(static_cast<uint2*>(to) + i, make_uint2(w[2 * i], w[2 * i + 1]));
  } else if constexpr (B == 4) {
#pragma unroll
    for (int i = 0; i < BYTES / 4; ++i) put<R>(static_cast<unsigned*>(to) + i, w[i]);
  } else if constexpr (B == 2) {
#pragma unroll
    for (int i = 0; i < BYTES / 2; ++i)
      put<R>(static_cast<unsigned short*>(to) + i, (unsigned short)(w[i / 2] >> (16 * (i & 1))));
  } else {
#pragma unroll
    for (int i = 0; i < BYTES; ++i)
      put<R>(static_cast<unsigned char*>(to) + i, (unsigned char)(w[i / 4] >> (8 * (i & 3))));
  }
}
)"},
    {"store_strided", "", R"(
// C elements of S bytes from words to memory, `stride` elements apart; those from `end` on are not.
template <int S, int C, int N>
$ void store_strided(void* to, const unsigned (&w)[N], long long stride, long long end = C) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    if (j >= end) continue;
    const long long at = j * stride;
    if constexpr (S == 8)
      static_cast<uint2*>(to)[at] = make_uint2(w[2 * j], w[2 * j + 1]);
    else if constexpr (S == 4)
      static_cast<unsigned*>(to)[at] = w[j];
    else if constexpr (S == 2)
      static_cast<unsigned short*>(to)[at] = (unsigned short)(w[j / 2] >> (16 * (j & 1)));
    else
      static_cast<unsigned char*>(to)[at] = (unsigned char)(w[j / 4] >> (8 * (j & 3)));
  }
}
)"},
    {"hide", "", R"(
// Values made of these words are made anew from here on, instead of being kept in registers.
template <int K, int N>
$ void hide(unsigned (&w)[K][N]) {
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int i = 0; i < N; ++i) asm("" : "+r"(w[k][i]));
}
)"},
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
    {"copy_ahead", "", R"(
// BYTES bytes of memory to shared memory, in copies of B bytes that go on beside this thread.
template <int B, int BYTES>
$ void copy_ahead(unsigned char* to, const void* from) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(to);
#pragma unroll
  for (int i = 0; i < BYTES; i += B) {
    const char* source = static_cast<const char*>(from) + i;
    if constexpr (B == 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at + i), "l"(source)
                   : "memory");
    else
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(at + i), "l"(source), "n"(B)
                   : "memory");
  }
}
)"},
    {"end_group", "", R"(
// The copies of this thread since the last group become one.
$ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
)"},
    {"wait_groups", "", R"(
// Waits for the copies of this thread, but for its N last groups.
template <int N>
$ void wait_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
)"},
    {"Sum", "", R"(
struct Sum {
  template <class T>
  static $ T join(T a, T b) { return a + b; }
};
)"},
    {"Max", "max_nan max_nan_f64 max_int", R"(
struct Max {
  static $ float join(float a, float b) { return max_nan(a, b); }
  static $ double join(double a, double b) { return max_nan(a, b); }
  template <class T>
  static $ T join(T a, T b) { return max_int(a, b); }
};
)"},
    {"Min", "min_nan min_nan_f64 min_int", R"(
struct Min {
  static $ float join(float a, float b) { return min_nan(a, b); }
  static $ double join(double a, double b) { return min_nan(a, b); }
  template <class T>
  static $ T join(T a, T b) { return min_int(a, b); }
};
)"},
    {"add_exps", "max_nan exp_below", R"(
// More values of a maximum and of the sum of e^(value - maximum). `top` starts at the lowest finite
// number, so that -inf adds 0.
template <int C>
$ void add_exps(float& top, float& sum, const float (&v)[C]) {
  float most = v[0];
#pragma unroll
  for (int j = 1; j < C; ++j) most = max_nan(most, v[j]);
  most = max_nan(top, most);
  float more = 0.0f;
#pragma unroll
  for (int j = 0; j < C; ++j) more += exp_below(v[j] - most);
  sum = fmaf(sum, exp_below(top - most), more);
  top = most;
}
)"},
    {"end_exps", "", R"(
// What the maximum and then the sum would be: a sum of 0 saw nothing but -inf; the sum of a row
// whose maximum is infinite is NaN, as inf - inf is.
$ void end_exps(float& top, float& sum) {
  if (sum == 0.0f) top = -__int_as_float(0x7f800000);
  sum += top - top;
}
)"},
    {"across_lanes", "", R"(
// Over each group of LANES neighbours of a warp; all of them get the result.
template <class Op, int LANES, class T>
$ T across_lanes(T v) {
#pragma unroll
  for (int m = LANES / 2; m > 0; m /= 2) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, m));
  return v;
}
)"},
    {"across_members", "", R"(
// Over MEMBERS threads, UNITS apart, of all W lanes, G at a time; member 0 gets the result. A fixed
// tree.
template <class Op, int MEMBERS, int UNITS, int G, class T, int W>
$ void across_members(T (&v)[W], T* shared, int member, int unit) {
  constexpr int kSlots = (MEMBERS + 1) / 2 * UNITS;
#pragma unroll
  for (int g = 0; g < W; g += G) {
#pragma unroll
    for (int count = MEMBERS; count > 1; count = (count + 1) / 2) {
      const int half = (count + 1) / 2;
      __syncthreads();
      if (member >= half && member < count)
#pragma unroll
        for (int j = 0; j < G; ++j)
          shared[j * kSlots + (member - half) * UNITS + unit] = v[g + j];
      __syncthreads();
      if (member < count - half)
#pragma unroll
        for (int j = 0; j < G; ++j)
          v[g + j] = Op::join(v[g + j], shared[j * kSlots + member * UNITS + unit]);
    }
  }
}
)"},
    {"from_member_0", "", R"(
// Member 0's lanes to all members, G at a time.
template <int UNITS, int G, class T, int W>
$ void from_member_0(T (&v)[W], T* shared, int member, int unit) {
#pragma unroll
  for (int g = 0; g < W; g += G) {
    __syncthreads();
    if (member == 0)
#pragma unroll
      for (int j = 0; j < G; ++j) shared[j * UNITS + unit] = v[g + j];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < G; ++j) v[g + j] = shared[j * UNITS + unit];
  }
}
)"},
};

// "$" stands for what every function of the device needs.
std::string spelled(std::string text) {
  constexpr std::string_view kQualifiers = "__device__ __forceinline__";
  for (size_t at = text.find('$'); at != std::string::npos; at = text.find('$', at))
    text.replace(at, 1, kQualifiers);
  return text;
}

}  // namespace

const std::string& Prelude::use(const std::string& name) {
  auto [it, fresh] = used_.insert(name);
  if (!fresh) return *it;
  for (const Helper& h : kHelpers) {
    if (h.name != name) continue;
    std::istringstream needs(h.needs);
    for (std::string needed; needs >> needed;) use(needed);
    return *it;
  }
  fail_internal("the CUDA code generator has no helper called " + name);
}

std::string Prelude::text() const {
  std::string out;
  for (const Helper& h : kHelpers)
    if (used_.count(h.name)) out += spelled(h.text);
  return out;
}

}  // namespace fusec::codegen_cuda
