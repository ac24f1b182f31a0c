// Scheduled IR -> Plan, without memory (plan_memory adds it).
#pragma once

#include "fusec/ir/context.h"
#include "fusec/plan/plan.h"

namespace fusec::ir {

// Every kernel must carry a schedule. Throws an internal Error otherwise.
Plan export_plan(GraphOp graph);

}  // namespace fusec::ir
