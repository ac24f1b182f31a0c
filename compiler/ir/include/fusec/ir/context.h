// An MLIR context with the dialect loaded, and text <-> module with Fusec's errors.
#pragma once

#include <mlir/IR/BuiltinOps.h>
#include <mlir/IR/MLIRContext.h>
#include <mlir/IR/OwningOpRef.h>

#include <memory>
#include <string>
#include <string_view>

#include "fusec/ir/dialect.h"

namespace fusec::ir {

// Single-threaded context; cheap enough to make one a compile.
std::unique_ptr<mlir::MLIRContext> make_context();

// Parses a module holding one fusec.graph. A syntax or verifier error is a user Error with
// "name:line:column: message".
mlir::OwningOpRef<mlir::ModuleOp> parse(mlir::MLIRContext& context, std::string_view text,
                                        const std::string& name);

// The graph of a module; a user Error if there is not exactly one.
GraphOp graph_of(mlir::ModuleOp module);

// True if the graph may skip its assigns.
bool has_guard(mlir::ModuleOp module);

// Text that parse() reads back; with locations if asked (they carry the user's file:line).
std::string print(mlir::ModuleOp module, bool locations);

// Runs the verifier; an internal Error with all diagnostics and `after` (a pass name).
void verify(mlir::ModuleOp module, std::string_view after);

}  // namespace fusec::ir
