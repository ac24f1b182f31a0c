#include "slice.h"

#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

using namespace mlir;

namespace fusec::passes {

using namespace ir;

namespace {

constexpr size_t kMostOps = 24;

// The same kernel with `inputs` and the results of `yields`, its body moved over; `kept` are the
// numbers of the results that stay, in front of the new ones.
KernelOp rebuilt(KernelOp kernel, ArrayRef<unsigned> kept, ArrayRef<mlir::Value> added) {
  OpBuilder b(kernel);
  Operation* yield = kernel.getBody().front().getTerminator();
  SmallVector<mlir::Value> yields;
  for (unsigned i : kept) yields.push_back(yield->getOperand(i));
  yields.append(added.begin(), added.end());
  SmallVector<Type> types;
  for (mlir::Value v : yields) types.push_back(v.getType());
  auto now = KernelOp::create(b, kernel.getLoc(), types, kernel.getName(), kernel.getArgs(), 1,
                              DictionaryAttr());
  now.getBody().takeBody(kernel.getBody());
  yield->setOperands(yields);
  for (auto [i, old] : llvm::enumerate(kept))
    kernel.getOuts()[old].replaceAllUsesWith(now.getOuts()[i]);
  kernel.erase();
  return now;
}

// Drops ops that nothing needs and operands that no op reads.
void strip(KernelOp kernel) {
  Block& body = kernel.getBody().front();
  SmallVector<Operation*> ops;
  for (Operation& op : body.without_terminator()) ops.push_back(&op);
  for (Operation* op : llvm::reverse(ops))
    if (op->use_empty()) op->erase();
  for (unsigned i = body.getNumArguments(); i-- > 0;)
    if (body.getArgument(i).use_empty()) {
      body.eraseArgument(i);
      kernel.getArgsMutable().erase(i);
    }
}

// Statistics that are no results of the kernel yet.
SmallVector<mlir::Value> hidden(KernelOp kernel, const Slice& slice) {
  SmallVector<mlir::Value> out;
  for (mlir::Value v : slice.statistics)
    if (!result_number(kernel, v)) out.push_back(v);
  return out;
}

}  // namespace

std::optional<unsigned> result_number(KernelOp kernel, mlir::Value inner) {
  auto yields = kernel.getBody().front().getTerminator()->getOperands();
  for (auto [i, v] : llvm::enumerate(yields))
    if (v == inner) return static_cast<unsigned>(i);
  return std::nullopt;
}

std::optional<Slice> slice_of(KernelOp kernel, unsigned result, SliceFrom from) {
  Slice s;
  mlir::Value root = kernel.getBody().front().getTerminator()->getOperand(result);
  int64_t limit = bytes_of(root) / kStatistic;
  // The value before a widening cast serves as well, at half the bytes; so does what is stored
  // anyway.
  mlir::Value narrow;
  if (auto widen = root.getDefiningOp<CastOp>())
    if (bytes_of(widen.getArg()) < bytes_of(root)) narrow = widen.getArg();
  auto stored = [&](mlir::Value v) {
    return v != root && (from == SliceFrom::all_results || bytes_of(v) < bytes_of(root)) &&
           result_number(kernel, v);
  };
  llvm::SmallPtrSet<void*, 16> seen;
  auto visit = [&](auto&& self, mlir::Value v) -> bool {
    if (!seen.insert(v.getAsOpaquePointer()).second) return true;
    if (auto argument = dyn_cast<BlockArgument>(v)) {
      s.arguments.push_back(argument);
      return true;
    }
    Operation* op = v.getDefiningOp();
    if (!is_free(op) && (bytes_of(v) <= limit || v == narrow || stored(v))) {
      s.statistics.push_back(v);
      return true;
    }
    if (isa<ReduceOp>(op) || !is_fusable(op) || s.ops.size() >= kMostOps) return false;
    for (mlir::Value operand : op->getOperands())
      if (!self(self, operand)) return false;
    s.ops.push_back(op);
    if (!is_free(op)) s.operations += cost_of(op) * numel(type_of(v).shape);
    return true;
  };
  if (!visit(visit, root) || s.ops.empty()) return std::nullopt;
  return s;
}

mlir::Value outer(KernelOp kernel, BlockArgument argument) {
  return kernel.getArgs()[argument.getArgNumber()];
}

bool can_expose(KernelOp kernel, unsigned i, const Slice& slice, bool with_value,
                KernelMerger& merger) {
  SmallVector<unsigned> kept;
  for (unsigned r = 0; r < kernel.getOuts().size(); ++r)
    if (r != i || with_value) kept.push_back(r);
  IRMapping map;
  auto probe = cast<KernelOp>(OpBuilder(kernel).clone(*kernel, map));
  SmallVector<mlir::Value> added;
  for (mlir::Value v : hidden(kernel, slice)) added.push_back(map.lookup(v));
  probe = rebuilt(probe, kept, added);
  strip(probe);
  bool fits = probe.getOuts().empty() || merger.answer(probe).failure.empty();
  probe.erase();
  return fits;
}

void expose(KernelOp& kernel, const Slice& slice) {
  SmallVector<mlir::Value> added = hidden(kernel, slice);
  if (added.empty()) return;
  SmallVector<unsigned> all;
  for (unsigned i = 0; i < kernel.getOuts().size(); ++i) all.push_back(i);
  kernel = rebuilt(kernel, all, added);
}

KernelOp compute_again(OpBuilder& b, KernelOp kernel, const Slice& slice, unsigned i,
                       ArrayRef<Operation*> reshapes) {
  OpBuilder::InsertionGuard guard(b);
  SmallVector<mlir::Value> inputs, inner;
  for (BlockArgument a : slice.arguments) inputs.push_back(outer(kernel, a)), inner.push_back(a);
  for (mlir::Value v : slice.statistics)
    inputs.push_back(kernel.getOuts()[*result_number(kernel, v)]), inner.push_back(v);
  mlir::Value result = kernel.getOuts()[i];
  Type type = reshapes.empty() ? result.getType() : reshapes.back()->getResult(0).getType();
  auto copy =
      KernelOp::create(b, slice.ops.back()->getLoc(), type, "again", inputs, 1, DictionaryAttr());
  Block& block = copy.getBody().emplaceBlock();
  IRMapping map;
  for (auto [from, v] : llvm::zip(inner, inputs))
    map.map(from, block.addArgument(v.getType(), v.getLoc()));
  b.setInsertionPointToStart(&block);
  for (Operation* op : slice.ops) b.clone(*op, map);
  mlir::Value last = map.lookup(slice.ops.back()->getResult(0));
  map.map(result, last);
  for (Operation* op : reshapes) last = b.clone(*op, map)->getResult(0);
  YieldOp::create(b, copy.getLoc(), last);
  return copy;
}

KernelOp pruned(KernelOp kernel) {
  SmallVector<unsigned> kept;
  for (auto [i, r] : llvm::enumerate(kernel.getOuts()))
    if (!r.use_empty()) kept.push_back(static_cast<unsigned>(i));
  if (kept.empty()) {
    kernel.erase();
    return {};
  }
  if (kept.size() < kernel.getOuts().size()) kernel = rebuilt(kernel, kept, {});
  strip(kernel);
  return kernel;
}

void join_equal_ops(KernelOp kernel) {
  SmallVector<Operation*> known;
  for (Operation& op : llvm::make_early_inc_range(kernel.getBody().front().without_terminator())) {
    auto same = llvm::find_if(known, [&](Operation* k) {
      return k->getName() == op.getName() && k->getAttrDictionary() == op.getAttrDictionary() &&
             k->getResultTypes() == op.getResultTypes() &&
             llvm::equal(k->getOperands(), op.getOperands());
    });
    if (same == known.end()) {
      known.push_back(&op);
    } else {
      op.replaceAllUsesWith(*same);
      op.erase();
    }
  }
}

}  // namespace fusec::passes
