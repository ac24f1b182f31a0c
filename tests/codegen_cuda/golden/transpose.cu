// transpose (model.cpp:5)

// To nearest even.
__device__ __forceinline__ unsigned short to_bf16(float v) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

template <int N>
__device__ __forceinline__ float bf16_at(const unsigned (&w)[N], int j) {
  return __uint_as_float(j & 1 ? w[j / 2] & 0xffff0000u : w[j / 2] << 16);
}

__device__ __forceinline__ unsigned bf16_pair(float low, float high) {
  unsigned w;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}

template <int N, int C>
__device__ __forceinline__ void pack_bf16(unsigned (&w)[N], const float (&v)[C]) {
  if constexpr (C == 1) {
    w[0] = to_bf16(v[0]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) w[i] = bf16_pair(v[2 * i], v[2 * i + 1]);
  }
}

enum Reuse { again, once };  // once: the first to leave the caches

// C elements of S bytes, `stride` elements apart, into words; the last one again past `end`.
template <int S, int C, int N>
__device__ __forceinline__ void load_strided(unsigned (&w)[N], const void* from, long long stride, long long end = C) {
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

template <Reuse R, class T>
__device__ __forceinline__ void put(T* at, T v) {
  if constexpr (R == once)
    __stcs(at, v);
  else
    *at = v;
}

// BYTES bytes of words to memory, in accesses of B bytes.
template <int B, int BYTES, Reuse R = again, int N>
__device__ __forceinline__ void store(void* to, const unsigned (&w)[N]) {
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

extern "C" __global__ void __launch_bounds__(256)
fusec_transpose(const unsigned short* p0, unsigned short* p1, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x % 32;
  const int row = (int)blockIdx.x * 8 + (int)threadIdx.x / 32;
  const int i1 = (int)((unsigned)(row) % 1024u);
  const unsigned rest1 = (unsigned)(row) / 1024u;
  const int i0 = (int)(rest1);
  const unsigned short* from0 = p0 + (i0 * 524288 + i1);
  unsigned short* to1 = p1 + (i0 * 524288 + i1 * 512);
  unsigned x0[2][4];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int step = member + k * 32;
    const int i2 = step * 8;
    load_strided<2, 8>(x0[k], from0 + i2 * 1024, 1024);  // load p0[i0 * 524288 + i1 + i2 * 1024]
  }
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 32;
      const int i2 = step * 8;
      float y1[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 524288 + i1 + i2 * 1024]
        y1[j] = v0;
      }
      unsigned w1[4];
      pack_bf16(w1, y1);
      store<16, 16>(to1 + i2, w1);  // store p1[i0 * 524288 + i1 * 512 + i2]
    }
  }
}
