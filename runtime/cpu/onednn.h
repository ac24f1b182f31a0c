// oneDNN's single-precision GEMM, if the library is on this machine.
#pragma once

#include <cstdint>
#include <string>

namespace fusec::cpu {

struct OneDnn {
  // Row-major C[m, n] = alpha * op(A) op(B) + beta * C on the calling thread alone. Null when the
  // library is absent. Throws an internal Error if oneDNN refuses the arguments.
  void sgemm(bool trans_a, bool trans_b, int64_t m, int64_t n, int64_t k, float alpha,
             const float* a, int64_t lda, const float* b, int64_t ldb, float beta, float* c,
             int64_t ldc) const;
  bool available() const { return function != nullptr; }

  using Sgemm = int (*)(char, char, int64_t, int64_t, int64_t, float, const float*, int64_t,
                        const float*, int64_t, float, float*, int64_t);
  Sgemm function = nullptr;
  void (*set_threads)(int) = nullptr;
  std::string line;  // "oneDNN 2.6.0 (libdnnl.so.2)", or why it is absent
};

// Opened on first use; env("FUSEC_ONEDNN") may name a library or be "off". A named library that
// cannot be opened is a device Error.
const OneDnn& onednn();

}  // namespace fusec::cpu
