// Under a memory budget: a value that GEMMs of the forward and of the backward pass read is stored
// twice, the second time by a kernel of the backward pass that reads all it is made of anyway. In
// between its memory is free, for the price of one write.
//
//   %h = kernel "silu_mul"(%g, %u)                     %h = kernel "silu_mul"(%g, %u)
//   %y = library "gemm"(%h, %w)                        %y = library "gemm"(%h, %w)
//   ... the rest of the forward pass                   ...
//   %dw = library "gemm"(%dy, %h)                 ->   %dg, %du, %h2 = kernel "again_.."(%dh, %g,
//   %u) %dg, %du = kernel "silu_mul_grad"(%dh, %g, %u)     %dw = library "gemm"(%dy, %h2)
//
// All such values or none: if the plan without them fits the budget, or is no larger, nothing is
// changed, so that a smaller budget never raises the peak. The scalar operations are the same on
// the same values, so the bits are, too.
//
// Refuses: products that go into a sum (which two kernels may contract differently to a fused
// multiply-add), outputs and assigned values, what needs another tensor to be read or kept, and
// values whose readers lie close together.
#include <llvm/ADT/SetVector.h>
#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

#include "planned.h"
#include "slice.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

// Steps between the two halves of the readers, from which on the memory in between is worth a
// write.
constexpr int64_t kFar = 16;

// A library call or a kernel that reads a value, through reshapes.
struct Use {
  OpOperand* operand;
  SmallVector<Operation*> reshapes;  // from the value to what is read
};

// False if a reader is none that a second copy could serve.
bool uses_of(mlir::Value v, SmallVector<Operation*> through, SmallVectorImpl<Use>& out) {
  for (OpOperand& use : v.getUses()) {
    Operation* user = use.getOwner();
    if (isa<KernelOp, LibraryOp>(user)) {
      out.push_back({&use, through});
      continue;
    }
    auto view = dyn_cast<ViewOp>(user);
    if (!view || view.getKind() != "reshape") return false;
    SmallVector<Operation*> further = through;
    further.push_back(user);
    if (!uses_of(view.getResult(), further, out)) return false;
  }
  return true;
}

bool is_map(Operation* op, ArrayRef<StringRef> names) {
  auto map = dyn_cast<MapOp>(op);
  return map && llvm::is_contained(names, map.getFn());
}

bool may_contract(const Slice& slice) {
  return llvm::any_of(slice.ops, [](Operation* op) {
    return is_map(op, {"add", "sub"}) && llvm::any_of(op->getOperands(), [](mlir::Value v) {
             Operation* def = v.getDefiningOp();
             while (def && isa<ViewOp>(def)) def = def->getOperand(0).getDefiningOp();
             return def && is_map(def, {"mul", "square"});
           });
  });
}

class Storer {
 public:
  Storer(GraphOp graph, PassContext& context)
      : body_(graph.getBody().front()), merger_(context, "store_again") {}

  // Every value once; false if nothing was changed.
  bool run() {
    bool changed = false;
    for (Operation* op = &body_.front(); op; op = op->getNextNode()) {
      auto kernel = dyn_cast<KernelOp>(op);
      if (!kernel || kernel.getSegments() != 1) continue;
      for (unsigned i = 0; i < kernel.getOuts().size(); ++i) changed |= store(kernel, i);
      op = kernel;  // with more results, it may be another op
    }
    return changed;
  }

 private:
  bool store(KernelOp& kernel, unsigned i) {
    mlir::Value value = kernel.getOuts()[i];
    SmallVector<Use> uses;
    if (bytes_of(value) < kWorthwhile || !uses_of(value, {}, uses)) return false;
    if (llvm::none_of(uses, [](Use& u) { return isa<LibraryOp>(u.operand->getOwner()); }))
      return false;
    std::optional<Slice> slice = slice_of(kernel, i, SliceFrom::all_results);
    if (!slice || may_contract(*slice)) return false;
    KernelOp again = reader_of_all(kernel, *slice, value);
    if (!again || !can_expose(kernel, i, *slice, true, merger_)) return false;
    SmallVector<Use> late = late_uses(kernel, again, uses);
    if (late.empty()) return false;
    expose(kernel, *slice);
    return serve(kernel, *slice, i, again, late);
  }

  // The last kernel that takes all that the slice needs; small values may come on top.
  static KernelOp reader_of_all(KernelOp kernel, const Slice& slice, mlir::Value value) {
    auto missing = [&](KernelOp k) {
      int64_t bytes = 0;
      for (BlockArgument a : slice.arguments)
        if (!llvm::is_contained(k.getArgs(), outer(kernel, a))) bytes += bytes_of(a);
      for (mlir::Value v : slice.statistics) {
        std::optional<unsigned> stored = result_number(kernel, v);
        if (!stored || !llvm::is_contained(k.getArgs(), kernel.getOuts()[*stored]))
          bytes += bytes_of(v);
      }
      return bytes;
    };
    SmallVector<mlir::Value> read;
    for (BlockArgument a : slice.arguments) read.push_back(outer(kernel, a));
    for (mlir::Value v : slice.statistics)
      if (auto stored = result_number(kernel, v)) read.push_back(kernel.getOuts()[*stored]);
    KernelOp last;
    for (mlir::Value v : read)
      for (Operation* user : v.getUsers()) {
        auto k = dyn_cast<KernelOp>(user);
        if (!k || k == kernel || k.getSegments() != 1 || !kernel->isBeforeInBlock(k)) continue;
        if (last && k->isBeforeInBlock(last)) continue;
        if (missing(k) * kStatistic <= bytes_of(value)) last = k;
      }
    return last;
  }

  // Those that lie nearer to the second kernel than to the first, if that is far from the others.
  SmallVector<Use> late_uses(KernelOp kernel, KernelOp again, ArrayRef<Use> uses) const {
    llvm::DenseMap<Operation*, int64_t> at;
    int64_t next = 0;
    for (Operation* op = kernel; op; op = op->getNextNode()) at[op] = next++;
    const int64_t second = at[again];
    int64_t last_early = 0, first_late = second;
    SmallVector<Use> late;
    for (const Use& use : uses) {
      Operation* user = use.operand->getOwner();
      const int64_t here = at[user];
      if (here <= std::abs(second - here) || !isa<LibraryOp>(user)) {
        last_early = std::max(last_early, here);
      } else {
        first_late = std::min(first_late, here);
        late.push_back(use);
      }
    }
    // Without early readers the value were better moved than stored twice.
    if (last_early == 0 || first_late - last_early < kFar) late.clear();
    return late;
  }

  bool serve(KernelOp kernel, const Slice& slice, unsigned i, KernelOp again, ArrayRef<Use> late) {
    Operation* first = again;
    for (const Use& use : late)
      if (use.operand->getOwner()->isBeforeInBlock(first)) first = use.operand->getOwner();
    OpBuilder b(first);
    KernelOp copy = compute_again(b, kernel, slice, i);
    SmallVector<std::pair<OpOperand*, mlir::Value>> before;
    SmallVector<Operation*> views;
    for (const Use& use : late) {
      mlir::Value now = copy.getOuts()[0];
      b.setInsertionPoint(use.operand->getOwner());
      for (Operation* reshape : use.reshapes) {
        IRMapping map;
        map.map(reshape->getOperand(0), now);
        views.push_back(b.clone(*reshape, map));
        now = views.back()->getResult(0);
      }
      before.push_back({use.operand, use.operand->get()});
      use.operand->set(now);
    }
    if (KernelOp merged = merger_.try_merge(copy, again)) {
      join_equal_ops(merged);
      llvm::SetVector<Operation*> unread;
      for (const Use& use : late) unread.insert(use.reshapes.rbegin(), use.reshapes.rend());
      for (Operation* reshape : unread)
        if (reshape->use_empty()) reshape->erase();
      return true;
    }
    for (auto [operand, value] : before) operand->set(value);
    for (Operation* view : llvm::reverse(views)) view->erase();
    copy.erase();
    return false;
  }

  Block& body_;
  KernelMerger merger_;
};

}  // namespace

void store_again(GraphOp graph, PassContext& context) {
  auto planned = [&](GraphOp g) {
    return planned_bytes_after("store_again", "recompute", g, context);
  };
  const int64_t without = planned(graph);
  if (without <= context.memory_budget) return;
  PassContext tried = context;
  auto trial = cast<GraphOp>(graph->clone());
  const bool less = Storer(trial, tried).run() && planned(trial) < without;
  if (less) {
    graph.getBody().takeBody(trial.getBody());
    context.decisions = std::move(tried.decisions);
  }
  trial->destroy();
}

}  // namespace fusec::passes
