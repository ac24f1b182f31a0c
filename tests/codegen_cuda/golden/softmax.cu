// softmax (head.cpp:4)

// Lane j of packed words.
template <int N>
__device__ __forceinline__ float f32_at(const unsigned (&w)[N], int j) { return __uint_as_float(w[j]); }

template <int N, int C>
__device__ __forceinline__ void pack_f32(unsigned (&w)[N], const float (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = __float_as_uint(v[j]);
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

__device__ __forceinline__ float divide(float a, float b) {
  const float size = fabsf(b);
  const float s = size > 0x1p100f ? 0x1p-64f : size < 0x1p-64f ? 0x1p32f : 1.0f;
  b *= s, a *= s;
  const float r = rcp_approx(b), q = a * r;
  const float c = fmaf(fmaf(-q, b, a), r, q);
  return c == c ? c : q;
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

extern "C" __global__ void __launch_bounds__(128)
fusec_softmax(const float* p0, float* p1, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int row = (int)blockIdx.x;
  const int i0 = (int)(row);
  const float* from0 = p0 + (i0 * 1000);
  float* to6 = p1 + (i0 * 1000);
  unsigned x0[2][4];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int step = member + k * 128;
    const int i1 = step * 4;
    if (step < 250) {
      load<16, 16>(x0[k], from0 + i1);  // load p0[i0 * 1000 + i1]
    }
  }
  float r1 = (-__int_as_float(0x7f800000));
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 128;
      if (step < 250) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float v0 = f32_at(x0[k], j);  // load p0[i0 * 1000 + i1]
          r1 = max_nan(r1, v0);  // max
        }
      }
    }
  }
  r1 = across_lanes<Max, 32>(r1);
  __shared__ float s1[4];
  if (threadIdx.x % 32 == 0) s1[threadIdx.x / 32] = r1;
  __syncthreads();
  r1 = across_lanes<Max, 4>(s1[threadIdx.x % 4]);
  float r4 = 0.0f;
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 128;
      if (step < 250) {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float v0 = f32_at(x0[k], j);  // load p0[i0 * 1000 + i1]
          const float v2 = v0 - r1;  // sub
          const float v3 = expf(v2);  // exp
          r4 = r4 + v3;  // sum
        }
      }
    }
  }
  r4 = across_lanes<Sum, 32>(r4);
  __shared__ float s4[4];
  if (threadIdx.x % 32 == 0) s4[threadIdx.x / 32] = r4;
  __syncthreads();
  r4 = across_lanes<Sum, 4>(s4[threadIdx.x % 4]);
  {
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 128;
      const int i1 = step * 4;
      if (step < 250) {
        float y6[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const float v0 = f32_at(x0[k], j);  // load p0[i0 * 1000 + i1]
          const float v2 = v0 - r1;  // sub
          const float v3 = expf(v2);  // exp
          const float v5 = divide(v3, r4);  // div
          y6[j] = v5;
        }
        unsigned w6[4];
        pack_f32(w6, y6);
        store<16, 16>(to6 + i1, w6);  // store p1[i0 * 1000 + i1]
      }
    }
  }
}
