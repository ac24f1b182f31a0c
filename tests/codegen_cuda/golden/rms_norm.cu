// map.add (block.cpp:8)
// rms_norm (block.cpp:9)

__device__ __forceinline__ float from_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

// To nearest even.
__device__ __forceinline__ unsigned short to_bf16(float v) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

__device__ __forceinline__ float round_bf16(float v) { return from_bf16(to_bf16(v)); }

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

// Within one unit of the last place.
__device__ __forceinline__ float rcp_approx(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// a / b for b that is not tiny.
__device__ __forceinline__ float divide_large(float a, float b) {
  const float s = fabsf(b) > 0x1p124f ? 0x1p-8f : 1.0f;
  b *= s, a *= s;
  const float r = rcp_approx(b), q = a * r;
  const float c = fmaf(fmaf(-q, b, a), r, q);
  return c == c ? c : q;
}

__device__ __forceinline__ float rsqrt_approx(float v) {
  float r;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// The square root.
__device__ __forceinline__ float root(float v) {
  const bool tiny = v < 0x1p-70f;
  const float x = tiny ? v * 0x1p64f : v;
  const float r = rsqrt_approx(x), q = x * r;
  const float c = fmaf(fmaf(-q, q, x), 0.5f * r, q);
  const float y = tiny ? c * 0x1p-32f : c;
  return y == y || !(v >= 0.0f) ? y : v;  // 0 and infinity are their own roots
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

extern "C" __global__ void __launch_bounds__(256)
fusec_add_rms_norm(const unsigned short* p0, const unsigned short* p1, const float* p2, unsigned short* p3, unsigned short* p4, float* p5, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int row = (int)blockIdx.x;
  const int i0 = (int)(row);
  const unsigned short* from0 = p0 + (i0 * 2048);
  const unsigned short* from2 = p1 + (i0 * 2048);
  unsigned short* to20 = p3 + (i0 * 2048);
  unsigned short* to21 = p4 + (i0 * 2048);
  unsigned x0[2][2];
  unsigned x2[2][2];
  unsigned x17[2][4];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int step = member + k * 256;
    const int i1 = step * 4;
    load<8, 8, once>(x0[k], from0 + i1);  // load p0[i0 * 2048 + i1]
    load<8, 8, once>(x2[k], from2 + i1);  // load p1[i0 * 2048 + i1]
    load<16, 16>(x17[k], p2 + i1);  // load p2[i1]
  }
  float r8 = 0.0f;
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 2048 + i1]
        const float v1 = v0;  // as f32
        const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 2048 + i1]
        const float v3 = v2;  // as f32
        const float v4 = v1 + v3;  // add
        const float v5 = round_bf16(v4);  // as bf16
        const float v6 = v5;  // as f32
        const float v7 = v6 * v6;  // mul
        r8 = r8 + v7;  // sum
      }
    }
  }
  r8 = across_lanes<Sum, 32>(r8);
  __shared__ float s8[8];
  if (threadIdx.x % 32 == 0) s8[threadIdx.x / 32] = r8;
  __syncthreads();
  r8 = across_lanes<Sum, 8>(s8[threadIdx.x % 8]);
  const float v10 = r8 * 0.00048828125f;  // mul
  const float v12 = v10 + 9.99999997e-07f;  // add
  const float v13 = root(v12);  // sqrt
  const float v15 = divide_large(1.0f, v13);  // div
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 256;
      const int i1 = step * 4;
      float y20[4];
      float y21[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 2048 + i1]
        const float v1 = v0;  // as f32
        const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 2048 + i1]
        const float v3 = v2;  // as f32
        const float v4 = v1 + v3;  // add
        const float v5 = round_bf16(v4);  // as bf16
        y20[j] = v5;
        const float v6 = v5;  // as f32
        const float v16 = v6 * v15;  // mul
        const float v17 = f32_at(x17[k], j);  // load p2[i1]
        const float v18 = v16 * v17;  // mul
        y21[j] = v18;
      }
      unsigned w20[2];
      pack_bf16(w20, y20);
      store<8, 8, once>(to20 + i1, w20);  // store p3[i0 * 2048 + i1]
      unsigned w21[2];
      pack_bf16(w21, y21);
      store<8, 8, once>(to21 + i1, w21);  // store p4[i0 * 2048 + i1]
    }
  }
  if (member == 0) {
    *(p5 + i0) = v15;  // store p5[i0]
  }
}
