// Makes the precision policy explicit: GEMM and attention read and write bf16.
//
//   %c = contract "mk,nk->mn"(%a, %b) : f32     %a16 = cast %a : f32 to bf16, ...
//                                           ->  %c16 = contract(%a16, %b16) : bf16
//                                               %c = cast %c16 : bf16 to f32
//
// Everything else keeps its type: pointwise ops and reductions compute in f32. Refuses nothing;
// ops that are not f32 are left alone.
#include <mlir/IR/Builders.h>

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

}  // namespace

void mixed_precision(GraphOp graph, PassContext&) {
  for (Operation& op : llvm::make_early_inc_range(graph.getBody().front())) {
    if (auto c = dyn_cast<ContractOp>(op); c && is_f32(c.getLhs())) lower_op(&op, 2, 1);
    if (auto a = dyn_cast<AttentionOp>(op); a && is_f32(a.getArgs()[0])) lower_op(&op, 3, 1);
    // do, q, k, v, o become bf16; lse stays f32.
    if (auto a = dyn_cast<AttentionGradOp>(op); a && is_f32(a.getArgs()[0])) lower_op(&op, 5, 3);
  }
}

}  // namespace fusec::passes
