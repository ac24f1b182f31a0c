// The own GEMM: packs A and B into panels of f32 in the order in which the register-blocked
// micro-kernel reads them, k by blocks, and sums in an f32 tile. Packing absorbs transposes and
// the 16-bit types. (The structure is that of Goto and van de Geijn, "Anatomy of high-performance
// matrix multiplication", 2008.)
#include <algorithm>
#include <cmath>
#include <cstring>

#include "gemm.h"
#include "memory.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kBlockK = 256;

// One operand seen as a matrix of `lanes` (rows of A, columns of B) by k.
struct Operand {
  const void* data;
  DType type;
  int64_t ld;
  bool lanes_contiguous;  // else k is

  // The element (lane, p), as f32 in place or converted into `scratch` (rows x cols, dense).
  const float* block(const VectorKernels& v, int64_t row, int64_t rows, int64_t col, int64_t cols,
                     float* scratch, int64_t* stride) const {
    if (type == f32) {
      *stride = ld;
      return static_cast<const float*>(data) + row * ld + col;
    }
    const uint16_t* in = static_cast<const uint16_t*>(data) + row * ld + col;
    for (int64_t r = 0; r < rows; ++r) v.widen(type, in + r * ld, scratch + r * cols, cols);
    *stride = cols;
    return scratch;
  }
};

// Packs lanes [lane, lane + count), k [k0, k0 + kb) into panels of `width` lanes: panel after
// panel, each [kb][width], missing lanes zero. scratch: kBlockK * width floats.
void pack(const VectorKernels& v, const Operand& x, int64_t lane, int64_t count, int64_t k0,
          int64_t kb, int64_t width, float* out, float* scratch) {
  for (int64_t first = 0; first < count; first += width, out += kb * width) {
    int64_t lanes = std::min(width, count - first), stride = 0;
    if (!x.lanes_contiguous) {
      const float* in = x.block(v, lane + first, lanes, k0, kb, scratch, &stride);
      v.transpose(in, stride, lanes, kb, out, width);
      continue;
    }
    const float* in = x.block(v, k0, kb, lane + first, lanes, scratch, &stride);
    for (int64_t p = 0; p < kb; ++p) {
      std::copy_n(in + p * stride, lanes, out + p * width);
      std::fill_n(out + p * width + lanes, width - lanes, 0.0f);
    }
  }
}

const float* widened(const VectorKernels& v, DType type, const void* from, int64_t at, int64_t n,
                     float* scratch) {
  if (type == f32) return static_cast<const float*>(from) + at;
  v.widen(type, static_cast<const uint16_t*>(from) + at, scratch, n);
  return scratch;
}

// Of the tanh form. Where tanh is 1 in f32, the powers of x may be infinite.
float gelu_slope(float x) {
  float t = std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)), rest = 1 - t * t;
  if (rest == 0) return 0.5f * (1 + t);
  return 0.5f * (1 + t) + 0.5f * x * rest * 0.7978845608028654f * (1 + 0.134145f * x * x);
}

}  // namespace

void finish_row(const VectorKernels& v, const Gemm& g, const GemmSides& sides, const float* sum,
                void* c, int64_t offset, int64_t col, int64_t n, float* scratch) {
  // Sums are made in C's own memory, unless it is narrow or holds the addend still.
  bool in_place = g.type_c == f32 && !(g.epilogue.add && sides.addend == c);
  float* out = in_place ? static_cast<float*>(c) + offset : scratch;
  uint16_t* narrow = static_cast<uint16_t*>(c) + offset;
  auto alpha = static_cast<float>(g.alpha), beta = static_cast<float>(g.beta);
  if (g.beta == 0) {
    for (int64_t j = 0; j < n; ++j) out[j] = alpha * sum[j];
  } else {
    if (g.type_c != f32) v.widen(g.type_c, narrow, out, n);
    for (int64_t j = 0; j < n; ++j) out[j] = alpha * sum[j] + beta * out[j];
  }
  if (g.epilogue.any()) finish_sums(v, g, sides, out, offset, col, n, scratch + n);
  if (g.type_c != f32)
    v.narrow(g.type_c, out, narrow, n);
  else if (!in_place)
    std::copy_n(out, n, static_cast<float*>(c) + offset);
}

void finish_sums(const VectorKernels& v, const Gemm& g, const GemmSides& sides, float* sums,
                 int64_t at, int64_t col, int64_t n, float* scratch) {
  const GemmEpilogue& e = g.epilogue;
  if (e.add) {
    const float* addend = widened(v, g.type_c, sides.addend, at, n, scratch);
    for (int64_t j = 0; j < n; ++j) sums[j] += addend[j];
  }
  if (e.bias) {
    const float* bias = widened(v, g.type_c, sides.bias, col, n, scratch);
    for (int64_t j = 0; j < n; ++j) sums[j] += bias[j];
  }
  if (e.aux && g.type_c == f32) std::copy_n(sums, n, static_cast<float*>(sides.aux) + at);
  if (e.aux && g.type_c != f32) v.narrow(g.type_c, sums, static_cast<uint16_t*>(sides.aux) + at, n);
  if (e.gelu)
    for (int64_t j = 0; j < n; ++j) {
      float x = sums[j];
      sums[j] = 0.5f * x * (1 + std::tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));
    }
  if (e.dgelu) {
    const float* pre = widened(v, g.type_c, sides.pre, at, n, scratch);
    for (int64_t j = 0; j < n; ++j) sums[j] *= gelu_slope(pre[j]);
  }
}

int64_t operand_sums_length(const Gemm& g) { return g.epilogue.bgrada ? g.m : g.n; }

void operand_sums(const VectorKernels& v, const Gemm& g, const void* a, const void* b,
                  const void* c, void* sums, int64_t first, int64_t count) {
  const GemmEpilogue& e = g.epilogue;
  // Seen as `rows` rows of the summed index by elements of the vector, or transposed.
  const void* data = e.bgrad ? c : e.bgrada ? a : b;
  DType type = e.bgrad ? g.type_c : e.bgrada ? g.type_a : g.type_b;
  int64_t ld = e.bgrad ? g.ldc : e.bgrada ? g.lda : g.ldb, rows = e.bgrad ? g.m : g.k;
  bool vector_is_row = e.bgrad || (e.bgrada ? g.trans_a : !g.trans_b);
  double total[kMostSums] = {};
  float scratch[kMostSums];
  for (int64_t r = 0; vector_is_row && r < rows; ++r) {
    const float* row = widened(v, type, data, r * ld + first, count, scratch);
    for (int64_t j = 0; j < count; ++j) total[j] += row[j];
  }
  for (int64_t j = 0; !vector_is_row && j < count; ++j)
    for (int64_t r = 0; r < rows; r += kMostSums) {
      int64_t n = std::min(kMostSums, rows - r);
      const float* row = widened(v, type, data, (first + j) * ld + r, n, scratch);
      for (int64_t i = 0; i < n; ++i) total[j] += row[i];
    }
  std::copy_n(total, count, scratch);
  if (g.type_c == f32)
    std::copy_n(scratch, count, static_cast<float*>(sums) + first);
  else
    v.narrow(g.type_c, scratch, static_cast<uint16_t*>(sums) + first, count);
}

int64_t own_gemm_scratch(const VectorKernels& v, int64_t rows, int64_t cols) {
  int64_t ld = (cols + v.nr - 1) / v.nr * v.nr, lanes = (rows + v.mr - 1) / v.mr * v.mr;
  return rows * ld + kBlockK * (lanes + ld + std::max(v.mr, v.nr)) + 2 * ld;
}

void own_gemm_tile(const VectorKernels& v, const Gemm& g, const void* a, const void* b, void* c,
                   const GemmTile& t, const GemmSides& sides) {
  int64_t row_panels = (t.rows + v.mr - 1) / v.mr, col_panels = (t.cols + v.nr - 1) / v.nr;
  int64_t ld = col_panels * v.nr;
  int64_t widest = std::max(v.mr, v.nr);
  float* sum = thread_scratch(own_gemm_scratch(v, t.rows, t.cols));
  float* packed_a = sum + t.rows * ld;
  float* packed_b = packed_a + kBlockK * row_panels * v.mr;
  float* scratch = packed_b + kBlockK * ld;
  float* row = scratch + kBlockK * widest;
  Operand left{a, g.type_a, g.lda, g.trans_a}, right{b, g.type_b, g.ldb, !g.trans_b};

  if (g.k == 0) std::fill_n(sum, t.rows * ld, 0.0f);
  for (int64_t k0 = 0; k0 < g.k; k0 += kBlockK) {
    int64_t kb = std::min(kBlockK, g.k - k0);
    pack(v, left, t.row, t.rows, k0, kb, v.mr, packed_a, scratch);
    pack(v, right, t.col, t.cols, k0, kb, v.nr, packed_b, scratch);
    for (int64_t j = 0; j < col_panels; ++j)
      for (int64_t i = 0; i < row_panels; ++i)
        v.block_gemm(std::min(v.mr, t.rows - i * v.mr), v.nr, kb, packed_a + i * kb * v.mr, 1, v.mr,
                     packed_b + j * kb * v.nr, v.nr, sum + i * v.mr * ld + j * v.nr, ld, k0 > 0);
  }
  for (int64_t i = 0; i < t.rows; ++i)
    finish_row(v, g, sides, sum + i * ld, c, (t.row + i) * g.ldc + t.col, t.col, t.cols, row);
}

}  // namespace fusec::cpu
