// global_norm (optim.cpp:20)

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

extern "C" __global__ void __launch_bounds__(512)
fusec_square_sum(const unsigned short* p0, float* p1, long long n, const unsigned* skip) {
  if (skip && *skip) return;
  const int member = threadIdx.x;
  const long long unit = blockIdx.x, begin = unit * 65536;
  const long long left = n - begin;
  const int count = left < 65536 ? (int)left : 65536;
  float r3 = 0.0f;
#pragma unroll 1
  for (int first = member * 8; first < count; first += 16384) {
    unsigned x0[4][4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int at = first + u * 4096;
      if (at < count) {
        load<16, 16>(x0[u], p0 + (begin + at));  // load p0[i0]
      }
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int at = first + u * 4096;
      if (at < count) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          if (at + j < count) {
            const float v0 = bf16_at(x0[u], j);  // load p0[i0]
            const float v1 = v0;  // as f32
            const float v2 = v1 * v1;  // mul
            r3 = r3 + v2;  // sum
          }
        }
      }
    }
  }
  r3 = across_lanes<Sum, 32>(r3);
  __shared__ float s3[16];
  if (threadIdx.x % 32 == 0) s3[threadIdx.x / 32] = r3;
  __syncthreads();
  r3 = across_lanes<Sum, 16>(s3[threadIdx.x % 16]);
  if (member == 0) {
    *(p1 + unit) = r3;  // store p1[0]
  }
}
