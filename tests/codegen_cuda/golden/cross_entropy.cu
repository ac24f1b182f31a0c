// softcap (head.cpp:7)
// cross_entropy (head.cpp:8)

template <int N>
__device__ __forceinline__ float bf16_at(const unsigned (&w)[N], int j) {
  return __uint_as_float(j & 1 ? w[j / 2] & 0xffff0000u : w[j / 2] << 16);
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

// The larger; NaN wins.
__device__ __forceinline__ float max_nan(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

__device__ __forceinline__ double max_nan(double a, double b) { return a != a || a > b ? a : b; }

template <class T>
__device__ __forceinline__ T max_int(T a, T b) { return a > b ? a : b; }

struct Sum {
  template <class T>
  static __device__ __forceinline__ T join(T a, T b) { return a + b; }
};

struct Max {
  static __device__ __forceinline__ float join(float a, float b) { return max_nan(a, b); }
  static __device__ __forceinline__ double join(double a, double b) { return max_nan(a, b); }
  template <class T>
  static __device__ __forceinline__ T join(T a, T b) { return max_int(a, b); }
};

// Over each group of LANES neighbours of a warp; all of them get the result.
template <class Op, int LANES, class T>
__device__ __forceinline__ T across_lanes(T v) {
#pragma unroll
  for (int m = LANES / 2; m > 0; m /= 2) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, m));
  return v;
}

extern "C" __global__ void __launch_bounds__(1024)
fusec_softcap_cross_entropy(const unsigned short* p0, const int* p1, float* p2, float* p3, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int row = (int)blockIdx.x;
  const int i0 = (int)(row);
  const unsigned short* from3 = p0 + (i0 * 65536);
  const int v1 = *(p1 + i0);  // load p1[i0]
  const bool v21 = v1 >= 0;  // ge
  float r10 = (-__int_as_float(0x7f800000));
  float r16 = 0.0f;
#pragma unroll 1
  for (int first = 0; first < 8; first += 4) {
    unsigned x3[4][4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 1024;
      const int i1 = step * 8;
      load<16, 16>(x3[u], from3 + i1);  // load p0[i0 * 65536 + i1]
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 1024;
      const int i1 = step * 8;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v3 = bf16_at(x3[u], j);  // load p0[i0 * 65536 + i1]
        const float v4 = v3;  // as f32
        const float v6 = v4 * 0.0666666701f;  // mul
        const float v7 = tanhf(v6);  // tanh
        const float v9 = v7 * 15.0f;  // mul
        r10 = max_nan(r10, v9);  // max
        const int v0 = (int)((i1 + j));  // index
        const bool v2 = v0 == v1;  // eq
        const float v15 = v2 ? v9 : 0.0f;  // select
        r16 = r16 + v15;  // sum
      }
    }
  }
  r10 = across_lanes<Max, 32>(r10);
  r16 = across_lanes<Sum, 32>(r16);
  __shared__ float s10[32];
  if (threadIdx.x % 32 == 0) s10[threadIdx.x / 32] = r10;
  __shared__ float s16[32];
  if (threadIdx.x % 32 == 0) s16[threadIdx.x / 32] = r16;
  __syncthreads();
  r10 = across_lanes<Max, 32>(s10[threadIdx.x % 32]);
  r16 = across_lanes<Sum, 32>(s16[threadIdx.x % 32]);
  float r13 = 0.0f;
#pragma unroll 1
  for (int first = 0; first < 8; first += 4) {
    unsigned x3[4][4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 1024;
      const int i1 = step * 8;
      load<16, 16>(x3[u], from3 + i1);  // load p0[i0 * 65536 + i1]
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v3 = bf16_at(x3[u], j);  // load p0[i0 * 65536 + i1]
        const float v4 = v3;  // as f32
        const float v6 = v4 * 0.0666666701f;  // mul
        const float v7 = tanhf(v6);  // tanh
        const float v9 = v7 * 15.0f;  // mul
        const float v11 = v9 - r10;  // sub
        const float v12 = expf(v11);  // exp
        r13 = r13 + v12;  // sum
      }
    }
  }
  r13 = across_lanes<Sum, 32>(r13);
  __shared__ float s13[32];
  if (threadIdx.x % 32 == 0) s13[threadIdx.x / 32] = r13;
  __syncthreads();
  r13 = across_lanes<Sum, 32>(s13[threadIdx.x % 32]);
  const float v17 = logf(r13);  // log
  const float v18 = v17 + r10;  // add
  const float v19 = v18 - r16;  // sub
  const float v22 = v21 ? v19 : 0.0f;  // select
  __syncthreads();
  if (member == 0) {
    *(p2 + i0) = v22;  // store p2[i0]
    *(p3 + i0) = v18;  // store p3[i0]
  }
}
