
__device__ __forceinline__ float from_f16(unsigned short bits) {
  float v;
  asm("cvt.f32.f16 %0, %1;" : "=f"(v) : "h"(bits));
  return v;
}

__device__ __forceinline__ unsigned short to_f16(float v) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(v));
  return bits;
}

template <int N>
__device__ __forceinline__ double f64_at(const unsigned (&w)[N], int j) {
  return __hiloint2double((int)w[2 * j + 1], (int)w[2 * j]);
}

template <int N>
__device__ __forceinline__ long long i64_at(const unsigned (&w)[N], int j) {
  return (long long)((unsigned long long)w[2 * j + 1] << 32 | w[2 * j]);
}

template <int N>
__device__ __forceinline__ unsigned char u8_at(const unsigned (&w)[N], int j) { return w[j / 4] >> (8 * (j & 3)) & 255; }

template <int N>
__device__ __forceinline__ float f16_at(const unsigned (&w)[N], int j) {
  return from_f16((unsigned short)(w[j / 2] >> (16 * (j & 1))));
}

template <int N, int C>
__device__ __forceinline__ void pack_f64(unsigned (&w)[N], const double (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    w[2 * j] = (unsigned)__double2loint(v[j]);
    w[2 * j + 1] = (unsigned)__double2hiint(v[j]);
  }
}

template <int N, int C>
__device__ __forceinline__ void pack_i32(unsigned (&w)[N], const int (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) w[j] = (unsigned)v[j];
}

template <int N, int C>
__device__ __forceinline__ void pack_i64(unsigned (&w)[N], const long long (&v)[C]) {
#pragma unroll
  for (int j = 0; j < C; ++j) {
    w[2 * j] = (unsigned)(unsigned long long)v[j];
    w[2 * j + 1] = (unsigned)((unsigned long long)v[j] >> 32);
  }
}

template <class T, int N, int C>
__device__ __forceinline__ void pack_u8(unsigned (&w)[N], const T (&v)[C]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    w[i] = 0;
#pragma unroll
    for (int j = 4 * i; j < 4 * i + 4 && j < C; ++j) w[i] |= (unsigned)v[j] << (8 * (j & 3));
  }
}

__device__ __forceinline__ unsigned f16_pair(float low, float high) {
  unsigned w;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(w) : "f"(high), "f"(low));
  return w;
}

template <int N, int C>
__device__ __forceinline__ void pack_f16(unsigned (&w)[N], const float (&v)[C]) {
  if constexpr (C == 1) {
    w[0] = to_f16(v[0]);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) w[i] = f16_pair(v[2 * i], v[2 * i + 1]);
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

__device__ __forceinline__ double max_nan(double a, double b) { return a != a || a > b ? a : b; }

// Towards 0; never traps and wraps: x / 0 is x.
template <class T>
__device__ __forceinline__ T divide_int(T a, T b) {
  if (b == 0) return a;
  return b == -1 ? (T)(0ull - (unsigned long long)a) : a / b;
}

// Towards 0; NaN and what does not fit give the least integer.
template <class T>
__device__ __forceinline__ int to_i32(T v) {
  return v > (T)-2147483649.0 && v < (T)2147483648.0 ? (int)v : (int)0x80000000u;
}

// Towards 0; NaN and what does not fit give the least integer.
template <class T>
__device__ __forceinline__ long long to_i64(T v) {
  return v >= (T)-9223372036854775808.0 && v < (T)9223372036854775808.0
             ? (long long)v : (long long)0x8000000000000000ull;
}

extern "C" __global__ void __launch_bounds__(64)
fusec_casts(const double* p0, const long long* p1, const unsigned short* p2, const unsigned char* p3, int* p4, long long* p5, unsigned short* p6, unsigned char* p7, double* p8, unsigned char* p9, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const long long i = (long long)blockIdx.x * 256 + threadIdx.x * 2;
  if (i >= n) return;
  unsigned x0[2][4];
  unsigned x1[2][4];
  unsigned x2[2][1];
  unsigned x3[2][1];
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    if (i + c * 128 < n) {
      load<16, 16>(x0[c], p0 + (i + c * 128));  // load p0[i0]
      load<16, 16>(x1[c], p1 + (i + c * 128));  // load p1[i0]
      load<4, 4>(x2[c], p2 + (i + c * 128));  // load p2[i0]
      load<2, 2>(x3[c], p3 + (i + c * 128));  // load p3[i0]
    }
  }
#pragma unroll
  for (int c = 0; c < 2; ++c) {
    if (i + c * 128 < n) {
      int y18[2];
      long long y19[2];
      float y20[2];
      unsigned char y21[2];
      double y22[2];
      bool y23[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const double v0 = f64_at(x0[c], j);  // load p0[i0]
        const int v4 = to_i32(v0);  // as i32
        const int v13 = to_i32(v0);  // as i32
        const int v15 = divide_int(v13, 7);  // div
        const int v16 = (int)((unsigned)v4 + (unsigned)v15);  // add
        y18[j] = v16;
        const long long v5 = to_i64(v0);  // as i64
        const long long v1 = i64_at(x1[c], j);  // load p1[i0]
        const long long v6 = (long long)((unsigned long long)v5 + (unsigned long long)v1);  // add
        const long long v17 = (v6 < 0 ? (long long)(0ull - (unsigned long long)v6) : v6);  // abs
        y19[j] = v17;
        y20[j] = v1;
        const float v2 = f16_at(x2[c], j);  // load p2[i0]
        const unsigned char v8 = (unsigned char)to_i32(v2);  // as u8
        y21[j] = v8;
        const unsigned char v3 = u8_at(x3[c], j);  // load p3[i0]
        const double v9 = (double)v3;  // as f64
        const double v10 = sqrt(v9);  // sqrt
        const double v11 = max_nan(v10, v0);  // max
        y22[j] = v11;
        const bool v12 = v2 != 0.0f;  // as b8
        y23[j] = v12;
      }
      unsigned w18[2];
      pack_i32(w18, y18);
      store<8, 8>(p4 + (i + c * 128), w18);  // store p4[i0]
      unsigned w19[4];
      pack_i64(w19, y19);
      store<16, 16>(p5 + (i + c * 128), w19);  // store p5[i0]
      unsigned w20[1];
      pack_f16(w20, y20);
      store<4, 4>(p6 + (i + c * 128), w20);  // store p6[i0]
      unsigned w21[1];
      pack_u8(w21, y21);
      store<2, 2>(p7 + (i + c * 128), w21);  // store p7[i0]
      unsigned w22[4];
      pack_f64(w22, y22);
      store<16, 16>(p8 + (i + c * 128), w22);  // store p8[i0]
      unsigned w23[1];
      pack_u8(w23, y23);
      store<2, 2>(p9 + (i + c * 128), w23);  // store p9[i0]
    }
  }
}
