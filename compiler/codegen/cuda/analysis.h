// What the emitters must know of a kernel before they write text: which values depend on what, how
// wide each access may be, how long the loops are. Plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/plan/kernel_program.h"

namespace fusec::codegen_cuda {

// Where a value is computed: once a work unit, or for each point of the loop inside a unit. All of
// a flat kernel that depends on its index is inner.
enum class Level : uint8_t { unit, inner };

struct OpFacts {
  uint64_t dims = 0;    // bit d: the value (or address) depends on i[d]
  bool varies = false;  // along the last dimension: one value a lane
  Level level = Level::unit;
  int stage = 0;      // reductions on the longest path to it
  bool live = false;  // reaches a store
  bool walks = false;  // panels: differs between the walked rows
  bool after = false;  // panels: made of reductions over rows, known when all have been walked
  int cost = 0;       // lane-level work below it, in simple instructions
  // A cast to a narrow float that only stores of that type use: packing rounds, the cast need not.
  bool rounded_by_store = false;
  int bytes = 0;  // load, store: of one access of lanes; the element's size if it is not packed
  // Rows that are tiles [i][j] of a map: a load that walks memory along i passes through shared
  // memory, where a row of i begins every `pitch` bytes; a thread copies `piece` elements at once.
  int piece = 0, piece_bytes = 0, pitch = 0;  // piece_bytes: of one access; piece 0: it does not
  bool wide = false;    // its address may pass 2^31 elements
  bool whole = false;   // load, store: touches different elements at all points of the domain
  double at_least = 0;  // a float value never below this (or NaN); -inf if nothing is known
};

struct Analysis {
  std::vector<OpFacts> ops;
  uint64_t inner_dims = 0, walked_dims = 0;
  int64_t walk = 0;     // panels: rows of one
  int stages = 0;       // reductions on the longest path of the kernel
  int lanes = 1;        // neighbouring elements of one step of a thread; a power of two
  int64_t lines = 1;    // rows, columns: product of the dimensions between unit and last
  int64_t steps = 0;    // rows: steps of a row, columns: points of the reduced dimensions
  int64_t turns = 0;    // ceil(steps / team)
};

// Throws an internal Error if the kernel has no schedule for blocks.
Analysis analyse(const KernelProgram& kernel);

inline int64_t last_stride(const KernelOp& op) {
  return op.access.strides.empty() ? 0 : op.access.strides.back();
}
inline bool is_memory(const KernelOp& op) {
  return op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store;
}

[[noreturn]] void fail_kernel(const KernelProgram& kernel, const std::string& what);

}  // namespace fusec::codegen_cuda
