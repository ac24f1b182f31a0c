// Folds views, merges equal ops and drops dead ones.
//
//   reshape(reshape(x)) -> reshape(x)          permute(permute(x)) -> permute(x)
//   view(broadcast(scalar)) -> broadcast(scalar)
//   identity view, cast to the same type -> x  contract(permute(x), y) -> contract(x, y),
//   relabelled x * 1, x + 0 (splat constants) -> x        two equal pure ops -> one
//
//   cast(view(cast(x : bf16) : f32) : bf16) -> view(x)    the narrowing undoes an exact widening
//
// Refuses: anything else that would move or drop a cast that changes a type.
#include <mlir/IR/Builders.h>
#include <mlir/IR/OperationSupport.h>

#include <unordered_map>

#include "fusec/passes/pass.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

mlir::Value replace_view(ViewOp op, OpBuilder& b) {
  if (op.getKind() == "reshape" || op.getKind() == "broadcast")
    if (op.getArg().getType() == op.getResult().getType()) return op.getArg();
  auto inner = op.getArg().getDefiningOp<ViewOp>();
  if (inner && inner.getKind() == "broadcast" && type_of(inner.getArg()).shape.empty()) {
    b.setInsertionPoint(op);
    SmallVector<int64_t> dims(type_of(op.getResult()).shape.size(), -1);
    return ViewOp::create(b, op.getLoc(), op.getType(), "broadcast", inner.getArg(), dims,
                          ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
  }
  if (op.getKind() == "permute") {
    SmallVector<int64_t> dims(op.getDims());
    if (inner && inner.getKind() == "permute") {
      for (int64_t& d : dims) d = inner.getDims()[d];
      b.setInsertionPoint(op);
      return ViewOp::create(b, op.getLoc(), op.getType(), "permute", inner.getArg(), dims,
                            ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
    }
    for (size_t i = 0; i < dims.size(); ++i)
      if (dims[i] != static_cast<int64_t>(i)) return {};
    return op.getArg();
  }
  if (op.getKind() == "reshape" && inner && inner.getKind() == "reshape") {
    if (inner.getArg().getType() == op.getType()) return inner.getArg();
    b.setInsertionPoint(op);
    return ViewOp::create(b, op.getLoc(), op.getType(), "reshape", inner.getArg(),
                          ArrayRef<int64_t>{}, ArrayRef<int64_t>{}, ArrayRef<int64_t>{});
  }
  return {};
}

// Every value of `narrow` is one of `wide`, so that casting there and back changes no bit.
bool holds(Type wide, Type narrow) {
  if (isa<Float8E4M3FNType>(narrow)) return isa<FloatType>(wide);
  return isa<FloatType>(narrow) && ((wide.isF32() && (narrow.isBF16() || narrow.isF16())) ||
                                    (wide.isF64() && isa<FloatType>(narrow)));
}

mlir::Value replace_cast(CastOp op, OpBuilder& b) {
  if (op.getArg().getType() == op.getType()) return op.getArg();
  Type narrow = op.getType().getElementType(), wide = op.getArg().getType().getElementType();
  if (narrow == wide || !holds(wide, narrow)) return {};
  SmallVector<ViewOp> views;
  mlir::Value v = op.getArg();
  for (auto view = v.getDefiningOp<ViewOp>(); view; view = v.getDefiningOp<ViewOp>())
    views.push_back(view), v = view.getArg();
  auto widen = v.getDefiningOp<CastOp>();
  if (!widen || widen.getArg().getType().getElementType() != narrow) return {};
  v = widen.getArg();
  b.setInsertionPoint(op);
  for (ViewOp view : llvm::reverse(views)) {
    Operation* copy = b.clone(*view);
    copy->setOperand(0, v);
    copy->getResult(0).setType(view.getType().clone(narrow));
    v = copy->getResult(0);
  }
  return v;
}

// Follows broadcasts and reshapes to a splat constant.
bool is_splat(mlir::Value v, double number) {
  while (auto view = v.getDefiningOp<ViewOp>()) v = view.getArg();
  auto constant = v.getDefiningOp<ConstantOp>();
  if (!constant || !constant.is_splat()) return false;
  auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
  if (!dense || !isa<FloatType>(dense.getElementType())) return false;
  return dense.getSplatValue<APFloat>().convertToDouble() == number;
}

mlir::Value replace_map(MapOp op) {
  if (op.getFn() == "mul")
    for (int i : {0, 1})
      if (is_splat(op.getArgs()[i], 1.0)) return op.getArgs()[1 - i];
  if (op.getFn() == "add")
    for (int i : {0, 1})
      if (is_splat(op.getArgs()[i], 0.0)) return op.getArgs()[1 - i];
  return {};
}

// Absorbs permutes of the operands into the labels.
void fold_contract(ContractOp op, OpBuilder& b) {
  auto attr = std::get<ContractAttr>(info_of(op).attr);
  mlir::Value sides[] = {op.getLhs(), op.getRhs()};
  std::string* labels[] = {&attr.lhs, &attr.rhs};
  bool changed = false;
  for (int s : {0, 1})
    while (auto view = sides[s].getDefiningOp<ViewOp>()) {
      if (view.getKind() != "permute") break;
      std::string source(labels[s]->size(), ' ');
      for (auto [i, d] : llvm::enumerate(view.getDims())) source[d] = (*labels[s])[i];
      *labels[s] = source;
      sides[s] = view.getArg();
      changed = true;
    }
  if (!changed) return;
  op.setLabels(attr.lhs + "," + attr.rhs + "->" + attr.out);
  op.getLhsMutable().assign(sides[0]);
  op.getRhsMutable().assign(sides[1]);
}

// One sweep; true if anything was replaced.
bool fold(GraphOp graph) {
  OpBuilder b(graph.getContext());
  bool changed = false;
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    mlir::Value with;
    if (auto view = dyn_cast<ViewOp>(op)) with = replace_view(view, b);
    if (auto map = dyn_cast<MapOp>(op)) with = replace_map(map);
    if (auto c = dyn_cast<CastOp>(op)) with = replace_cast(c, b);
    if (auto c = dyn_cast<ContractOp>(op)) fold_contract(c, b);
    if (!with) continue;
    op.getResult(0).replaceAllUsesWith(with);
    op.erase();
    changed = true;
  }
  return changed;
}

void merge_equal(GraphOp graph) {
  std::unordered_multimap<size_t, Operation*> seen;
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    if (!isPure(&op) || op.getNumRegions()) continue;
    size_t h = OperationEquivalence::computeHash(&op, OperationEquivalence::directHashValue,
                                                 OperationEquivalence::ignoreHashValue,
                                                 OperationEquivalence::IgnoreLocations);
    Operation* same = nullptr;
    for (auto [it, end] = seen.equal_range(h); it != end && !same; ++it)
      if (OperationEquivalence::isEquivalentTo(it->second, &op,
                                               OperationEquivalence::exactValueMatch, nullptr,
                                               OperationEquivalence::IgnoreLocations))
        same = it->second;
    if (same)
      op.replaceAllUsesWith(same), op.erase();
    else
      seen.emplace(h, &op);
  }
}

void drop_dead(GraphOp graph) {
  Block& body = graph.getBody().front();
  for (auto it = body.rbegin(); it != body.rend();) {
    Operation& op = *it++;
    if (op.use_empty() && (isPure(&op) || isa<InputOp, ParameterOp>(op)) && op.getNumResults())
      op.erase();
  }
}

}  // namespace

void canonicalize(GraphOp graph, PassContext&) {
  while (fold(graph)) {
  }
  merge_equal(graph);
  drop_dead(graph);
}

}  // namespace fusec::passes
