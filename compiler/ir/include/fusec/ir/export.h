// Scheduled IR -> Plan, without memory (plan_memory adds it).
#pragma once

#include "fusec/ir/context.h"
#include "fusec/plan/plan.h"

namespace fusec::ir {

// Every kernel must carry a schedule. Throws an internal Error otherwise. With `sources`, entry i
// becomes the op that the plan's kernel i was made of; null for the copies of a concat.
Plan export_plan(GraphOp graph, std::vector<KernelOp>* sources = nullptr);

// Scalar operations of one run of a kernel or library op; 0 for others.
int64_t flops_of(mlir::Operation* op);

// Elements that the reductions of a kernel run over, 0 if it has none.
int64_t reduced_length(KernelOp kernel);

}  // namespace fusec::ir
