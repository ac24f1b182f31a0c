// Products of few rows with a matrix of weights: one row a sequence, as in decoding. All of B is
// read for a handful of sums an element, so the time is that of reading it; packing it first, as a
// large product's kernel does, would double that. Weights held in 16 bits are widened in registers.
#include <algorithm>

#include "gemm.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kFewRows = 8;
constexpr int64_t kBytesOfB = 64 << 10;  // of a tile: a few microseconds of one core's reading
constexpr int64_t kColumns = 16;         // tiles are multiples of this

int64_t columns_of(const Gemm& g) {
  int64_t row = std::max<int64_t>(1, g.k * size_of(g.type_b));
  int64_t most = std::min(kMaxTile, (g.n + kColumns - 1) / kColumns * kColumns);
  return std::clamp(kBytesOfB / row / kColumns * kColumns, kColumns, std::max(kColumns, most));
}

}  // namespace

bool is_few_rows(const Gemm& g) {
  return g.m <= kFewRows && g.k > 0 && !g.trans_a && g.trans_b && g.type_c != f64;
}

TileGrid few_rows_grid(const Gemm& g) {
  int64_t columns = columns_of(g);
  return {kFewRows, columns, 1, (g.n + columns - 1) / columns};
}

int64_t few_rows_scratch(const Gemm& g) {
  return (g.m + 2) * columns_of(g) + (g.type_a == f32 ? 0 : g.m * g.k);
}

void few_rows_tile(const VectorKernels& v, const Gemm& g, const void* a, const void* b, void* c,
                   const GemmTile& t, const GemmSides& sides) {
  float* sums = thread_scratch(few_rows_scratch(g));
  float* scratch = sums + g.m * t.cols;
  auto* x = static_cast<const float*>(a);
  int64_t ldx = g.lda;
  if (g.type_a != f32) {
    float* wide = scratch + 2 * t.cols;
    for (int64_t i = 0; i < g.m; ++i)
      v.widen(g.type_a, static_cast<const uint16_t*>(a) + i * g.lda, wide + i * g.k, g.k);
    x = wide, ldx = g.k;
  }
  auto* rows = static_cast<const std::byte*>(b) + t.col * g.ldb * size_of(g.type_b);
  v.row_dots(g.type_b, rows, g.ldb, t.cols, g.k, x, ldx, g.m, sums, t.cols);
  for (int64_t i = 0; i < g.m; ++i)
    finish_row(v, g, sides, sums + i * t.cols, c, i * g.ldc + t.col, t.col, t.cols, scratch);
}

}  // namespace fusec::cpu
