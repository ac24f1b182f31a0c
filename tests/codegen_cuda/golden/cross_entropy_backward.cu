// cross_entropy (head.cpp:8)

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

// Within one unit of the last place.
__device__ __forceinline__ float rcp_approx(float v) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// Within two units of the last place; results below 2^-126 are 0.
__device__ __forceinline__ float exp2_approx(float v) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
  return r;
}

// Of |v| < 0.57, but for the sign of 0.
__device__ __forceinline__ float tanh_small(float v) {
  const float u = v * v;
  float p = fmaf(u, 0.0161332935f, -0.0525133163f);
  p = fmaf(u, p, 0.133182943f);
  p = fmaf(u, p, -0.333328456f);
  return fmaf(p * u, v, v);
}

// Within four units of the last place, without a branch: a polynomial where 1 - 2 / (e^2x + 1)
// would cancel.
__device__ __forceinline__ float tanh_f32(float v) {
  const float far = fmaf(-2.0f, rcp_approx(exp2_approx(fabsf(v) * 2.88539008f) + 1.0f), 1.0f);
  return copysignf(fabsf(v) < 0.57f ? tanh_small(v) : far, v);
}

// Whether the test holds for any thread of the warp that is here, too.
__device__ __forceinline__ bool any_active(bool test) {
  unsigned any;
  asm volatile(
      "{ .reg .b32 m; .reg .pred p, q; setp.ne.u32 p, %1, 0; activemask.b32 m; "
      "vote.sync.any.pred q, p, m; selp.u32 %0, 1, 0, q; }"
      : "=r"(any) : "r"((unsigned)test));
  return any != 0;
}

// tanh_f32 of all lanes: the same bits, for half the work where none of a warp is large.
template <int N>
__device__ __forceinline__ void tanh_lanes(float (&v)[N]) {
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

extern "C" __global__ void __launch_bounds__(512)
fusec_softcap_cross_entropy_backward(const unsigned short* p0, const int* p1, const float* p2, const float* p3, unsigned short* p4, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int row = (int)blockIdx.x;
  const int i0 = (int)(row);
  const unsigned short* from3 = p0 + (i0 * 65536);
  unsigned short* to22 = p4 + (i0 * 65536);
  const int v1 = *(p1 + i0);  // load p1[i0]
  const float v10 = *(p2 + i0);  // load p2[i0]
  const float v15 = p3[0];  // load p3[0]
#pragma unroll 1
  for (int first = 0; first < 16; first += 4) {
    unsigned x3[4][4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 512;
      const int i1 = step * 8;
      load<16, 16, once>(x3[u], from3 + i1);  // load p0[i0 * 65536 + i1]
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 512;
      const int i1 = step * 8;
      float h7[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v3 = bf16_at(x3[u], j);  // load p0[i0 * 65536 + i1]
        const float v4 = v3;  // as f32
        const float v6 = v4 * 0.0666666701f;  // mul
        h7[j] = v6;
      }
      tanh_lanes(h7);  // tanh
      float y22[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v9 = h7[j] * 15.0f;  // mul
        const float v11 = v9 - v10;  // sub
        const float v12 = expf(v11);  // exp
        const int v0 = (int)((i1 + j));  // index
        const bool v2 = v0 == v1;  // eq
        const float v13 = (float)v2;  // as f32
        const float v14 = v12 - v13;  // sub
        const float v16 = v14 * v15;  // mul
        const float v17 = h7[j] * h7[j];  // mul
        const float v19 = 1.0f - v17;  // sub
        const float v20 = v16 * v19;  // mul
        y22[j] = v20;
      }
      unsigned w22[4];
      pack_bf16(w22, y22);
      store<16, 16, once>(to22 + i1, w22);  // store p4[i0 * 65536 + i1]
    }
  }
}
