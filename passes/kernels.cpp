#include "kernels.h"

#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

#include <unordered_set>

#include "fusec/base/hash.h"

using namespace mlir;

namespace fusec::passes {

using namespace ir;

bool has_reduce(KernelOp kernel) {
  for (Operation& op : kernel.getBody().front())
    if (isa<ReduceOp>(op)) return true;
  return false;
}

int64_t bytes_of(mlir::Value v) { return type_of(v).bytes(); }

KernelOp make_kernel(ArrayRef<Operation*> ops, StringRef name) {
  // Free ops reachable upward, in block order (operands first).
  SmallVector<Operation*> body;
  llvm::SmallPtrSet<Operation*, 16> in(ops.begin(), ops.end()), seen;
  auto visit = [&](auto&& self, Operation* op) -> void {
    if (!seen.insert(op).second) return;
    for (mlir::Value v : op->getOperands())
      if (Operation* def = v.getDefiningOp(); def && (in.count(def) || is_free(def)))
        self(self, def);
    body.push_back(op);
  };
  for (Operation* op : ops) visit(visit, op);

  SmallVector<mlir::Value> inputs, outputs;
  llvm::SmallPtrSet<Operation*, 16> inside(body.begin(), body.end());
  for (Operation* op : body)
    for (mlir::Value v : op->getOperands())
      if (!inside.count(v.getDefiningOp()) && !llvm::is_contained(inputs, v)) inputs.push_back(v);
  for (Operation* op : ops)
    for (mlir::Value r : op->getResults())
      if (llvm::any_of(r.getUsers(), [&](Operation* u) { return !in.count(u); }))
        outputs.push_back(r);

  Operation* last = ops.back();
  OpBuilder b(last);
  SmallVector<Type> types;
  for (mlir::Value v : outputs) types.push_back(v.getType());
  auto kernel = KernelOp::create(b, last->getLoc(), types, name, inputs, 1, DictionaryAttr());
  Block& block = kernel.getBody().emplaceBlock();
  IRMapping map;
  for (mlir::Value v : inputs) map.map(v, block.addArgument(v.getType(), v.getLoc()));
  b.setInsertionPointToStart(&block);
  for (Operation* op : body) b.clone(*op, map);
  SmallVector<mlir::Value> yields;
  for (mlir::Value v : outputs) yields.push_back(map.lookup(v));
  YieldOp::create(b, last->getLoc(), yields);
  for (auto [old, now] : llvm::zip(outputs, kernel.getOuts()))
    old.replaceUsesWithIf(now, [&](OpOperand& use) { return !in.count(use.getOwner()); });
  for (Operation* op : llvm::reverse(ops)) op->erase();
  return kernel;
}

uint64_t structure_of(KernelOp kernel) {
  llvm::DenseMap<mlir::Value, uint64_t> number;
  Block& body = kernel.getBody().front();
  uint64_t h = 0, next = 1;
  for (int64_t p : kernel.getPlaces()) h = hash_combine(h, static_cast<uint64_t>(p));
  for (mlir::Value v : body.getArguments()) {
    number[v] = next++;
    h = hash_combine(h, hash_value(v.getType()));
  }
  for (Operation& op : body) {
    h = hash_combine(h, hash_value(op.getName()));
    h = hash_combine(h, hash_value(op.getAttrDictionary()));
    for (mlir::Value v : op.getOperands()) h = hash_combine(h, number[v]);
    for (mlir::Value v : op.getResults()) {
      number[v] = next++;
      h = hash_combine(h, hash_value(v.getType()));
    }
  }
  return h;
}

namespace {

// Ops between a and b that depend on a. `refusal` is set if b depends on one of them (a cycle), or
// if the two lie too far apart for a merge to help locality or lifetimes.
SmallVector<Operation*> dependents_between(KernelOp a, KernelOp b, std::string& refusal) {
  constexpr int kWindow = 600;
  llvm::SmallPtrSet<Operation*, 16> marked;
  SmallVector<Operation*> order;
  marked.insert(a);
  int steps = 0;
  for (Operation* op = a->getNextNode(); op; op = op->getNextNode()) {
    if (++steps > kWindow) {
      refusal = "more than " + std::to_string(kWindow) + " ops lie between the two";
      return {};
    }
    bool depends = false, through = false;
    for (mlir::Value v : op->getOperands())
      if (Operation* def = v.getDefiningOp(); def && marked.count(def)) {
        depends = true;
        through = through || def != a.getOperation();
      }
    if (op == b.getOperation()) {
      if (through) refusal = "another op between the two depends on the first";
      return order;
    }
    if (depends) marked.insert(op), order.push_back(op);
  }
  refusal = "the producer comes after the consumer";
  return {};
}

bool is_assigned(mlir::Value v) {
  return llvm::any_of(v.getUsers(), [](Operation* u) { return isa<AssignOp>(u); });
}

// True if nothing but assigns comes of `v`.
bool only_assigned(mlir::Value v, llvm::SmallPtrSetImpl<Operation*>& seen) {
  for (Operation* user : v.getUsers()) {
    if (isa<AssignOp>(user) || !seen.insert(user).second) continue;
    if (user->getNumResults() == 0) return false;  // output, guard
    for (mlir::Value r : user->getResults())
      if (!only_assigned(r, seen)) return false;
  }
  return true;
}

// A guard skips what writes parameters and states, so a kernel that does may make nothing else.
bool mixes_assigns(KernelOp a, KernelOp b) {
  SmallVector<mlir::Value> results(b.getOuts());
  for (mlir::Value r : a.getOuts())
    if (llvm::any_of(r.getUsers(), [&](Operation* u) { return u != b.getOperation(); }))
      results.push_back(r);
  if (llvm::none_of(results, is_assigned)) return false;
  llvm::SmallPtrSet<Operation*, 16> seen;
  return llvm::any_of(results, [&](mlir::Value r) { return !only_assigned(r, seen); });
}

}  // namespace

// A new kernel just before `b` that computes both; the originals stay, unreplaced.
KernelOp KernelMerger::merge(KernelOp a, KernelOp b) {
  SmallVector<mlir::Value> inputs(a.getArgs());
  for (mlir::Value v : b.getArgs())
    if (v.getDefiningOp() != a.getOperation() && !llvm::is_contained(inputs, v))
      inputs.push_back(v);
  SmallVector<Type> types;
  SmallVector<std::pair<KernelOp, unsigned>> stores;
  for (auto [i, r] : llvm::enumerate(a.getOuts()))
    if (llvm::any_of(r.getUsers(), [&](Operation* u) { return u != b.getOperation(); }))
      types.push_back(r.getType()), stores.push_back({a, i});
  for (auto [i, r] : llvm::enumerate(b.getOuts()))
    types.push_back(r.getType()), stores.push_back({b, i});

  std::string name = a.getName().str();
  if (name.size() < 40) name += "_" + b.getName().str();
  OpBuilder builder(b);
  auto merged = KernelOp::create(builder, b.getLoc(), types, name, inputs, 1, DictionaryAttr());
  Block& block = merged.getBody().emplaceBlock();
  IRMapping outer;
  for (mlir::Value v : inputs) outer.map(v, block.addArgument(v.getType(), v.getLoc()));
  builder.setInsertionPointToStart(&block);
  llvm::DenseMap<std::pair<Operation*, unsigned>, mlir::Value> inner;
  for (KernelOp k : {a, b}) {
    IRMapping map;
    Block& body = k.getBody().front();
    for (auto [arg, v] : llvm::zip(body.getArguments(), k.getArgs())) map.map(arg, outer.lookup(v));
    for (Operation& op : body.without_terminator()) builder.clone(op, map);
    for (auto [i, v] : llvm::enumerate(body.getTerminator()->getOperands())) {
      mlir::Value now = map.lookup(v);
      inner[{k, i}] = now;
      outer.map(k.getOuts()[i], now);
    }
  }
  SmallVector<mlir::Value> yields;
  for (auto [k, i] : stores) yields.push_back(inner[{k, i}]);
  YieldOp::create(builder, b.getLoc(), yields);
  return merged;
}

Decision KernelMerger::decide(KernelOp a, KernelOp b, KernelOp merged, int64_t saved) {
  const TargetInfo& target = context_.target;
  size_t params = merged.getArgs().size() + merged.getOuts().size();
  if (static_cast<int>(params) > target.max_kernel_params)
    return Decision::no("more than " + std::to_string(target.max_kernel_params) + " arguments",
                        saved);
  size_t ops = merged.getBody().front().getOperations().size();
  if (static_cast<int>(ops) > target.max_kernel_ops)
    return Decision::no("more than " + std::to_string(target.max_kernel_ops) + " ops", saved);
  KernelAnswers::Answer whole = answers_(merged);
  if (!whole.failure.empty()) return Decision::no(whole.failure, saved);
  KernelAnswers::Answer first = answers_(a), second = answers_(b);
  if (whole.panels > 0) {
    if (std::string why = panel_refusal(whole, target); !why.empty())
      return Decision::no(why, saved);
    if (first.panels == 0 && second.panels == 0 && saved < whole.elements)
      return Decision::no("column sums beside rows: the two share less than a tensor", saved);
  }
  int64_t before = std::max(first.duplicated, second.duplicated);
  if (whole.duplicated > before + 24)
    return Decision::no("its values would be computed twice, at two indices", saved);
  if (first.elements * 2 < whole.elements && first.elements > 1 && !has_reduce(a) &&
      second.elements == whole.elements && a.getBody().front().getOperations().size() > 12)
    return Decision::no("a small producer would be recomputed for every row", saved);
  const char* reason = whole.panels > 0    ? "same rows, with column sums for each panel of them"
                       : has_reduce(merged) ? "same rows"
                                            : "same domain";
  return Decision::yes(reason, saved);
}

KernelOp KernelMerger::try_merge(KernelOp a, KernelOp b) {
  if (a.getSegments() != 1 || b.getSegments() != 1) return {};
  int64_t saved = 0;
  llvm::SmallPtrSet<void*, 8> loads;
  for (mlir::Value v : a.getArgs()) loads.insert(v.getAsOpaquePointer());
  for (mlir::Value v : b.getArgs()) {
    if (v.getDefiningOp() == a.getOperation())
      saved += bytes_of(v) * (v.hasOneUse() ? 2 : 1);
    else if (loads.count(v.getAsOpaquePointer()))
      saved += bytes_of(v);
  }
  std::string refusal;
  if (context_.guarded && mixes_assigns(a, b)) refusal = "a guard may skip one of the two only";
  SmallVector<Operation*> moved;
  if (refusal.empty()) moved = dependents_between(a, b, refusal);
  Decision d = Decision::no(refusal, saved);
  KernelOp merged;
  if (refusal.empty()) {
    merged = merge(a, b);
    d = decide(a, b, merged, saved);
  }
  d.pass = pass_;
  d.producer = describe(a);
  d.consumer = describe(b);
  context_.decisions.push_back(d);
  if (!d.verdict) {
    if (merged) merged.erase();
    return {};
  }
  // Users of a's other results must now follow the merged kernel.
  Operation* after = b;
  for (Operation* op : moved) op->moveAfter(after), after = op;
  unsigned next = 0;
  for (mlir::Value r : a.getOuts())
    if (llvm::any_of(r.getUsers(), [&](Operation* u) {
          return u != b.getOperation() && u != merged.getOperation();
        }))
      r.replaceAllUsesWith(merged.getOuts()[next++]);
  for (mlir::Value r : b.getOuts()) r.replaceAllUsesWith(merged.getOuts()[next++]);
  b.erase();
  a.erase();
  return merged;
}

}  // namespace fusec::passes
