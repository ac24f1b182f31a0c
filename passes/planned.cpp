#include "planned.h"

#include "fusec/ir/export.h"
#include "fusec/passes/plan_memory.h"

using namespace mlir;

namespace fusec::passes {

int64_t planned_bytes(ir::GraphOp graph, const PassContext& context) {
  Plan plan = ir::export_plan(graph);
  plan_memory(plan, context.guarded);
  return plan.planned_bytes() + (context.workspace ? context.workspace(plan) : 0);
}

int64_t planned_bytes_after(std::string_view pass, std::string_view until, ir::GraphOp graph,
                            const PassContext& context) {
  auto trial = cast<ir::GraphOp>(graph->clone());
  PassContext unheard = context;  // decisions about the copy are none
  bool behind = false;
  for (const Pass& p : pipeline()) {
    if (p.name == until) break;
    if (behind && p.enabled(unheard)) p.run(trial, unheard);
    behind = behind || p.name == pass;
  }
  int64_t bytes = planned_bytes(trial, context);
  trial->destroy();
  return bytes;
}

}  // namespace fusec::passes
