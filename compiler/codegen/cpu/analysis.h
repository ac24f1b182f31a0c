// What an emitter must know of a kernel before it writes code: which ops depend on which indices,
// how many reductions stand before them, what to recompute and what to keep. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/codegen_cpu/codegen.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::codegen_cpu {

// Where a value is computed: once a call, once a work unit, or for each element of a unit.
enum class Level : uint8_t { launch, unit, inner };

struct OpFacts {
  uint32_t dims = 0;     // bit d: the value (or address) depends on i[d]
  bool varies = false;   // along the last dimension: a vector, else a scalar
  Level level = Level::launch;
  int stage = 0;         // reductions on the longest path to it
  bool live = false;     // reaches a store
  bool wide = false;     // used in arithmetic
  bool packed = false;   // stored as it is
  int cost = 0;          // element-level work below it, in simple operations
  int first_pass = -1;   // rows: the pass that computes it first
  bool buffered = false; // rows: kept in a row buffer from first_pass on
  std::vector<int64_t> strides;  // of its access, 0 along dimensions of size 1
};

struct Analysis {
  std::vector<OpFacts> ops;
  uint32_t inner_dims = 0;  // looped over inside a work unit
  int stages = 0;           // reductions on the longest path of the kernel
  int lanes = 1;            // lanes of a step; a power of two, at most 64
  int64_t inner_rows = 1;   // rows, columns: product of the dimensions between unit and last
  bool unrolled = false;    // rows: the whole row is held in registers
};

// Throws an internal Error if the kernel breaks a rule that the emitters rely on.
Analysis analyse(const KernelProgram& kernel, const CpuTarget& target);

// A stride of an access along the last dimension.
inline int64_t last_stride(const OpFacts& f) { return f.strides.empty() ? 0 : f.strides.back(); }

constexpr bool is_transcendental(Prim p) {
  return (p >= Prim::exp && p <= Prim::pow) || (p >= Prim::sin && p <= Prim::erf) ||
         p == Prim::philox;
}

[[noreturn]] void fail_kernel(const KernelProgram& kernel, const std::string& what);

}  // namespace fusec::codegen_cpu
