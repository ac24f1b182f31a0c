// reduce.sum (block.cpp:9)

template <int N>
__device__ __forceinline__ float bf16_at(const unsigned (&w)[N], int j) {
  return __uint_as_float(j & 1 ? w[j / 2] & 0xffff0000u : w[j / 2] << 16);
}

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

struct Sum {
  template <class T>
  static __device__ __forceinline__ T join(T a, T b) { return a + b; }
};

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

extern "C" __global__ void __launch_bounds__(256)
fusec_column_sum(const unsigned short* p0, const unsigned short* p1, float* p2, float* p3, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int unit = threadIdx.x % 8;
  const int member = threadIdx.x / 8;
  const int i2 = ((int)(blockIdx.x % 20u * 8) + unit) * 8;
  const int outer = (int)(blockIdx.x / 20);
  const int i0 = (int)(outer);
  const unsigned short* from0 = p0 + (i0 * 327680 + i2);
  const unsigned short* from2 = p1 + (i0 * 327680 + i2);
  __shared__ __align__(16) unsigned char shared[8192];
  float r5[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) r5[j] = 0.0f;
  float r6[8];
#pragma unroll
  for (int j = 0; j < 8; ++j) r6[j] = 0.0f;
  {
#pragma unroll 1
    for (int first = 0; first < 8; first += 2) {
      unsigned x0[2][4];
      unsigned x2[2][4];
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        const int step = member + (first + u) * 32;
        const int i1 = (int)(step);
        load<16, 16>(x0[u], from0 + i1 * 1280);  // load p0[i0 * 327680 + i1 * 1280 + i2]
        load<16, 16>(x2[u], from2 + i1 * 1280);  // load p1[i0 * 327680 + i1 * 1280 + i2]
      }
#pragma unroll
      for (int u = 0; u < 2; ++u) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const float v0 = bf16_at(x0[u], j);  // load p0[i0 * 327680 + i1 * 1280 + i2]
          const float v1 = v0;  // as f32
          const float v2 = bf16_at(x2[u], j);  // load p1[i0 * 327680 + i1 * 1280 + i2]
          const float v3 = v2;  // as f32
          const float v4 = v1 * v3;  // mul
          r5[j] = r5[j] + v4;  // sum
          r6[j] = r6[j] + v1;  // sum
        }
      }
    }
  }
  across_members<Sum, 32, 8, 8>(r5, (float*)shared, member, unit);
  across_members<Sum, 32, 8, 8>(r6, (float*)shared, member, unit);
  if (member == 0) {
    float y7[8];
    float y8[8];
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      y7[j] = r5[j];
      y8[j] = r6[j];
    }
    unsigned w7[8];
    pack_f32(w7, y7);
    store<16, 32>(p2 + i0 * 1280 + i2, w7);  // store p2[i0 * 1280 + i2]
    unsigned w8[8];
    pack_f32(w8, y8);
    store<16, 32>(p3 + i0 * 1280 + i2, w8);  // store p3[i0 * 1280 + i2]
  }
}
