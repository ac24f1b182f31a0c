// One GEMM of a plan on a GPU: by cuBLASLt where it has an algorithm, else by an own kernel that
// takes every shape, stride and type (and is no match for it in speed).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "call.h"
#include "fusec/base/dtype.h"
#include "fusec/base/sha256.h"
#include "fusec/core/disk_cache.h"
#include "vendor/cublaslt.h"

namespace fusec::cuda {

// C[m, n] = alpha * op(A) op(B) + beta * C for each of `batch` items; see `gemm` in plan.h.
struct Gemm {
  int64_t m, n, k, batch;
  int64_t lda, ldb, ldc, stride_a, stride_b, stride_c;
  bool trans_a, trans_b;
  DType type_a, type_b, type_c;
  double alpha, beta;
  GemmEpilogue epilogue = {};

  bool empty() const { return m == 0 || n == 0 || batch == 0; }
  bool doubles() const { return type_c == f64; }
  std::string str() const;  // "m 512, n 256, k 1024, batch 1, bf16 x bf16 -> f32"
};

// Reads and checks the attributes, with the rules and errors of the CPU's GEMM.
Gemm read_gemm(const LibraryCall& call);

// Bytes of workspace that it may use.
int64_t gemm_workspace(const Gemm& g);

// The own kernel: sums in f32 (f64 for f64) in the order of k, then the epilogue, rounds once on
// store. C is not read when beta is 0; k may be 0. The arguments are the call's. No launch for an
// empty product.
std::vector<CallLaunch> own_gemm(const Gemm& g);

// The sums of an epilogue by a kernel of their own, which runs behind the product; none without.
// own_gemm() has them already.
std::vector<CallLaunch> gemm_sums(const Gemm& g);

// Where a product's matrices lie. `free`: the memory holds no value yet, so that measuring may
// write there.
struct GemmMemory {
  struct Matrix {
    CuAddress at = 0;
    bool free = false;
  };
  Matrix a, b, c;
  // Of the epilogue: aux or pre; the bias, or the sums. What is written there is free if C is.
  CuAddress aux = 0, addend = 0, bias = 0;
  CuAddress workspace = 0;
  int64_t workspace_bytes = 0;
};

struct LtOptions {
  bool tf32 = false;
  bool tune = false;  // measure, where the disk does not know the fastest algorithm
  std::shared_ptr<DiskCache> cache = {};  // may be null
};

// A product bound to its addresses and to an algorithm of cuBLASLt.
class LtGemm {
 public:
  // Null, with the reason in `why`, where cuBLASLt offers no algorithm. The GPU's context must be
  // current, here and in run().
  static std::unique_ptr<LtGemm> bind(const Gpu& gpu, const Gemm& g, const GemmMemory& memory,
                                      const LtOptions& options, std::string* why);
  ~LtGemm();
  LtGemm(const LtGemm&) = delete;
  void run(CuStream stream) const;
  bool measured() const { return measured_; }  // products were run to choose its algorithm

  // To have its kernel loaded before the first step. Products of one key run one kernel.
  std::string kernel_key() const;
  // Whether each of its matrices, laid from `begin` on, ends before `end`.
  bool fits(CuAddress begin, CuAddress end) const;
  // As run(), with all matrices laid over each other from `begin` on, as each is aligned; the
  // status. Where that memory is zero it stays so.
  int run_in(CuAddress begin, CuStream stream) const;

 private:
  LtGemm() = default;
  int describe();
  int describe_epilogue();
  int point_epilogue(const GemmMemory& memory) const;
  // The algorithm: of an equal product of this process, of the disk cache, of the heuristic.
  int choose(const Gpu& gpu);
  // What the heuristic offers, the best by its own lights first.
  int ask(std::vector<LtAlgo>* offered);
  // The fastest of them, by running each; the first if none can be run.
  LtAlgo measure(const Gpu& gpu, const std::vector<LtAlgo>& offered);
  bool takes(const LtAlgo& algo) const;
  Digest problem(const Gpu& gpu) const;
  int multiply(const LtAlgo& algo, const GemmMemory& memory, CuStream stream) const;
  // Bytes of each matrix, in the order of the call's arguments.
  int64_t bytes_of_a() const;
  int64_t bytes_of_b() const;
  int64_t bytes_of_c() const;

  Gemm g_{};
  LtHandle handle_ = nullptr;
  LtMatmul matmul_ = nullptr;
  LtLayout a_layout_ = nullptr, b_layout_ = nullptr, c_layout_ = nullptr;
  LtPreference preference_ = nullptr;
  LtAlgo algo_{};
  GemmMemory memory_;
  LtOptions options_;
  float alpha_ = 0, beta_ = 0;
  bool measured_ = false;
};

}  // namespace fusec::cuda
