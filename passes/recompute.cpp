// Runs cheap steps of the forward pass a second time in the backward pass, instead of keeping what
// they made, so that the step fits a memory budget:
//
//   %h = kernel "k01_silu_mul"(%g, %u)            %h = kernel "k01_silu_mul"(%g, %u)
//   %y = library "gemm"(%h, %w)                   %y = library "gemm"(%h, %w)
//   ... the rest of the forward pass              ...
//   %dw = library "gemm"(%dy, %h)          ->     %h2 = kernel "k01_silu_mul"(%g, %u) {recompute}
//                                                 %dw = library "gemm"(%dy, %h2)
//
// Whole scheduled kernels and library calls are repeated, never single ops: the same code on the
// same values gives the same bits, so recompute changes no result, and no cast. A copy stands right
// before its first reader. What is repeated grows in a nested sequence S0 < S1 < ..., the most
// bytes for the least work first (recompute_model.h); chains follow when their heads alone would
// only keep other values alive. Each set is planned exactly, and the first that fits is taken: a
// smaller budget takes the same set or a later one, so it never raises the peak. If none fits, the
// set with the smallest peak is taken, with a warning.
//
// Refuses: horizontal kernels, scatter, values that are outputs or assigned, a concat whose parts
// are written in place and what writes them.
#include <mlir/IR/Builders.h>
#include <mlir/IR/IRMapping.h>

#include "fusec/base/bytes.h"
#include "fusec/ir/export.h"
#include "fusec/passes/pass.h"
#include "planned.h"
#include "recompute_model.h"

using namespace mlir;

namespace fusec::passes {
namespace {

using namespace ir;

// Behind the views, which are names for the same memory.
mlir::Value root(mlir::Value v) {
  while (auto view = v.getDefiningOp<ViewOp>()) v = view.getArg();
  return v;
}

bool is_leaf(Operation* op) { return isa<InputOp, ParameterOp, ConstantOp>(op); }

// Written into the memory of a concat.
bool is_placed(mlir::Value v) {
  for (OpOperand& use : v.getUses()) {
    if (auto view = dyn_cast<ViewOp>(use.getOwner()); view && is_placed(view.getResult()))
      return true;
    auto concat = dyn_cast<ConcatOp>(use.getOwner());
    if (concat && llvm::is_contained(concat.getPlaced(), use.getOperandNumber())) return true;
  }
  return false;
}

bool is_repeatable(Operation* op) {
  for (mlir::Value r : op->getResults())
    for (Operation* user : r.getUsers())
      if (isa<OutputOp, AssignOp, GuardOp>(user)) return false;
  if (auto kernel = dyn_cast<KernelOp>(op))
    return kernel.getSegments() == 1 && llvm::none_of(op->getResults(), is_placed);
  if (auto library = dyn_cast<LibraryOp>(op)) return library.getName() != "scatter";
  auto concat = dyn_cast<ConcatOp>(op);
  return concat && concat.getPlaced().empty();
}

// The steps of a graph: every op that is neither a leaf nor a view, in order.
std::vector<Operation*> steps_of(GraphOp graph) {
  std::vector<Operation*> steps;
  for (Operation& op : graph.getBody().front())
    if (!is_leaf(&op) && !isa<ViewOp>(op)) steps.push_back(&op);
  return steps;
}

RecomputeModel model_of(const std::vector<Operation*>& ops) {
  std::vector<RecomputeStep> steps(ops.size());
  std::vector<RecomputeValue> values;
  llvm::DenseMap<mlir::Value, int> number;
  for (size_t s = 0; s < ops.size(); ++s) {
    int64_t traffic = 0;
    for (mlir::Value v : ops[s]->getOperands()) {
      traffic += type_of(v).bytes();
      auto known = number.find(root(v));
      if (known != number.end()) steps[s].reads.push_back(known->second);
    }
    for (mlir::Value v : ops[s]->getResults()) {
      bool assigned = llvm::any_of(v.getUsers(), [](Operation* u) { return isa<AssignOp>(u); });
      number[v] = static_cast<int>(values.size());
      steps[s].makes.push_back(static_cast<int>(values.size()));
      values.push_back({assigned ? 0 : reserved_bytes(type_of(v)), static_cast<int>(s)});
      traffic += type_of(v).bytes();
    }
    // A byte of traffic costs about as much as half an operation (see the CPU's task sizes).
    steps[s].cost = static_cast<double>(flops_of(ops[s])) + 0.5 * static_cast<double>(traffic);
    steps[s].repeatable = is_repeatable(ops[s]);
  }
  // Assigns and outputs are read when the step ends.
  std::vector<int> at_end;
  for (size_t s = 0; s < ops.size(); ++s)
    if (isa<AssignOp, OutputOp>(ops[s]))
      at_end.insert(at_end.end(), steps[s].reads.begin(), steps[s].reads.end());
  if (!steps.empty())
    steps.back().reads.insert(steps.back().reads.end(), at_end.begin(), at_end.end());
  return {std::move(steps), std::move(values)};
}

// Puts the model's copies into a graph with the same steps.
class Rewriter {
 public:
  Rewriter(GraphOp graph, const RecomputeModel& model) : model_(model), steps_(steps_of(graph)) {
    for (size_t s = 0; s < steps_.size(); ++s) number_[steps_[s]] = static_cast<int>(s);
  }

  void run() {
    // In order, so that a copy's operands exist before it; all copies first, then the readers.
    for (size_t s = 0; s < steps_.size(); ++s)
      if (model_.repeats(static_cast<int>(s))) copy(static_cast<int>(s));
    for (size_t s = 0; s < steps_.size(); ++s)
      for (OpOperand& use : steps_[s]->getOpOperands())
        use.set(seen_by(use.get(), static_cast<int>(s), false, steps_[s]));
  }

 private:
  void copy(int s) {
    OpBuilder b(steps_[model_.second(s)]);
    Operation* clone = b.clone(*steps_[s]);
    clone->setAttr("recompute", b.getUnitAttr());
    copies_[s] = clone;
    for (OpOperand& use : clone->getOpOperands()) use.set(seen_by(use.get(), s, true, clone));
  }

  // The value that `reader` takes for `v`: behind its views, the original or the copy.
  mlir::Value seen_by(mlir::Value v, int reader, bool is_copy, Operation* before) {
    auto made = number_.find(root(v).getDefiningOp());
    if (made == number_.end() || !model_.reads_copy(made->second, reader, is_copy)) return v;
    return rebuilt(v, copies_.lookup(made->second), before);
  }

  mlir::Value rebuilt(mlir::Value v, Operation* copy, Operation* before) {
    auto view = v.getDefiningOp<ViewOp>();
    if (!view) return copy->getResult(cast<OpResult>(v).getResultNumber());
    mlir::Value inner = rebuilt(view.getArg(), copy, before);
    OpBuilder b(before);
    IRMapping map;
    map.map(view.getArg(), inner);
    return b.clone(*view, map)->getResult(0);
  }

  const RecomputeModel& model_;
  std::vector<Operation*> steps_;
  llvm::DenseMap<Operation*, int> number_;
  llvm::DenseMap<int, Operation*> copies_;
};

int64_t planned_with(GraphOp graph, const RecomputeModel& model, const PassContext& context) {
  auto trial = cast<GraphOp>(graph->clone());
  Rewriter(trial, model).run();
  int64_t bytes = planned_bytes(trial, context);
  trial->destroy();
  return bytes;
}

void record(GraphOp graph, const RecomputeModel& model, PassContext& context) {
  std::vector<Operation*> steps = steps_of(graph);
  for (size_t s = 0; s < steps.size(); ++s) {
    int k = static_cast<int>(s);
    if (!model.repeats(k)) continue;
    int64_t bytes = 0;
    for (mlir::Value r : steps[s]->getResults()) bytes += reserved_bytes(type_of(r));
    Decision d = Decision::yes("recomputed: saves " + std::to_string(bytes) + " bytes over " +
                                   std::to_string(model.second(k) - model.last(k)) +
                                   " steps, costs " + std::to_string(flops_of(steps[s])) + " flops",
                               bytes);
    d.pass = "recompute";
    d.producer = describe(steps[s]);
    d.consumer = describe(steps[model.second(k)]);
    context.decisions.push_back(std::move(d));
  }
}

}  // namespace

void recompute(GraphOp graph, PassContext& context) {
  int64_t budget = context.memory_budget, without = planned_bytes(graph, context);
  if (without <= budget) {
    Decision d = Decision::no("nothing to recompute: " + size_text(without) +
                              " fit the budget of " + size_text(budget));
    d.pass = "recompute";
    return context.decisions.push_back(std::move(d));
  }
  RecomputeModel model = model_of(steps_of(graph)), best = model;
  int64_t least = without;
  while (least > budget && model.grow()) {
    int64_t bytes = planned_with(graph, model, context);
    if (bytes < least) least = bytes, best = model;
  }
  record(graph, best, context);
  if (least > budget) {
    std::string text = "the memory budget of " + size_text(budget) +
                       " cannot be met: the step needs " + size_text(without) + ", and " +
                       size_text(least) + " with all the recompute that helps";
    Decision d = Decision::no(text);
    d.pass = "recompute";
    context.decisions.push_back(std::move(d));
    context.warnings.push_back(text + "; use a smaller batch");
  }
  Rewriter(graph, best).run();
}

}  // namespace fusec::passes
