// Recorder -> dialect: the `graph` stage.
#pragma once

#include <mlir/IR/OwningOpRef.h>

#include "fusec/ir/context.h"

namespace fusec::ir {

struct NamedValue {
  std::string name;
  Value value;
};

// By index into the graph's nodes: those that an output or, with `assigns`, an assign or a guard
// needs.
std::vector<bool> needed_nodes(const Graph& graph, const std::vector<NamedValue>& outputs,
                               bool assigns);

// One op a node, in order, with the user's locations; only nodes that an output or an assign needs
// (inputs and parameters that nothing needs are dropped too). Without `assigns`, the graph's
// assigns and guards are dropped.
mlir::OwningOpRef<mlir::ModuleOp> import_graph(mlir::MLIRContext& context, const Graph& graph,
                                               const std::vector<NamedValue>& outputs,
                                               const std::string& name, bool assigns = true);

}  // namespace fusec::ir
