// rms_norm (block.cpp:9)

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

// Values made of these words are made anew from here on, instead of being kept in registers.
template <int K, int N>
__device__ __forceinline__ void hide(unsigned (&w)[K][N]) {
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int i = 0; i < N; ++i) asm("" : "+r"(w[k][i]));
}

struct Sum {
  template <class T>
  static __device__ __forceinline__ T join(T a, T b) { return a + b; }
};

// Over each group of LANES neighbours of a warp; all of them get the result.
template <class Op, int LANES, class T>
__device__ __forceinline__ T across_lanes(T v) {
#pragma unroll
  for (int m = LANES / 2; m > 0; m /= 2) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, m));
  return v;
}

extern "C" __global__ void __launch_bounds__(128)
fusec_rms_norm_backward(const unsigned short* p0, const unsigned short* p1, const float* p2, unsigned short* p3, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x % 32;
  const int row = (int)blockIdx.x * 4 + (int)threadIdx.x / 32;
  const int i0 = (int)(row);
  const unsigned short* from0 = p0 + (i0 * 1280);
  const unsigned short* from2 = p1 + (i0 * 1280);
  unsigned short* to15 = p3 + (i0 * 1280);
  unsigned x0[5][4];
  unsigned x2[5][4];
#pragma unroll
  for (int k = 0; k < 5; ++k) {
    const int step = member + k * 32;
    const int i1 = step * 8;
    load<16, 16>(x0[k], from0 + i1);  // load p0[i0 * 1280 + i1]
    load<16, 16>(x2[k], from2 + i1);  // load p1[i0 * 1280 + i1]
  }
  const float v4 = *(p2 + i0);  // load p2[i0]
  const float v9 = v4 * v4;  // mul
  float r6 = 0.0f;
  {
#pragma unroll
    for (int k = 0; k < 5; ++k) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 1280 + i1]
        const float v1 = v0;  // as f32
        const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 1280 + i1]
        const float v3 = v2;  // as f32
        const float v5 = v1 * v3;  // mul
        r6 = r6 + v5;  // sum
      }
    }
  }
  r6 = across_lanes<Sum, 32>(r6);
  const float v8 = r6 * 0.000781250012f;  // mul
  const float v10 = v9 * v8;  // mul
  hide(x0);
  hide(x2);
  {
#pragma unroll
    for (int k = 0; k < 5; ++k) {
      const int step = member + k * 32;
      const int i1 = step * 8;
      float y15[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 1280 + i1]
        const float v1 = v0;  // as f32
        const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 1280 + i1]
        const float v3 = v2;  // as f32
        const float v11 = v3 * v10;  // mul
        const float v12 = v1 - v11;  // sub
        const float v13 = v12 * v4;  // mul
        y15[j] = v13;
      }
      unsigned w15[4];
      pack_bf16(w15, y15);
      store<16, 16>(to15 + i1, w15);  // store p3[i0 * 1280 + i1]
    }
  }
}
