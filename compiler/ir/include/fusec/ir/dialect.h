// The fusec dialect (fusec.td) and the translation between its types and the recorder's.
#pragma once

#include <mlir/Bytecode/BytecodeOpInterface.h>
#include <mlir/IR/BuiltinAttributes.h>
#include <mlir/IR/BuiltinOps.h>
#include <mlir/IR/BuiltinTypes.h>
#include <mlir/IR/Dialect.h>
#include <mlir/IR/OpDefinition.h>
#include <mlir/IR/OpImplementation.h>
#include <mlir/Interfaces/ControlFlowInterfaces.h>
#include <mlir/Interfaces/SideEffectInterfaces.h>

#include "fusec/ops/graph.h"
#include "fusec/plan/plan.h"

#include "dialect.h.inc"
#define GET_OP_CLASSES
#include "ops.h.inc"

namespace fusec::ir {

// bf16 -> bf16, b8 -> i1, u8 -> ui8, f8e4m3 -> f8E4M3FN, ...
mlir::Type element_type(mlir::MLIRContext* context, DType t);
mlir::RankedTensorType tensor_type(mlir::MLIRContext* context, const TensorType& t);
// The reverse; an internal Error for a type that has no recorder form.
DType dtype_of(mlir::Type element);
TensorType type_of(mlir::Value v);

// Recorder class and attribute of an op that has them (map ... attention_grad).
struct OpInfo {
  OpKind kind;
  Attr attr;
};
OpInfo info_of(mlir::Operation* op);

// The call that a library op stands for, without its arguments.
LibraryCall call_of(LibraryOp op);

// The user's place of an op, and the model scope it was recorded in ("" if none).
SourceLoc source_of(mlir::Operation* op);
std::string scope_of(mlir::Operation* op);
mlir::Location location(mlir::MLIRContext* context, SourceLoc loc, const std::string& scope);

// "map.silu (mlp.cpp:12)", for decisions and reports.
std::string describe(mlir::Operation* op);

}  // namespace fusec::ir
