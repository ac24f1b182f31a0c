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
// The gradient of a GELU that is part of its GEMM is, too: the product is rounded behind the slope,
// and what sums over its rows, the bias's gradient, reads it rounded and is rounded as the weight's
// gradient is.
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
// what must lie in memory as `v` does. `other` may read it as well.
bool is_only_narrowed(mlir::Value v, Type narrow, Operation* other = nullptr) {
  bool whole = false;
  auto visit = [&](auto&& self, mlir::Value from, bool same_place) -> bool {
    return llvm::all_of(from.getUsers(), [&](Operation* user) {
      if (user == other) return true;
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

// The product that was lowered to `c`, not rounded, in the place of what widens it.
mlir::Value unrounded(ContractOp c, CastOp widen) {
  OpBuilder b(c);
  mlir::Value lhs = widened(b, c.getLoc(), c.getLhs()), rhs = widened(b, c.getLoc(), c.getRhs());
  auto product = ContractOp::create(b, c.getLoc(), widen.getType(), c.getLabels(), lhs, rhs);
  widen.getResult().replaceAllUsesWith(product.getResult());
  widen.erase();
  c.erase();
  return product.getResult();
}

// What widens a lowered product, if nothing else reads it.
CastOp widening_of(ContractOp c) {
  if (!c.getResult().hasOneUse()) return {};
  auto widen = dyn_cast<CastOp>(*c.getResult().user_begin());
  bool lowered = widen && c.getType().getElementType().isBF16() && is_f32(widen.getResult());
  return lowered ? widen : CastOp();
}

// Whether `pre` is what a GELU inside a GEMM leaves of its argument: rounded, and widened again.
bool is_kept_argument(mlir::Value pre) {
  auto up = pre.getDefiningOp<CastOp>();
  auto down = up ? up.getArg().getDefiningOp<CastOp>() : CastOp();
  if (!down || !down.getType().getElementType().isBF16() || !is_f32(down.getArg())) return false;
  return llvm::any_of(down.getArg().getUsers(), [](Operation* user) {
    auto map = dyn_cast<MapOp>(user);
    return map && map.getFn() == "gelu";
  });
}

// The gradient of such a GELU is rounded behind its slope, and the sums over its rows after that.
void round_behind_slope(ContractOp c) {
  CastOp widen = widening_of(c);
  if (!widen) return;
  int64_t columns = columns_of(c);
  std::optional<EpilogueGradient> e = match_gradient(widen.getResult(), columns);
  if (!e || !is_kept_argument(e->pre)) return;
  Type bf16 = Builder(c.getContext()).getBF16Type();
  mlir::Value result = e->result();
  ReduceOp sums;
  for (Operation* user : result.getUsers())
    if (auto reduce = dyn_cast<ReduceOp>(user); reduce && sums_rows(reduce, columns)) sums = reduce;
  if (!is_only_narrowed(result, bf16, sums)) return;
  unrounded(c, widen);
  round(result, bf16, nullptr);
  if (sums) round(sums.getResult(), bf16, nullptr);
}

// Moves the rounding of a product that was lowered behind its epilogue.
void round_behind_epilogue(ContractOp c, bool gelu) {
  OpBuilder b(c);
  Type bf16 = b.getBF16Type();
  CastOp widen = widening_of(c);
  if (!widen) return;
  std::optional<Epilogue> e = match_epilogue(widen.getResult(), columns_of(c), gelu);
  if (e && e->gelu && !is_only_narrowed(e->result(), bf16))
    e = match_epilogue(widen.getResult(), columns_of(c), false);
  if (!e || !is_only_narrowed(e->result(), bf16)) return;

  bool bare = e->sum == widen.getResult();
  mlir::Value product = unrounded(c, widen);
  if (bare) e->sum = product;
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
  if (!context.gelu_in_gemm) return;
  SmallVector<ContractOp> gradients(graph.getBody().front().getOps<ContractOp>());
  for (ContractOp c : gradients) round_behind_slope(c);
}

}  // namespace fusec::passes
