// Dialect -> recorder, the inverse of import.h: what a stage means can then be evaluated by the
// oracle, printed, differentiated or compiled again.
#pragma once

#include <memory>
#include <vector>

#include "fusec/ir/import.h"
#include "fusec/ir/kernel_builder.h"

namespace fusec::ir {

// The graph of the stages `graph` and `canonical`. import_graph of the result prints the module
// again: same ops, names, order and locations, outputs last.
struct RecordedModule {
  std::string name;
  std::unique_ptr<Graph> graph;
  std::vector<NamedValue> outputs;
};

// Throws a user Error, with the op's place, for ops of later stages and for constant data that the
// recorder can not hold (a non-splat of a type other than f32 and i32, or not exact in f32).
RecordedModule to_graph(GraphOp graph);

// The body of a kernel as a graph of its own. inputs[i] (named "arg0", "arg1", ...) is what
// argument i loads, outputs[i] what result i stores, at places[i] (if there are any).
struct RecordedKernel {
  std::unique_ptr<Graph> graph;
  std::vector<Tensor> inputs, outputs;
  std::vector<ResultPlace> places = {};
};
RecordedKernel to_graph(KernelOp kernel);

}  // namespace fusec::ir
