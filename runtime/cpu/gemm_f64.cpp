// C = alpha op(A) op(B) + beta C in f64, row by row: every element is summed in the order of k, so
// cutting the product into tiles does not change it.
#include <algorithm>

#include "gemm.h"

namespace fusec::cpu {

void f64_gemm_tile(const Gemm& g, const double* a, const double* b, double* c,
                   const GemmTile& t) {
  double sum[kMaxTile];
  for (int64_t i = t.row; i < t.row + t.rows; ++i) {
    std::fill_n(sum, t.cols, 0.0);
    for (int64_t p = 0; p < g.k; ++p) {
      double x = g.trans_a ? a[p * g.lda + i] : a[i * g.lda + p];
      const double* row = g.trans_b ? b + t.col * g.ldb + p : b + p * g.ldb + t.col;
      int64_t stride = g.trans_b ? g.ldb : 1;
      for (int64_t j = 0; j < t.cols; ++j) sum[j] += x * row[j * stride];
    }
    double* out = c + i * g.ldc + t.col;
    for (int64_t j = 0; j < t.cols; ++j)
      out[j] = g.alpha * sum[j] + (g.beta == 0 ? 0 : g.beta * out[j]);
  }
}

}  // namespace fusec::cpu
