// Makes the precision policy explicit: GEMM and attention read and write bf16.
//
//   %c = contract "mk,nk->mn"(%a, %b) : f32     %a16 = cast %a : f32 to bf16, ...
//                                           ->  %c16 = contract(%a16, %b16) : bf16
//                                               %c = cast %c16 : bf16 to f32
//
// A product whose bias or GELU can be part of its GEMM, which then writes what comes out behind it,
// is rounded there and not before; its bias is read in bf16 as its other operands are:
//
//   %s = map add(%c, broadcast %bias)   ->   %c = contract(cast %a16 : f32, cast %b16 : f32) : f32
//   (read by GEMMs, attention alone)         %s = map add(%c, broadcast (cast %bias16 : f32))
//                                            %s16 = cast %s : f32 to bf16
//
// Everything else keeps its type: pointwise ops and reductions compute in f32. Refuses nothing;
// ops that are not f32 are left alone.
#include <mlir/IR/Builders.h>

#include "epilogue.h"
#include "fusec/ir/kernel_builder.h"
#include "fusec/passes/pass.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

Type with_element(Type t, Type element) { return cast<RankedTensorType>(t).clone(element); }

bool is_f32(mlir::Value v) { return cast<RankedTensorType>(v.getType()).getElementType().isF32(); }

// Runs `op` on bf16 copies of its f32 operands and casts the results that follow the operand type.
void lower_op(Operation* op, unsigned first_kept_operand, unsigned first_kept_result) {
  OpBuilder b(op);
  Type bf16 = b.getBF16Type();
  for (OpOperand& use : op->getOpOperands())
    if (is_f32(use.get()) && use.getOperandNumber() < first_kept_operand)
      use.set(CastOp::create(b, op->getLoc(), with_element(use.get().getType(), bf16), use.get()));
  b.setInsertionPointAfter(op);
  for (OpResult r : op->getResults()) {
    if (r.getResultNumber() >= first_kept_result) continue;
    Type wide = r.getType();
    r.setType(with_element(wide, bf16));
    auto back = CastOp::create(b, op->getLoc(), wide, r);
    r.replaceAllUsesExcept(back.getResult(), back);
  }
}

// Whether all that reads `v`, through views, are casts to `narrow`, and one of them at least makes
// what must lie in memory as `v` does.
bool is_only_narrowed(mlir::Value v, Type narrow) {
  bool whole = false;
  auto visit = [&](auto&& self, mlir::Value from, bool same_place) -> bool {
    return llvm::all_of(from.getUsers(), [&](Operation* user) {
      if (auto view = dyn_cast<ViewOp>(user))
        return self(self, view.getResult(), same_place && view.getKind() == "reshape");
      auto cast = dyn_cast<CastOp>(user);
      if (!cast || cast.getType().getElementType() != narrow) return false;
      whole = whole || (same_place && needed_in_memory(cast.getResult()));
      return true;
    });
  };
  return visit(visit, v, true) && whole;
}

// `v` rounded, and widened again for all that read it but `kept`.
void round(mlir::Value v, Type narrow, Operation* kept) {
  OpBuilder b(v.getContext());
  b.setInsertionPointAfterValue(v);
  Location loc = v.getDefiningOp()->getLoc();
  auto down = CastOp::create(b, loc, with_element(v.getType(), narrow), v);
  auto up = CastOp::create(b, loc, v.getType(), down);
  v.replaceUsesWithIf(up, [&](OpOperand& use) {
    return use.getOwner() != down.getOperation() && use.getOwner() != kept;
  });
}

mlir::Value widened(OpBuilder& b, Location loc, mlir::Value v) {
  return CastOp::create(b, loc, with_element(v.getType(), b.getF32Type()), v);
}

// Moves the rounding of a product that was lowered behind its epilogue.
void round_behind_epilogue(ContractOp c, bool gelu) {
  OpBuilder b(c);
  Type bf16 = b.getBF16Type();
  if (!c.getResult().hasOneUse()) return;
  auto widen = dyn_cast<CastOp>(*c.getResult().user_begin());
  if (!widen || !c.getType().getElementType().isBF16() || !is_f32(widen.getResult())) return;
  std::optional<Epilogue> e = match_epilogue(widen.getResult(), columns_of(c), gelu);
  if (e && e->gelu && !is_only_narrowed(e->result(), bf16))
    e = match_epilogue(widen.getResult(), columns_of(c), false);
  if (!e || !is_only_narrowed(e->result(), bf16)) return;

  mlir::Value lhs = widened(b, c.getLoc(), c.getLhs()), rhs = widened(b, c.getLoc(), c.getRhs());
  auto product = ContractOp::create(b, c.getLoc(), widen.getType(), c.getLabels(), lhs, rhs);
  widen.getResult().replaceAllUsesWith(product.getResult());
  if (e->sum == widen.getResult()) e->sum = product.getResult();
  widen.erase();
  c.erase();
  if (e->add) {
    b.setInsertionPoint(e->add);
    Location loc = e->add.getLoc();
    mlir::Value bias = widened(
        b, loc, CastOp::create(b, loc, with_element(e->bias.getType(), bf16), e->bias).getResult());
    for (OpOperand& use : e->add->getOpOperands())
      if (auto view = use.get().getDefiningOp<ViewOp>(); view && view.getArg() == e->bias) {
        Operation* copy = b.clone(*view);
        copy->setOperand(0, bias);
        use.set(copy->getResult(0));
      }
  }
  bool aux = e->aux();
  round(e->result(), bf16, nullptr);
  if (aux) round(e->sum, bf16, e->gelu);
}

}  // namespace

void mixed_precision(GraphOp graph, PassContext& context) {
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    if (auto c = dyn_cast<ContractOp>(op); c && is_f32(c.getLhs())) lower_op(&op, 2, 1);
    if (auto a = dyn_cast<AttentionOp>(op); a && is_f32(a.getArgs()[0])) lower_op(&op, 3, 1);
    // do, q, k, v, o become bf16; lse stays f32.
    if (auto a = dyn_cast<AttentionGradOp>(op); a && is_f32(a.getArgs()[0])) lower_op(&op, 5, 3);
  }
  SmallVector<ContractOp> products(graph.getBody().front().getOps<ContractOp>());
  for (ContractOp c : products) round_behind_epilogue(c, context.gelu_in_gemm);
}

}  // namespace fusec::passes
