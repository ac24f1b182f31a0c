// Helpers that load, store and widen. A value of a type of 1 or 2 bytes travels packed in 32-bit
// words until it is used, so that a row kept in registers takes no more of them than it has bytes.
#include "prelude_helpers.h"

namespace fusec::codegen_cuda {
namespace {

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
    {"e4m3_instructions", "", R"(
#if __CUDA_ARCH__ >= 890
// Two numbers each, the first in the low half.
$ unsigned short e4m3_of(float low, float high) {
  unsigned short pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
$ float of_e4m3(unsigned short pair, bool high) {
  unsigned halves;
  float v;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(halves) : "h"(pair));
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"((unsigned short)(high ? halves >> 16 : halves)));
  return v;
}
#endif
)"},
    {"from_f8e4m3", "e4m3_instructions", R"(
// Of a subnormal m 2^-9, 2^-6 (1 + m / 8) is made and 2^-6 taken away.
$ float from_f8e4m3(unsigned char bits) {
#if __CUDA_ARCH__ >= 890
  return of_e4m3(bits, false);
#else
  const unsigned magnitude = bits & 0x7f, sign = (bits & 0x80u) << 24;
  const bool small = magnitude < 8;
  const float v = __uint_as_float((magnitude << 20) + (small ? 0x3c800000u : 0x3c000000u));
  const float exact = v - (small ? 0.015625f : 0.0f);
  return __uint_as_float((magnitude == 0x7f ? 0x7fc00000u : __float_as_uint(exact)) | sign);
#endif
}
)"},
    {"to_f8e4m3", "e4m3_instructions", R"(
// To nearest even, at most 448. Below 2^-6 the addition of 2^14 rounds to units of 2^-9.
$ unsigned char to_f8e4m3(float v) {
#if __CUDA_ARCH__ >= 890
  return (unsigned char)e4m3_of(v, 0.0f);
#else
  const unsigned bits = __float_as_uint(v), magnitude = bits & 0x7fffffffu;
  const unsigned most = magnitude < 0x43e00000u ? magnitude : 0x43e00000u;
  const unsigned normal = (most + 0x7ffffu + (most >> 20 & 1) - 0x3c000000u) >> 20;
  const unsigned small = __float_as_uint(__uint_as_float(most) + 16384.0f) - 0x46800000u;
  const unsigned rounded = magnitude > 0x7f800000u ? 0x7f : most < 0x3c800000u ? small : normal;
  return (unsigned char)(rounded | (bits >> 24 & 0x80));
#endif
}
)"},
    {"round_f8e4m3", "from_f8e4m3 to_f8e4m3", R"(
$ float round_f8e4m3(float v) { return from_f8e4m3(to_f8e4m3(v)); }
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
    {"f8e4m3_at", "from_f8e4m3", R"(
template <int N>
$ float f8e4m3_at(const unsigned (&w)[N], int j) {
#if __CUDA_ARCH__ >= 890
  return of_e4m3((unsigned short)(w[j / 4] >> (16 * (j / 2 & 1))), j & 1);
#else
  return from_f8e4m3((unsigned char)(w[j / 4] >> (8 * (j & 3))));
#endif
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
    {"pack_f8e4m3", "to_f8e4m3", R"(
template <int N, int C>
$ void pack_f8e4m3(unsigned (&w)[N], const float (&v)[C]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    w[i] = 0;
#pragma unroll
    for (int j = 4 * i; j < 4 * i + 4 && j < C; j += 2) {
      const float low = v[j], high = j + 1 < C ? v[j + 1] : 0.0f;
#if __CUDA_ARCH__ >= 890
      const unsigned pair = e4m3_of(low, high);
#else
      const unsigned pair = to_f8e4m3(low) | (unsigned)to_f8e4m3(high) << 8;
#endif
      w[i] |= pair << (8 * (j & 3));
    }
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
};

}  // namespace

std::span<const Helper> memory_helpers() { return kHelpers; }

}  // namespace fusec::codegen_cuda
