// cuBLASLt, opened when the first program with a GEMM is loaded (it is large).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "vendor/driver.h"

namespace fusec::cuda {

using LtHandle = struct LtHandleTag*;
using LtMatmul = struct LtMatmulTag*;
using LtLayout = struct LtLayoutTag*;
using LtPreference = struct LtPreferenceTag*;

// cublasLtMatmulAlgo_t: plain data.
struct LtAlgo {
  uint64_t data[8];
};

// cublasLtMatmulHeuristicResult_t.
struct LtHeuristic {
  LtAlgo algo;
  size_t workspace;  // bytes that the algorithm needs
  int state;         // 0: the rest is valid
  float waves;
  int reserved[4];
};
static_assert(sizeof(LtHeuristic) == 96);

// Every function that is used; all but two return a cublasStatus_t, 0 for success.
#define FUSEC_CUBLASLT_SYMBOLS(X)                                                                \
  X(cublasLtGetVersion, size_t())                                                                \
  X(cublasLtGetStatusString, const char*(int status))                                            \
  X(cublasLtCreate, int(LtHandle * handle))                                                      \
  X(cublasLtMatmulDescCreate, int(LtMatmul * desc, int compute_type, int scale_type))            \
  X(cublasLtMatmulDescDestroy, int(LtMatmul desc))                                               \
  X(cublasLtMatmulDescSetAttribute, int(LtMatmul, int which, const void* value, size_t bytes))   \
  X(cublasLtMatrixLayoutCreate,                                                                  \
    int(LtLayout * layout, int type, uint64_t rows, uint64_t cols, int64_t ld))                  \
  X(cublasLtMatrixLayoutDestroy, int(LtLayout layout))                                           \
  X(cublasLtMatrixLayoutSetAttribute, int(LtLayout, int which, const void* value, size_t bytes)) \
  X(cublasLtMatmulPreferenceCreate, int(LtPreference * preference))                              \
  X(cublasLtMatmulPreferenceDestroy, int(LtPreference preference))                               \
  X(cublasLtMatmulPreferenceSetAttribute,                                                        \
    int(LtPreference, int which, const void* value, size_t bytes))                               \
  X(cublasLtMatmulAlgoGetHeuristic,                                                              \
    int(LtHandle, LtMatmul, LtLayout a, LtLayout b, LtLayout c, LtLayout d, LtPreference,        \
        int wanted, LtHeuristic* results, int* count))                                           \
  X(cublasLtMatmulAlgoCheck,                                                                       \
    int(LtHandle, LtMatmul, LtLayout a, LtLayout b, LtLayout c, LtLayout d, const LtAlgo*,         \
        LtHeuristic* result))                                                                      \
  X(cublasLtMatmul,                                                                              \
    int(LtHandle, LtMatmul, const void* alpha, const void* a, LtLayout, const void* b, LtLayout, \
        const void* beta, const void* c, LtLayout, void* d, LtLayout, const LtAlgo*,             \
        void* workspace, size_t bytes, CuStream))

struct CublasLt {
#define FUSEC_MEMBER(name, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  FUSEC_CUBLASLT_SYMBOLS(FUSEC_MEMBER)
#undef FUSEC_MEMBER
  std::string line;     // "cuBLASLt 13.1 (libcublasLt.so.13)"
  std::string problem;  // why nothing of it may be used; empty: all of it may
};

// The process's cuBLASLt, searched for once.
const CublasLt& cublaslt();

// The process's handle for a GPU, whose context must be current; null, with the reason in `why`, if
// cuBLASLt is absent or does not start there.
LtHandle cublaslt_handle(const Gpu& gpu, std::string* why);

}  // namespace fusec::cuda
