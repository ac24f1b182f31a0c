// One GEMM problem, and the own kernel that serves what oneDNN does not.
#pragma once

#include <cstdint>

#include "fusec/base/dtype.h"
#include "fusec/plan/plan.h"
#include "simd.h"

namespace fusec::cpu {

// C[m, n] = alpha * op(A) op(B) + beta * C for each of `batch` items; see `gemm` in plan.h.
struct Gemm {
  int64_t m, n, k, batch;
  int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
  bool trans_a, trans_b;
  DType type_a, type_b, type_c;
  double alpha, beta;
  GemmEpilogue epilogue = {};
};

// What the epilogue reads and writes of one batch item; f32, or type_c for 16-bit C. The addend may
// be C's own memory.
struct GemmSides {
  const void *addend = nullptr, *bias = nullptr, *pre = nullptr;
  void* aux = nullptr;
};

// A rectangle of C.
struct GemmTile {
  int64_t row, rows, col, cols;
};

// Largest side of a tile.
inline constexpr int64_t kMaxTile = 512;

// How C is cut into tasks. It depends on the shape alone, so that no bit of the result depends on
// the number of threads.
struct TileGrid {
  int64_t tile_rows, tile_cols;  // at most kMaxTile each
  int64_t down, across;          // tiles of one batch item
};
TileGrid tile_grid(const Gemm& g);

// Floats of scratch that own_gemm_tile takes for a tile of this size.
int64_t own_gemm_scratch(const VectorKernels& v, int64_t rows, int64_t cols);

// Computes one tile on the calling thread; a, b, c are the batch item's. Operands f32, bf16
// or f16; sums in f32, rounded once on store. C is not read when beta is 0.
void own_gemm_tile(const VectorKernels& v, const Gemm& g, const void* a, const void* b, void* c,
                   const GemmTile& tile, const GemmSides& sides = {});

// A product of few rows with the rows of B ([n, k], k contiguous), as decoding makes them: B is
// read once, at the speed of memory, and not packed.
bool is_few_rows(const Gemm& g);
// Tiles of all rows and of columns whose part of B is some 64 KiB.
TileGrid few_rows_grid(const Gemm& g);
int64_t few_rows_scratch(const Gemm& g);  // floats
// As own_gemm_tile, of such a product; k may not be 0.
void few_rows_tile(const VectorKernels& v, const Gemm& g, const void* a, const void* b, void* c,
                   const GemmTile& tile, const GemmSides& sides);

// C = alpha * sum + beta * C for n elements of one row, and the epilogue. `offset`: of the first in
// C, of which `col` is its column. scratch: 2 n floats.
void finish_row(const VectorKernels& v, const Gemm& g, const GemmSides& sides, const float* sum,
                void* c, int64_t offset, int64_t col, int64_t n, float* scratch);

// The epilogue of n sums of one row, in place; `at`: of the first in C, of which `col` is its
// column. scratch: n floats.
void finish_sums(const VectorKernels& v, const Gemm& g, const GemmSides& sides, float* sums,
                 int64_t at, int64_t col, int64_t n, float* scratch);

// Sums over k of op(A) or op(B), or over the rows of the finished C, as the epilogue says, for
// vector elements [first, first + count), at most kMostSums: in f64 in order of the summed index.
inline constexpr int64_t kMostSums = 256;
void operand_sums(const VectorKernels& v, const Gemm& g, const void* a, const void* b,
                  const void* c, void* sums, int64_t first, int64_t count);
// How many elements `sums` has.
int64_t operand_sums_length(const Gemm& g);

// A tile with everything in f64; plain loops, a correctness path.
void f64_gemm_tile(const Gemm& g, const double* a, const double* b, double* c,
                   const GemmTile& tile);

}  // namespace fusec::cpu
