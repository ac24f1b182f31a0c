// Merges pointwise kernels along producer-consumer edges.
//
//   %a = kernel "silu"(%x) ; %y = kernel "mul"(%a, %u)  ->  %y = kernel "silu_mul"(%x, %u)
//
// Several outputs are fine: a producer that others read too stays a result of the merged kernel.
// Refuses: kernels with reductions (fuse_reduction), merges that build_kernel() cannot compile,
// that would recompute values or form a cycle.
#include "kernels.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

void fuse_pointwise(GraphOp graph, PassContext& context) {
  KernelMerger merger(context, "fuse_pointwise");
  Block& body = graph.getBody().front();
  for (Operation* op = body.empty() ? nullptr : &body.front(); op;) {
    auto kernel = dyn_cast<KernelOp>(op);
    op = op->getNextNode();
    if (!kernel || has_reduce(kernel)) continue;
    for (bool again = true; again;) {
      again = false;
      for (mlir::Value v : kernel.getArgs()) {
        auto producer = v.getDefiningOp<KernelOp>();
        if (!producer || has_reduce(producer)) continue;
        if (KernelOp merged = merger.try_merge(producer, kernel)) {
          kernel = merged;
          again = true;
          break;
        }
      }
    }
    op = kernel->getNextNode();
  }
}

}  // namespace fusec::passes
