// What the fusion passes share: making a kernel of ops, merging two kernels, and the memory of
// answers that lets identical layers be handled once.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>

#include "fusec/ir/kernel_builder.h"
#include "fusec/passes/pass.h"

namespace fusec::passes {

// Moves `ops` (topological order, in one block) with copies of the free ops that they use into a
// new kernel at the place of the last of them. Results: the values of `ops` used elsewhere.
ir::KernelOp make_kernel(llvm::ArrayRef<mlir::Operation*> ops, llvm::StringRef name);

// Hash of a kernel's body: ops, attributes, types and wiring; not names or locations.
uint64_t structure_of(ir::KernelOp kernel);

// Answers build_kernel() once for each distinct structure.
class KernelAnswers {
 public:
  struct Answer {
    std::string failure;  // empty: it is a kernel
    int64_t duplicated = 0;
    int64_t elements = 0;  // size of the domain
    ScheduleKind kind = ScheduleKind::flat;
    // Of a kernel that walks panels of rows (KernelProgram::walk_dims); else 0.
    int64_t panels = 0, rows = 0, columns = 0;  // of one panel
    int64_t sums = 0;           // results over rows
    int64_t row_bytes = 0;      // of a row that the block holds, and of what all rows share
    bool across_rows = false;   // reads a tensor along another dimension than its last
  };
  const Answer& operator()(ir::KernelOp kernel);

 private:
  std::unordered_map<uint64_t, Answer> answers_;
};

// Of a kernel that walks panels: why its target should rather run two kernels; "" if it should not.
// The threads of a block keep the columns of a panel: they must fit, and there must be enough blocks.
std::string panel_refusal(const KernelAnswers::Answer& panels, const TargetInfo& target);

// Merges `a` into the later `b` where that is legal and pays; both are replaced by the result.
// Records the decision. `b` (or the merged kernel) is returned in `merged`.
class KernelMerger {
 public:
  KernelMerger(PassContext& context, std::string pass)
      : context_(context), pass_(std::move(pass)) {}
  // Null if not merged.
  ir::KernelOp try_merge(ir::KernelOp a, ir::KernelOp b);
  const KernelAnswers::Answer& answer(ir::KernelOp k) { return answers_(k); }

 private:
  ir::KernelOp merge(ir::KernelOp a, ir::KernelOp b);
  Decision decide(ir::KernelOp a, ir::KernelOp b, ir::KernelOp merged, int64_t saved);

  PassContext& context_;
  std::string pass_;
  KernelAnswers answers_;
};

bool has_reduce(ir::KernelOp kernel);
int64_t bytes_of(mlir::Value v);

}  // namespace fusec::passes
