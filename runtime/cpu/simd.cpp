// Compiles simd_body.inc once for each instruction set and picks one at run time, so that a binary
// built for plain x86-64 (or any other machine) runs at full speed on a newer processor.
#include "simd.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "fusec/base/dtype.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Vectors cross only functions of one namespace below, all compiled for one instruction set.
#pragma GCC diagnostic ignored "-Wpsabi"

#define FUSEC_ISA baseline
#define FUSEC_ISA_NAME "baseline"
#define FUSEC_LANES 4
#define FUSEC_MR 6
#include "simd_body.inc"

#if defined(__x86_64__)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#define FUSEC_ISA avx2
#define FUSEC_ISA_NAME "avx2+fma"
#define FUSEC_LANES 8
#define FUSEC_MR 6
#include "simd_body.inc"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if defined(__clang__)
#pragma clang attribute push(                                                    \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#endif
#define FUSEC_ISA avx512
#define FUSEC_ISA_NAME "avx512f"
#define FUSEC_LANES 16
#define FUSEC_MR 8
#include "simd_body.inc"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif

namespace fusec::cpu {

void VectorKernels::widen(DType t, const uint16_t* in, float* out, int64_t n) const {
  return t == DType::bf16 ? from_bf16(in, out, n) : from_f16(in, out, n);
}

void VectorKernels::narrow(DType t, const float* in, uint16_t* out, int64_t n) const {
  if (t == DType::bf16) return to_bf16(in, out, n);
  for (int64_t i = 0; i < n; ++i) out[i] = f16_from_float(in[i]);
}

const VectorKernels* const* runnable_vector_kernels(int* count) {
  struct Sets {
    const VectorKernels* sets[3];
    int count = 0;
    Sets() {
#if defined(__x86_64__)
      if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
          __builtin_cpu_supports("f16c"))
        sets[count++] = &avx512::kernels;
      if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
          __builtin_cpu_supports("f16c"))
        sets[count++] = &avx2::kernels;
#endif
      sets[count++] = &baseline::kernels;
    }
  };
  static const Sets found;
  *count = found.count;
  return found.sets;
}

const VectorKernels& vector_kernels() {
  int count = 0;
  static const VectorKernels& best = *runnable_vector_kernels(&count)[0];
  return best;
}

}  // namespace fusec::cpu
