// transpose (model.cpp:5)

// To nearest even.
__device__ __forceinline__ unsigned short to_bf16(float v) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

// Lane j of packed words.
template <int N>
__device__ __forceinline__ float f32_at(const unsigned (&w)[N], int j) { return __uint_as_float(w[j]); }

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

template <Reuse R, class T>
__device__ __forceinline__ T fetch(const T* at) {
  if constexpr (R == once)
    return __ldcs(at);
  else
    return *at;
}

// BYTES bytes into words, in accesses of B bytes.
template <int B, int BYTES, Reuse R = again, int N>
__device__ __forceinline__ void load(unsigned (&w)[N], const void* from) {
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
fusec_transpose_tiles(const unsigned short* p0, const float* p1, unsigned short* p2, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int row = (int)blockIdx.x;
  const int i2 = (int)((unsigned)(row) % 8u);
  const unsigned rest2 = (unsigned)(row) / 8u;
  const int i1 = (int)((unsigned)(rest2) % 16u);
  const unsigned rest1 = (unsigned)(rest2) / 16u;
  const int i0 = (int)(rest1);
  const unsigned short* from0 = p0 + (i0 * 524288 + i1 * 64 + i2 * 65536);
  const float* from2 = p1 + (i2 * 64);
  unsigned short* to5 = p2 + (i0 * 524288 + i1 * 32768 + i2 * 64);
  __shared__ __align__(16) unsigned char tile0[8448];
  unsigned t0[2][4];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int piece = threadIdx.x + k * 256;
    const int i = piece % 8 * 8, j = piece / 8;
    load<16, 16>(t0[k], from0 + i + j * 1024);  // load p0[i0 * 524288 + i1 * 64 + i2 * 65536 + i3 + i4 * 1024]
  }
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int piece = threadIdx.x + k * 256;
    const int i = piece % 8 * 8, j = piece / 8;
    store<4, 16>(tile0 + j * 132 + i * 2, t0[k]);
  }
  __syncthreads();
#pragma unroll 1
  for (int first = 0; first < 4; first += 2) {
    unsigned x0[2][2];
    unsigned x2[2][4];
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      const int step = member + (first + u) * 256;
      const int i3 = (int)((unsigned)step / 16);
      const int i4 = (int)((unsigned)step % 16u) * 4;
      load_strided<2, 4>(x0[u], tile0 + i4 * 132 + i3 * 2, 66);
      load<16, 16>(x2[u], from2 + i4);  // load p1[i2 * 64 + i4]
    }
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      const int step = member + (first + u) * 256;
      const int i3 = (int)((unsigned)step / 16);
      const int i4 = (int)((unsigned)step % 16u) * 4;
      float y5[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v0 = bf16_at(x0[u], j);  // load p0[i0 * 524288 + i1 * 64 + i2 * 65536 + i3 + i4 * 1024]
        const float v1 = v0;  // as f32
        const float v2 = f32_at(x2[u], j);  // load p1[i2 * 64 + i4]
        const float v3 = v1 + v2;  // add
        y5[j] = v3;
      }
      unsigned w5[2];
      pack_bf16(w5, y5);
      store<8, 8>(to5 + i3 * 512 + i4, w5);  // store p2[i0 * 524288 + i1 * 32768 + i2 * 64 + i3 * 512 + i4]
    }
  }
}
