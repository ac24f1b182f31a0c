// The part of a kernel that computes one of its results, as a kernel that computes it once more.
#pragma once

#include <optional>

#include "kernels.h"

namespace fusec::passes {

// A value is worth another look from this size on, in bytes.
inline constexpr int64_t kWorthwhile = 16384;
// A value so many times smaller than the result (a row's maximum, its sum) is stored and read, not
// computed again.
inline constexpr int64_t kStatistic = 16;

// What computes one result of a kernel, from the kernel's arguments and what it stores besides.
struct Slice {
  llvm::SmallVector<mlir::Operation*> ops;           // operands first
  llvm::SmallVector<mlir::BlockArgument> arguments;  // of the kernel's body
  llvm::SmallVector<mlir::Value> statistics;         // values of the body that are stored instead
  int64_t operations = 0;                            // of one evaluation of all elements
};

// From how far back: what is smaller and stored anyway, or whatever is a result of the kernel.
enum class SliceFrom : uint8_t { smaller_results, all_results };

// None where a reduction of the size of the result, too many ops or other than kernels' ops would
// have to be repeated.
std::optional<Slice> slice_of(ir::KernelOp kernel, unsigned result,
                              SliceFrom from = SliceFrom::smaller_results);

// The number of the kernel's result that is `inner`, a value of its body.
std::optional<unsigned> result_number(ir::KernelOp kernel, mlir::Value inner);

// What the kernel takes for `argument` of its body.
mlir::Value outer(ir::KernelOp kernel, mlir::BlockArgument argument);

// Whether the kernel can have the statistics as results, with or without result i: one that is
// neither of its rows nor of its elements, as log(bias) of a [1, n] bias, cannot be stored there.
bool can_expose(ir::KernelOp kernel, unsigned i, const Slice& slice, bool with_value,
                KernelMerger& merger);
// Makes the statistics results of the kernel, which is replaced.
void expose(ir::KernelOp& kernel, const Slice& slice);

// A kernel of its own, at `b`, that computes result i of `kernel` and then `reshapes` of it. The
// statistics must be exposed.
ir::KernelOp compute_again(mlir::OpBuilder& b, ir::KernelOp kernel, const Slice& slice, unsigned i,
                           llvm::ArrayRef<mlir::Operation*> reshapes = {});

// Drops results that nobody reads, and what only they needed. Null if nothing is left.
ir::KernelOp pruned(ir::KernelOp kernel);

// Equal ops on equal operands become one: a slice often repeats what its reader does anyway.
void join_equal_ops(ir::KernelOp kernel);

}  // namespace fusec::passes
