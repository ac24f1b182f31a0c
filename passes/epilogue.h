// What may follow a matrix product inside its GEMM. The precision policy asks before casts are
// placed (so that such a product is rounded once, behind its epilogue), fuse_epilogue when the GEMM
// exists; both see the same.
#pragma once

#include <optional>

#include "fusec/ir/dialect.h"

namespace fusec::passes {

//   product -> [reshape] -> [add of a broadcast vector] -> [gelu]
struct Epilogue {
  ir::MapOp add;     // null: no bias
  mlir::Value bias;  // as many elements as the product has columns: what the broadcast reads
  mlir::Value sum;   // the product, with its bias if there is one
  ir::MapOp gelu;    // null: none
  mlir::Value result() const { return gelu ? mlir::Value(gelu->getResult(0)) : sum; }
  // Others than its GELU read the sum: the backward pass.
  bool aux() const { return gelu && !sum.hasOneUse(); }
};

//   product -> [reshape] -> mul with gelu_slope(pre)
struct EpilogueGradient {
  ir::MapOp mul;
  mlir::Value pre;  // what the slope is of
  mlir::Value result() const { return mul->getResult(0); }
};

// None if no slope follows; `columns` as below.
std::optional<EpilogueGradient> match_gradient(mlir::Value product, int64_t columns);

// Whether a reduction sums all of a matrix's rows, of `columns` innermost elements.
bool sums_rows(ir::ReduceOp reduce, int64_t columns);

// None if neither follows. `columns`: of the product, its innermost elements that are of one row.
std::optional<Epilogue> match_epilogue(mlir::Value product, int64_t columns, bool gelu);

// Behind reshapes, which are names for the same memory.
mlir::Value behind_reshapes(mlir::Value v);

// Something that cannot be part of a kernel reads the value, so it must lie in memory.
bool needed_in_memory(mlir::Value v);

// The columns of a contraction's result that are of one row of a GEMM; 0 where the GEMM would have
// batch items or its result another order.
int64_t columns_of(ir::ContractOp c);

}  // namespace fusec::passes
