// Fused region -> KernelProgram, or the reason why it cannot be one. The same code answers the
// fusion passes ("may these ops be one kernel?") and makes the final program, so a region that was
// fused can always be compiled.
//
//   map, cast      -> scalar ops at an index
//   view           -> a change of index (nothing at run time)
//   reduce         -> a loop over the reduced dimensions; its result may be used only at indices
//                     that do not depend on them
//   operands       -> loads; results -> stores
//
// Refused: ops of other classes, reductions over domains of different size, results that live
// neither on the whole domain nor on its kept part, reshapes with no affine index.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusec/ir/dialect.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::ir {

// Columns of a wider matrix: element i of a result lies at (i / length) * row + start + i % length.
struct ResultPlace {
  int64_t length = 0, row = 0, start = 0;  // length 0: no place of its own, element i lies at i
  int64_t at(int64_t i) const { return length ? i / length * row + start + i % length : i; }
};

// Ops in topological order, with what they load and what they store, each in parameter order.
struct KernelRegion {
  std::vector<mlir::Operation*> ops;
  std::vector<mlir::Value> inputs;
  std::vector<mlir::Value> outputs;
  std::vector<ResultPlace> places;  // of the outputs; empty: none has one
};

struct KernelBuild {
  std::optional<KernelProgram> program;
  std::string failure;     // why there is none
  int64_t duplicated = 0;  // scalar ops computed at more than one index, by cost
};

// Params are inputs, then outputs.
KernelBuild build_kernel(const KernelRegion& region, const std::string& name);

// The region of a (single- or multi-segment) kernel op: its body and the places of its results.
KernelRegion region_of(KernelOp kernel);
std::vector<ResultPlace> places_of(KernelOp kernel);

// Bytes of a kernel's argument that `ops` of its body read: of slices of it, theirs alone.
int64_t bytes_read(mlir::BlockArgument argument,
                   llvm::function_ref<bool(mlir::Operation*)> is_one_of_ops);
int64_t bytes_read(mlir::BlockArgument argument);

// Ops that cost nothing inside a kernel and are copied into each one that uses them.
bool is_free(mlir::Operation* op);
// Arithmetic operations an element (the op table's figure); a reduction counts as many.
int64_t cost_of(mlir::Operation* op);
// Ops that a kernel may contain.
bool is_fusable(mlir::Operation* op);

}  // namespace fusec::ir
