// Scheduled IR -> Plan, without memory (plan_memory adds it).
#pragma once

#include "fusec/ir/context.h"
#include "fusec/plan/plan.h"

namespace fusec::ir {

// Every kernel must carry a schedule. Throws an internal Error otherwise.
Plan export_plan(GraphOp graph);

// Scalar operations of one run of a kernel or library op; 0 for others.
int64_t flops_of(mlir::Operation* op);

}  // namespace fusec::ir
