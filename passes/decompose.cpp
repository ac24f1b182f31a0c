// Splits reductions of a whole large tensor in two, so that they run in parallel and yet give the
// same bits for any number of workers:
//
//   %s = reduce sum(%x) axes [0, 1] : 4096x512 to []
//   ->  %r = view reshape(%x) : to 2097152
//       %p = reduce sum(%r) axes [0] {chunk = 8192} : to 256
//       %s = reduce sum(%p) axes [0] : to []
//
// Leaves alone: partial reductions (their rows or columns are parallel already), small tensors.
#include <mlir/IR/Builders.h>

#include "fusec/passes/pass.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

void decompose(GraphOp graph, PassContext& context) {
  int64_t chunk = context.target.reduce_chunk;
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    auto reduce = dyn_cast<ReduceOp>(op);
    if (!reduce || reduce.getChunk() || reduce.getType().getRank() != 0) continue;
    int64_t n = reduce.getArg().getType().getNumElements();
    if (n < 2 * chunk) continue;
    OpBuilder b(reduce);
    Type element = reduce.getType().getElementType();
    auto vector = [&](int64_t size) { return RankedTensorType::get({size}, element); };
    mlir::Value flat =
        ViewOp::create(b, op.getLoc(), vector(n), "reshape", reduce.getArg(), ArrayRef<int64_t>{},
                       ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
    mlir::Value parts = ReduceOp::create(b, op.getLoc(), vector((n + chunk - 1) / chunk),
                                         reduce.getKind(), flat, ArrayRef<int64_t>{0}, chunk);
    mlir::Value whole = ReduceOp::create(b, op.getLoc(), reduce.getType(), reduce.getKind(), parts,
                                         ArrayRef<int64_t>{0}, 0);
    reduce.getResult().replaceAllUsesWith(whole);
    reduce.erase();
  }
}

}  // namespace fusec::passes
