// relu (block.cpp:20)

__device__ __forceinline__ float from_bf16(unsigned short bits) { return __uint_as_float((unsigned)bits << 16); }

// To nearest even.
__device__ __forceinline__ unsigned short to_bf16(float v) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

__device__ __forceinline__ float round_bf16(float v) { return from_bf16(to_bf16(v)); }

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

extern "C" __global__ void __launch_bounds__(320, 1)
fusec_bias_panels(const unsigned short* p0, const unsigned short* p1, unsigned short* p2, float* p3, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const int panel = (int)blockIdx.x;
  const int i0 = (int)(panel);
  float c9[2][8];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int j = 0; j < 8; ++j) c9[k][j] = 0.0f;
  }
  __shared__ __align__(16) unsigned char shared[40960];
#pragma unroll 1
  for (int turn = (-1); turn < 64; ++turn) {
    const int ahead = turn + 1;
    if (ahead < 64) {
      const int row = ahead;
      const int i1 = (int)(row);
      const unsigned short* from0 = p0 + (i0 * 327680 + i1 * 5120);
      const unsigned short* from2 = p1 + (i0 * 327680 + i1 * 5120);
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int step = member + k * 320;
        const int i2 = step * 8;
        copy_ahead<16, 16>(shared + ahead % 2 * 20480 + k * 5120 + threadIdx.x * 16, from0 + i2);  // load p0[i0 * 327680 + i1 * 5120 + i2]
        copy_ahead<16, 16>(shared + ahead % 2 * 20480 + 10240 + k * 5120 + threadIdx.x * 16, from2 + i2);  // load p1[i0 * 327680 + i1 * 5120 + i2]
      }
    }
    end_group();
    if (turn < 0) continue;
    wait_groups<1>();
    const int row = turn;
    const int i1 = (int)(row);
    unsigned x0[2][4];
    unsigned x2[2][4];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      load<16, 16>(x0[k], shared + turn % 2 * 20480 + k * 5120 + threadIdx.x * 16);
      load<16, 16>(x2[k], shared + turn % 2 * 20480 + 10240 + k * 5120 + threadIdx.x * 16);
    }
    unsigned short* to10 = p2 + (i0 * 327680 + i1 * 5120);
    {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int step = member + k * 320;
        const int i2 = step * 8;
        float y10[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 327680 + i1 * 5120 + i2]
          const float v3 = v2;  // as f32
          const bool v5 = v3 > 0.0f;  // gt
          const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 327680 + i1 * 5120 + i2]
          const float v1 = v0;  // as f32
          const float v6 = v5 ? v1 : 0.0f;  // select
          const float v7 = round_bf16(v6);  // as bf16
          y10[j] = v7;
          const float v8 = v7;  // as f32
          c9[k][j] = c9[k][j] + v8;  // sum over rows
        }
        unsigned w10[4];
        pack_bf16(w10, y10);
        store<16, 16>(to10 + i2, w10);  // store p2[i0 * 327680 + i1 * 5120 + i2]
      }
    }
  }
  {
    float* to11 = p3 + (i0 * 5120);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 320;
      const int i2 = step * 8;
      float y11[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        y11[j] = c9[k][j];
      }
      unsigned w11[8];
      pack_f32(w11, y11);
      store<16, 32>(to11 + i2, w11);  // store p3[i0 * 5120 + i2]
    }
  }
}
