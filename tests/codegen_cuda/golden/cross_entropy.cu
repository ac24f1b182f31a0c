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

// e^v of a v that is not above 0, for a sum with a term of 1: off by |v| + 3 units of 2^-24 of
// itself, which is less than 4 of the sum.
__device__ __forceinline__ float exp_below(float v) { return exp2_approx(v * 1.44269504f); }

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

// More values of a maximum and of the sum of e^(value - maximum). `top` starts at the lowest finite
// number, so that -inf adds 0.
template <int C>
__device__ __forceinline__ void add_exps(float& top, float& sum, const float (&v)[C]) {
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

// What the maximum and then the sum would be: a sum of 0 saw nothing but -inf; the sum of a row
// whose maximum is infinite is NaN, as inf - inf is.
__device__ __forceinline__ void end_exps(float& top, float& sum) {
  if (sum == 0.0f) top = -__int_as_float(0x7f800000);
  sum += top - top;
}

// Over each group of LANES neighbours of a warp; all of them get the result.
template <class Op, int LANES, class T>
__device__ __forceinline__ T across_lanes(T v) {
#pragma unroll
  for (int m = LANES / 2; m > 0; m /= 2) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, m));
  return v;
}

extern "C" __global__ void __launch_bounds__(512)
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
  float r13 = 0.0f;
  r10 = -3.40282347e38f;  // the lowest finite number
#pragma unroll 1
  for (int first = 0; first < 16; first += 4) {
    unsigned x3[4][4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int step = member + (first + u) * 512;
      const int i1 = step * 8;
      load<16, 16>(x3[u], from3 + i1);  // load p0[i0 * 65536 + i1]
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
      float m9[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float v9 = h7[j] * 15.0f;  // mul
        m9[j] = v9;
      }
      add_exps(r10, r13, m9);
      const unsigned at16 = (unsigned)v1 - (unsigned)(int)(i1);
      if (at16 < 8u) {
#pragma unroll
        for (int j = 0; j < 8; ++j)
          if (at16 == j) r16 += m9[j];
      }
    }
  }
  float t10;
  t10 = r10;
  r10 = across_lanes<Max, 32>(t10);
  r16 = across_lanes<Sum, 32>(r16);
  r13 = across_lanes<Sum, 32>((r13) * exp_below(t10 - r10));
  __shared__ float s10[16];
  if (threadIdx.x % 32 == 0) s10[threadIdx.x / 32] = r10;
  __shared__ float s16[16];
  if (threadIdx.x % 32 == 0) s16[threadIdx.x / 32] = r16;
  __shared__ float s13[16];
  if (threadIdx.x % 32 == 0) s13[threadIdx.x / 32] = r13;
  __syncthreads();
  t10 = s10[threadIdx.x % 16];
  r10 = across_lanes<Max, 16>(t10);
  r16 = across_lanes<Sum, 16>(s16[threadIdx.x % 16]);
  r13 = across_lanes<Sum, 16>((s13[threadIdx.x % 16]) * exp_below(t10 - r10));
  end_exps(r10, r13);
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
