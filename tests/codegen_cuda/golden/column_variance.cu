
// Lane j of packed words.
template <int N>
__device__ __forceinline__ float f32_at(const unsigned (&w)[N], int j) { return __uint_as_float(w[j]); }

template <int N, int C>
__device__ __forceinline__ void pack_f32(unsigned (&w)[N], const float (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = __float_as_uint(v[j]);
}

template <int N, int C>
__device__ __forceinline__ void pack_f64(unsigned (&w)[N], const double (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    w[2 * j] = (unsigned)__double2loint(v[j]);
    w[2 * j + 1] = (unsigned)__double2hiint(v[j]);
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

// C elements of S bytes from words to memory, `stride` elements apart; those from `end` on are not.
template <int S, int C, int N>
__device__ __forceinline__ void store_strided(void* to, const unsigned (&w)[N], long long stride, long long end = C) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    if (j >= end) continue;
    const long long at = j * stride;
    if constexpr (S == 8)
      static_cast<uint2*>(to)[at] = make_uint2(w[2 * j], w[2 * j + 1]);
    else if constexpr (S == 4)
      static_cast<unsigned*>(to)[at] = w[j];
    else if constexpr (S == 2)
      static_cast<unsigned short*>(to)[at] = (unsigned short)(w[j / 2] >> (16 * (j & 1)));
    else
      static_cast<unsigned char*>(to)[at] = (unsigned char)(w[j / 4] >> (8 * (j & 3)));
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

// Member 0's lanes to all members, G at a time.
template <int UNITS, int G, class T, int W>
__device__ __forceinline__ void from_member_0(T (&v)[W], T* shared, int member, int unit) {
#pragma unroll
  for (int g = 0; g < W; g += G) {
    __syncthreads();
    if (member == 0)
#pragma unroll
      for (int j = 0; j < G; ++j) shared[j * UNITS + unit] = v[g + j];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < G; ++j) v[g + j] = shared[j * UNITS + unit];
  }
}

extern "C" __global__ void __launch_bounds__(128)
fusec_column_variance(const float* p0, const float* p1, float* p2, double* p3, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int unit = threadIdx.x % 8;
  const int member = threadIdx.x / 8;
  const int i1 = ((int)(blockIdx.x % 3u * 8) + unit) * 4;
  const bool here = i1 < 77;
  const int left = 77 - i1;
  const float* from0 = p0 + (i1);
  __shared__ __align__(16) unsigned char shared[4096];
  float r3[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) r3[j] = 0.0f;
  if (here) {
    unsigned x1[4];
    load<16, 16>(x1, p1 + i1);  // load p1[i1]
#pragma unroll 1
    for (int first = 0; first < 19; first += 4) {
      unsigned x0[4][4];
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int step = member + (first + u) * 16;
        const int i0 = (int)(step);
        if (step < 300) {
          load<4, 16>(x0[u], from0 + i0 * 77);  // load p0[i0 * 77 + i1]
        }
      }
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int step = member + (first + u) * 16;
        if (step < 300) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const float v0 = f32_at(x0[u], j);  // load p0[i0 * 77 + i1]
            const float v1 = f32_at(x1, j);  // load p1[i1]
            const float v2 = v0 + v1;  // add
            r3[j] = r3[j] + v2;  // sum
          }
        }
      }
    }
  }
  across_members<Sum, 16, 8, 4>(r3, (float*)shared, member, unit);
  from_member_0<8, 4>(r3, (float*)shared, member, unit);
  double r9[4];
#pragma unroll
  for (int j = 0; j < 4; ++j) r9[j] = 0.0;
  if (here) {
    unsigned x1[4];
    load<16, 16>(x1, p1 + i1);  // load p1[i1]
#pragma unroll 1
    for (int first = 0; first < 19; first += 4) {
      unsigned x0[4][4];
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int step = member + (first + u) * 16;
        const int i0 = (int)(step);
        if (step < 300) {
          load<4, 16>(x0[u], from0 + i0 * 77);  // load p0[i0 * 77 + i1]
        }
      }
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const int step = member + (first + u) * 16;
        if (step < 300) {
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            const float v0 = f32_at(x0[u], j);  // load p0[i0 * 77 + i1]
            const float v1 = f32_at(x1, j);  // load p1[i1]
            const float v2 = v0 + v1;  // add
            const float v5 = divide_large(r3[j], 300.0f);  // div
            const float v6 = v2 - v5;  // sub
            const float v7 = v6 * v6;  // mul
            const double v8 = (double)v7;  // as f64
            r9[j] = r9[j] + v8;  // sum
          }
        }
      }
    }
  }
  across_members<Sum, 16, 8, 4>(r9, (double*)shared, member, unit);
  if (member == 0 && here) {
    float y10[4];
    double y11[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float v5 = divide_large(r3[j], 300.0f);  // div
      y10[j] = v5;
      y11[j] = r9[j];
    }
    unsigned w10[4];
    pack_f32(w10, y10);
    if (left >= 4) store<16, 16>(p2 + i1, w10);  // store p2[i1]
    else store_strided<4, 4>(p2 + i1, w10, 1, left);
    unsigned w11[8];
    pack_f64(w11, y11);
    if (left >= 4) store<16, 32>(p3 + i1, w11);  // store p3[i1]
    else store_strided<8, 4>(p3 + i1, w11, 1, left);
  }
}
