// layer_norm (block.cpp:12)

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

// Values made of these words are made anew from here on, instead of being kept in registers.
template <int K, int N>
__device__ __forceinline__ void hide(unsigned (&w)[K][N]) {
#pragma unroll
  for (int k = 0; k < K; ++k)
#pragma unroll
    for (int i = 0; i < N; ++i) asm("" : "+r"(w[k][i]));
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

// Over MEMBERS threads, UNITS apart, of all W lanes, G at a time; member 0 gets the result. A fixed
// tree.
template <class Op, int MEMBERS, int UNITS, int G, class T, int W>
__device__ __forceinline__ void across_members(T (&v)[W], T* shared, int member, int unit) {
  constexpr int kSlots = (MEMBERS + 1) / 2 * UNITS;
#pragma unroll
  for (int g = 0; g < W; g += G) {
#pragma unroll
    for (int count = MEMBERS; count > 1; count = (count + 1) / 2) {
      const int half = (count + 1) / 2;
      __syncthreads();
      if (member >= half && member < count)
#pragma unroll
        for (int j = 0; j < G; ++j)
          shared[j * kSlots + (member - half) * UNITS + unit] = v[g + j];
      __syncthreads();
      if (member < count - half)
#pragma unroll
        for (int j = 0; j < G; ++j)
          v[g + j] = Op::join(v[g + j], shared[j * kSlots + member * UNITS + unit]);
    }
  }
}

extern "C" __global__ void __launch_bounds__(256, 2)
fusec_layer_norm_panels(const unsigned short* p0, const unsigned short* p1, const float* p2, const float* p3, const float* p4, unsigned short* p5, float* p6, float* p7, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x % 64;
  const int team = threadIdx.x / 64;
  const int panel = (int)blockIdx.x;
  const int i0 = (int)(panel);
  unsigned x8[2][8];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int step = member + k * 64;
    const int i2 = step * 8;
    if (step < 96) {
      load<16, 32>(x8[k], p4 + i2);  // load p4[i2]
    }
  }
  float c22[2][8];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int j = 0; j < 8; ++j) c22[k][j] = 0.0f;
  }
  float c23[2][8];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int j = 0; j < 8; ++j) c23[k][j] = 0.0f;
  }
  __shared__ __align__(16) unsigned char shared[32768];
  float n4;
  float n5;
  {
    const int walked = 0 * 4 + team;
    const int row = walked < 97 ? walked : 96;
    const int i1 = (int)(row);
    n4 = *(p2 + i0 * 97 + i1);
    n5 = *(p3 + i0 * 97 + i1);
  }
#pragma unroll 1
  for (int turn = (-1); turn < 25; ++turn) {
    const int ahead = turn + 1;
    if (ahead < 25) {
      const int walked = ahead * 4 + team;
      const int row = walked < 97 ? walked : 96;
      const int i1 = (int)(row);
      const unsigned short* from0 = p0 + (i0 * 74496 + i1 * 768);
      const unsigned short* from2 = p1 + (i0 * 74496 + i1 * 768);
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int step = member + k * 64;
        const int i2 = step * 8;
        if (step < 96) {
          copy_ahead<16, 16>(shared + ahead % 2 * 16384 + k * 4096 + threadIdx.x * 16, from0 + i2);  // load p0[i0 * 74496 + i1 * 768 + i2]
          copy_ahead<16, 16>(shared + ahead % 2 * 16384 + 8192 + k * 4096 + threadIdx.x * 16, from2 + i2);  // load p1[i0 * 74496 + i1 * 768 + i2]
        }
      }
    }
    end_group();
    if (turn < 0) continue;
    wait_groups<1>();
    const int walked = turn * 4 + team;
    const bool here = walked < 97;
    const int row = here ? walked : 96;
    const int i1 = (int)(row);
    const float v4 = n4;  // load p2[i0 * 97 + i1]
    const float v5 = n5;  // load p3[i0 * 97 + i1]
    {
      const int walked = (turn + 1) * 4 + team;
      const int row = walked < 97 ? walked : 96;
      const int i1 = (int)(row);
      n4 = *(p2 + i0 * 97 + i1);
      n5 = *(p3 + i0 * 97 + i1);
    }
    unsigned x0[2][4];
    unsigned x2[2][4];
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      load<16, 16>(x0[k], shared + turn % 2 * 16384 + k * 4096 + threadIdx.x * 16);
      load<16, 16>(x2[k], shared + turn % 2 * 16384 + 8192 + k * 4096 + threadIdx.x * 16);
    }
    unsigned short* to24 = p5 + (i0 * 74496 + i1 * 768);
    float r11 = 0.0f;
    float r12 = 0.0f;
    {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int step = member + k * 64;
        if (step < 96) {
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 74496 + i1 * 768 + i2]
            const float v1 = v0;  // as f32
            const float v8 = f32_at(x8[k], j);  // load p4[i2]
            const float v9 = v1 * v8;  // mul
            r11 = r11 + v9;  // sum
            const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 74496 + i1 * 768 + i2]
            const float v3 = v2;  // as f32
            const float v6 = v3 - v4;  // sub
            const float v7 = v6 * v5;  // mul
            const float v10 = v9 * v7;  // mul
            r12 = r12 + v10;  // sum
          }
        }
      }
    }
    r11 = across_lanes<Sum, 32>(r11);
    r12 = across_lanes<Sum, 32>(r12);
    __shared__ float s11[16];
    if (threadIdx.x % 32 == 0) s11[(turn & 1) * 8 + threadIdx.x / 32] = r11;
    __shared__ float s12[16];
    if (threadIdx.x % 32 == 0) s12[(turn & 1) * 8 + threadIdx.x / 32] = r12;
    __syncthreads();
    r11 = across_lanes<Sum, 2>(s11[(turn & 1) * 8 + threadIdx.x / 64 * 2 + threadIdx.x % 2]);
    r12 = across_lanes<Sum, 2>(s12[(turn & 1) * 8 + threadIdx.x / 64 * 2 + threadIdx.x % 2]);
    const float v14 = r11 * 0.00130208337f;  // mul
    const float v15 = r12 * 0.00130208337f;  // mul
    hide(x8);
    {
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        const int step = member + k * 64;
        const int i2 = step * 8;
        if (step < 96) {
          float y24[8];
#pragma unroll
          for (int j = 0; j < 8; ++j) {
            const float v0 = bf16_at(x0[k], j);  // load p0[i0 * 74496 + i1 * 768 + i2]
            const float v1 = v0;  // as f32
            const float v8 = f32_at(x8[k], j);  // load p4[i2]
            const float v9 = v1 * v8;  // mul
            const float v16 = v9 - v14;  // sub
            const float v2 = bf16_at(x2[k], j);  // load p1[i0 * 74496 + i1 * 768 + i2]
            const float v3 = v2;  // as f32
            const float v6 = v3 - v4;  // sub
            const float v7 = v6 * v5;  // mul
            const float v17 = v7 * v15;  // mul
            const float v18 = v16 - v17;  // sub
            const float v19 = v18 * v5;  // mul
            y24[j] = v19;
            const float v21 = v1 * v7;  // mul
            if (here) c22[k][j] = c22[k][j] + v21;  // sum over rows
            if (here) c23[k][j] = c23[k][j] + v1;  // sum over rows
          }
          if (here) {
            unsigned w24[4];
            pack_bf16(w24, y24);
            store<16, 16>(to24 + i2, w24);  // store p5[i0 * 74496 + i1 * 768 + i2]
          }
        }
      }
    }
  }
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    across_members<Sum, 4, 64, 8>(c22[k], (float*)shared, team, member);
  }
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    across_members<Sum, 4, 64, 8>(c23[k], (float*)shared, team, member);
  }
  if (team == 0) {
    float* to25 = p6 + (i0 * 768);
    float* to26 = p7 + (i0 * 768);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      const int step = member + k * 64;
      const int i2 = step * 8;
      if (step < 96) {
        float y25[8];
        float y26[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          y25[j] = c22[k][j];
          y26[j] = c23[k][j];
        }
        unsigned w25[8];
        pack_f32(w25, y25);
        store<16, 32>(to25 + i2, w25);  // store p6[i0 * 768 + i2]
        unsigned w26[8];
        pack_f32(w26, y26);
        store<16, 32>(to26 + i2, w26);  // store p7[i0 * 768 + i2]
      }
    }
  }
}
