// Merges reductions with what feeds them, with what uses them, and with each other.
//
//   square -> sum -> rsqrt -> mul            one kernel: RMSNorm, its row read once
//   max -> sub -> exp -> sum -> log ...      one kernel: softmax, cross-entropy, their gradients
//
//   sum over the row -> mul; sum over rows     one kernel: the gradients of a norm's input and of
//                                            its weight, both tensors read once (GPU)
//
// Two kinds of edges: producer to consumer, and siblings that read the same tensor (one load for
// both). Refuses: reductions over different ranges, values that would be computed twice, column
// sums beside rows where a block can not hold the columns or there are too few blocks.
#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

// The largest shared operands first; small ones are not worth a merge.
constexpr int64_t kSiblingBytes = 16384;

// A table that every layer reads (rotary positions) has users all over the step, and only those
// close by can become one kernel: without a bound, twice the layers would take four times as long.
constexpr size_t kNearest = 8;

// Kernels before `kernel` that read `v`: the kNearest last ones, in the order of their uses.
SmallVector<KernelOp> siblings(mlir::Value v, KernelOp kernel) {
  SmallVector<KernelOp> found;
  for (Operation* user : v.getUsers()) {
    auto other = dyn_cast<KernelOp>(user);
    if (other && other != kernel && other.getSegments() == 1 && other->isBeforeInBlock(kernel))
      found.push_back(other);
  }
  if (found.size() <= kNearest) return found;
  SmallVector<KernelOp> order = found;
  llvm::sort(order, [](KernelOp a, KernelOp b) { return b->isBeforeInBlock(a); });
  KernelOp last = order[kNearest - 1];
  llvm::erase_if(found, [&](KernelOp k) { return k->isBeforeInBlock(last); });
  return found;
}

// Whether two kernels may share a loop: of one kind, or column sums beside rows.
bool may_join(const KernelAnswers::Answer& a, const KernelAnswers::Answer& b, bool blocks) {
  if (a.elements != b.elements) return false;
  if (a.kind == b.kind) return a.kind != ScheduleKind::flat;
  auto columns = [](const auto& k) { return k.kind == ScheduleKind::columns; };
  auto chunked = [](const auto& k) { return k.kind == ScheduleKind::flat_reduce; };
  return blocks && columns(a) != columns(b) && !chunked(a) && !chunked(b);
}

KernelOp merge_sibling(KernelMerger& merger, KernelOp kernel, bool blocks) {
  for (mlir::Value v : kernel.getArgs()) {
    if (bytes_of(v) < kSiblingBytes) continue;
    for (KernelOp other : siblings(v, kernel)) {
      KernelAnswers::Answer a = merger.answer(other), b = merger.answer(kernel);
      if (!may_join(a, b, blocks)) continue;
      if (KernelOp merged = merger.try_merge(other, kernel)) return merged;
    }
  }
  return {};
}

}  // namespace

void fuse_reduction(GraphOp graph, PassContext& context) {
  KernelMerger merger(context, "fuse_reduction");
  const bool blocks = context.target.cores > 0;
  Block& body = graph.getBody().front();
  for (Operation* op = body.empty() ? nullptr : &body.front(); op;) {
    auto kernel = dyn_cast<KernelOp>(op);
    op = op->getNextNode();
    if (!kernel) continue;
    for (bool again = true; again;) {
      again = false;
      for (mlir::Value v : kernel.getArgs()) {
        auto producer = v.getDefiningOp<KernelOp>();
        if (!producer) continue;
        if (KernelOp merged = merger.try_merge(producer, kernel)) {
          kernel = merged;
          again = true;
          break;
        }
      }
      if (!again)
        if (KernelOp merged = merge_sibling(merger, kernel, blocks)) kernel = merged, again = true;
    }
    op = kernel->getNextNode();
  }
}

}  // namespace fusec::passes
