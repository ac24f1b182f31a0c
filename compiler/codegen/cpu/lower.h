// The way from vector-level MLIR to an llvm::Module. Refuses ops outside arith, math, scf, vector
// and llvm.
#pragma once

#include <memory>

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/PatternMatch.h"

namespace llvm {
class LLVMContext;
class Module;
}  // namespace llvm

namespace fusec::codegen_cpu {

// A context without threads that knows the dialects above.
std::unique_ptr<mlir::MLIRContext> make_context();

// Throws an internal Error with MLIR's own message if an op does not lower.
void verify_module(mlir::ModuleOp module);
std::unique_ptr<llvm::Module> lower(mlir::ModuleOp module, llvm::LLVMContext& context);

// math_patterns.cpp: f32 exp, sin, cos as polynomials.
void add_math_patterns(mlir::RewritePatternSet& patterns);

}  // namespace fusec::codegen_cpu
