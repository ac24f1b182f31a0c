// Makes a kernel of each pointwise op and reduction, with its views folded into the loads.
//
//   %b = view broadcast(%bias) ; %y = map add(%x, %b)
//   ->  %y = kernel "add"(%x, %bias) { %b = view broadcast(..) ; %y = map add(..) ; yield %y }
//
// A view, iota or splat that something other than a kernel reads becomes a copy kernel of its own,
// but for reshapes of dense values: they stay as aliases. Views whose composition has no affine
// index are materialised one by one.
#include <mlir/IR/Builders.h>

#include "kernels.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

std::string kernel_name(Operation* op) {
  if (auto o = dyn_cast<MapOp>(op)) return o.getFn().str();
  if (auto o = dyn_cast<ReduceOp>(op)) return o.getKind().str();
  if (auto o = dyn_cast<ViewOp>(op)) return o.getKind().str();
  return op->getName().stripDialect().str();
}

bool is_alias(Operation* op) {
  auto view = dyn_cast<ViewOp>(op);
  if (!view || view.getKind() != "reshape") return false;
  Operation* def = view.getArg().getDefiningOp();
  return !def || !is_free(def) || is_alias(def);
}

// Whether it reads memory, not the view: a library call, an output, a reshape of dense values.
bool reads_memory(Operation* op) { return !is_fusable(op) || (is_free(op) && is_alias(op)); }

// Turns the view behind operand `v` of `op` into a kernel of its own and reads its result.
void materialise(OpOperand& use) {
  Operation* def = use.get().getDefiningOp();
  if (!def || !isa<ViewOp>(def) || !is_free(def)) return;
  OpBuilder b(use.getOwner());
  Operation* copy = b.clone(*def);
  use.set(copy->getResult(0));
  for (OpOperand& inner : copy->getOpOperands()) materialise(inner);
  if (!is_alias(copy)) make_kernel({copy}, kernel_name(copy));
}

// Makes a kernel of `op`; views that it cannot index through are materialised first.
void form_kernel(Operation* op, KernelAnswers& answers) {
  const std::string name = kernel_name(op);
  // Try on a clone: the original is needed if its views have to be materialised.
  OpBuilder b(op);
  Operation* probe = b.clone(*op);
  auto sink = OutputOp::create(b, op->getLoc(), "probe", probe->getResult(0));
  KernelOp trial = make_kernel({probe}, name);
  bool ok = answers(trial).failure.empty();
  sink.erase();
  trial.erase();
  if (!ok)
    for (OpOperand& use : op->getOpOperands()) materialise(use);
  make_kernel({op}, name);
}

}  // namespace

void form_kernels(GraphOp graph, PassContext&) {
  KernelAnswers answers;
  Block& body = graph.getBody().front();
  for (Operation& op : llvm::make_early_inc_range(body)) {
    if (!is_fusable(&op) || op.use_empty()) continue;
    if (is_free(&op)) {
      if (!is_alias(&op) && llvm::any_of(op.getUsers(), reads_memory)) {
        // Kernels go on reading the view itself; everyone else reads the copy.
        Operation* first = nullptr;
        for (Operation* user : op.getUsers())
          if (reads_memory(user) && (!first || user->isBeforeInBlock(first))) first = user;
        OpBuilder b(first);  // not earlier: until then it needs no memory
        Operation* copy = b.clone(op);
        op.getResult(0).replaceUsesWithIf(
            copy->getResult(0), [&](OpOperand& use) { return reads_memory(use.getOwner()); });
        form_kernel(copy, answers);
      }
      continue;
    }
    form_kernel(&op, answers);
  }
  for (auto it = body.rbegin(); it != body.rend();) {
    Operation& op = *it++;
    if (op.use_empty() && (is_free(&op) || isa<ConstantOp>(op))) op.erase();
  }
}

}  // namespace fusec::passes
