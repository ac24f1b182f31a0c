// The vector routines that the library calls are built from, compiled for several instruction sets
// and chosen once at run time. All work on f32 in row-major tiles.
#pragma once

#include <cstdint>

#include "fusec/base/dtype.h"

namespace fusec::cpu {

// Tile widths are padded to this many floats, whatever the vector length.
inline constexpr int64_t kLanePad = 16;
inline int64_t pad_lanes(int64_t n) { return (n + kLanePad - 1) / kLanePad * kLanePad; }

// A tile of attention scores, transposed: scores[j * ld + i] belongs to key j and query i, so that
// the softmax runs over rows and needs no horizontal vector operation. ld: a multiple of kLanePad,
// all `ld` lanes are computed. Query i sees key j if and only if
// i + oldest <= j <= i + diagonal or j < prefix.
struct ScoreTile {
  float* scores;
  int64_t keys, ld;
  int64_t diagonal, oldest, prefix;  // all within 32 bits
  float scale, softcap;              // softcap 0: none
};

struct VectorKernels {
  const char* name;  // "avx512f", "avx2+fma", "baseline"
  int64_t mr, nr;    // register block: rows and columns of the micro-kernel

  // C[m, n] = A B, or += when `accumulate`. A(i, p) = a[i * row_stride + p * k_stride]; B and C are
  // row-major with leading dimensions ldb, ldc. n must be a multiple of kLanePad. Every element is
  // summed in the order of p, whatever m and n, so that splitting a product does not change it.
  void (*block_gemm)(int64_t m, int64_t n, int64_t k, const float* a, int64_t row_stride,
                     int64_t k_stride, const float* b, int64_t ldb, float* c, int64_t ldc,
                     bool accumulate);
  // One step of the online softmax: turns raw dot products into exp(score - running max), updates
  // max[ld] and sum[ld], and writes to rescale[ld] what earlier partial outputs must be multiplied
  // by. (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.)
  void (*softmax_tile)(const ScoreTile& tile, float* max, float* sum, float* rescale);
  // Backward: scores (raw dot products) become probabilities exp(score - lse), and dp = dO V^T
  // (same layout) becomes the gradient of the raw dot products, p * (dp - delta) * d score/d raw.
  void (*softmax_grad_tile)(const ScoreTile& tile, float* dp, const float* lse,
                            const float* delta);
  // out[p * ld + i] = in[i * stride + p] for i < rows, p < cols; lanes rows..ld-1 become zero.
  void (*transpose)(const float* in, int64_t stride, int64_t rows, int64_t cols, float* out,
                    int64_t ld);
  void (*scale)(float* x, int64_t n, float factor);  // touches only n elements
  double (*dot)(const float* a, const float* b, int64_t n);
  void (*from_bf16)(const uint16_t* in, float* out, int64_t n);
  void (*to_bf16)(const float* in, uint16_t* out, int64_t n);
  void (*from_f16)(const uint16_t* in, float* out, int64_t n);
  // out[i * ldo + r] = sum over p < k of x[i * ldx + p] * w[r * ldw + p], i < m, r < rows: few rows
  // of x times many of w, which are read once, as they are held (f32, bf16, f16). Every element is
  // summed in an order that depends on k alone.
  void (*row_dots)(DType type, const void* w, int64_t ldw, int64_t rows, int64_t k, const float* x,
                   int64_t ldx, int64_t m, float* out, int64_t ldo);

  // The same for either 16-bit type, bf16 or f16; to f16 goes element by element.
  void widen(DType t, const uint16_t* in, float* out, int64_t n) const;
  void narrow(DType t, const float* in, uint16_t* out, int64_t n) const;
};

// The best set for this processor.
const VectorKernels& vector_kernels();

// All sets that this processor can run, best first.
const VectorKernels* const* runnable_vector_kernels(int* count);

}  // namespace fusec::cpu
