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

template <int N, int C>
__device__ __forceinline__ void pack_f32(unsigned (&w)[N], const float (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = __float_as_uint(v[j]);
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

// BYTES bytes of memory to shared memory, in copies of B bytes that go on beside this thread.
template <int B, int BYTES>
__device__ __forceinline__ void copy_ahead(unsigned char* to, const void* from) {
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

// The copies of this thread since the last group become one.
__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits for the copies of this thread, but for its N last groups.
template <int N>
__device__ __forceinline__ void wait_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

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

extern "C" __global__ void __launch_bounds__(256, 2)
fusec_rms_norm_panels(const unsigned short* p0, const unsigned short* p1, const unsigned short* p2, const unsigned short* p3, float* p4, unsigned short* p5, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int panel = (int)blockIdx.x;
  const int i0 = (int)(panel);
  unsigned x16[1][4];
  {
    const int step = member;
    const int i2 = step * 8;
    load<16, 16>(x16[0], p2 + i2);  // load p2[i2]
  }
  float c15[1][8];
  {
#pragma unroll
    for (int j = 0; j < 8; ++j) c15[0][j] = 0.0f;
  }
  __shared__ __align__(16) unsigned char shared[36864];
#pragma unroll 1
  for (int turn = (-2); turn < 128; ++turn) {
    const int ahead = turn + 2;
    if (ahead < 128) {
      const int row = ahead;
      const int i1 = (int)(row);
      const unsigned short* from0 = p1 + (i0 * 262144 + i1 * 2048);
      const unsigned short* from2 = p0 + (i0 * 262144 + i1 * 2048);
      const unsigned short* from25 = p3 + (i0 * 262144 + i1 * 2048);
      {
        const int step = member;
        const int i2 = step * 8;
        copy_ahead<16, 16>(shared + ahead % 3 * 12288 + threadIdx.x * 16, from0 + i2);  // load p1[i0 * 262144 + i1 * 2048 + i2]
        copy_ahead<16, 16>(shared + ahead % 3 * 12288 + 4096 + threadIdx.x * 16, from2 + i2);  // load p0[i0 * 262144 + i1 * 2048 + i2]
        copy_ahead<16, 16>(shared + ahead % 3 * 12288 + 8192 + threadIdx.x * 16, from25 + i2);  // load p3[i0 * 262144 + i1 * 2048 + i2]
      }
    }
    end_group();
    if (turn < 0) continue;
    wait_groups<2>();
    const int row = turn;
    const int i1 = (int)(row);
    unsigned x0[1][4];
    unsigned x2[1][4];
    unsigned x25[1][4];
    {
      load<16, 16>(x0[0], shared + turn % 3 * 12288 + threadIdx.x * 16);
      load<16, 16>(x2[0], shared + turn % 3 * 12288 + 4096 + threadIdx.x * 16);
      load<16, 16>(x25[0], shared + turn % 3 * 12288 + 8192 + threadIdx.x * 16);
    }
    unsigned short* to30 = p5 + (i0 * 262144 + i1 * 2048);
    float r5 = 0.0f;
    {
      {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float v2 = bf16_at(x2[0], j);  // load p0[i0 * 262144 + i1 * 2048 + i2]
          const float v3 = v2;  // as f32
          const float v4 = v3 * v3;  // mul
          r5 = r5 + v4;  // sum
        }
      }
    }
    r5 = across_lanes<Sum, 32>(r5);
    __shared__ float s5[16];
    if (threadIdx.x % 32 == 0) s5[(turn & 1) * 8 + threadIdx.x / 32] = r5;
    __syncthreads();
    r5 = across_lanes<Sum, 8>(s5[(turn & 1) * 8 + threadIdx.x % 8]);
    const float v7 = r5 * 0.00048828125f;  // mul
    const float v9 = v7 + 9.99999997e-07f;  // add
    const float v10 = root(v9);  // sqrt
    const float v12 = divide_large(1.0f, v10);  // div
    float r20 = 0.0f;
    {
      {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float v0 = bf16_at(x0[0], j);  // load p1[i0 * 262144 + i1 * 2048 + i2]
          const float v1 = v0;  // as f32
          const float v16 = bf16_at(x16[0], j);  // load p2[i2]
          const float v17 = v16;  // as f32
          const float v18 = v1 * v17;  // mul
          const float v2 = bf16_at(x2[0], j);  // load p0[i0 * 262144 + i1 * 2048 + i2]
          const float v3 = v2;  // as f32
          const float v13 = v3 * v12;  // mul
          const float v19 = v18 * v13;  // mul
          r20 = r20 + v19;  // sum
        }
      }
    }
    r20 = across_lanes<Sum, 32>(r20);
    __shared__ float s20[16];
    if (threadIdx.x % 32 == 0) s20[(turn & 1) * 8 + threadIdx.x / 32] = r20;
    __syncthreads();
    r20 = across_lanes<Sum, 8>(s20[(turn & 1) * 8 + threadIdx.x % 8]);
    const float v21 = r20 * 0.00048828125f;  // mul
    {
      {
        const int step = member;
        const int i2 = step * 8;
        float y30[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float v0 = bf16_at(x0[0], j);  // load p1[i0 * 262144 + i1 * 2048 + i2]
          const float v1 = v0;  // as f32
          const float v16 = bf16_at(x16[0], j);  // load p2[i2]
          const float v17 = v16;  // as f32
          const float v18 = v1 * v17;  // mul
          const float v2 = bf16_at(x2[0], j);  // load p0[i0 * 262144 + i1 * 2048 + i2]
          const float v3 = v2;  // as f32
          const float v13 = v3 * v12;  // mul
          const float v22 = v13 * v21;  // mul
          const float v23 = v18 - v22;  // sub
          const float v24 = v23 * v12;  // mul
          const float v25 = bf16_at(x25[0], j);  // load p3[i0 * 262144 + i1 * 2048 + i2]
          const float v26 = v25;  // as f32
          const float v27 = v24 + v26;  // add
          y30[j] = v27;
          const float v14 = v1 * v13;  // mul
          c15[0][j] = c15[0][j] + v14;  // sum over rows
        }
        unsigned w30[4];
        pack_bf16(w30, y30);
        store<16, 16, once>(to30 + i2, w30);  // store p5[i0 * 262144 + i1 * 2048 + i2]
      }
    }
  }
  {
    float* to29 = p4 + (i0 * 2048);
    {
      const int step = member;
      const int i2 = step * 8;
      float y29[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        y29[j] = c15[0][j];
      }
      unsigned w29[8];
      pack_f32(w29, y29);
      store<16, 32>(to29 + i2, w29);  // store p4[i0 * 2048 + i2]
    }
  }
}
