// A pass is one file and one row of the table in pipeline.cpp.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/ir/context.h"
#include "fusec/plan/decision.h"
#include "fusec/plan/plan.h"
#include "fusec/plan/target.h"

namespace fusec::passes {

using ir::KernelOp;  // the dialect's; fusec::KernelOp is a scalar op of the plan

// What a pass reads and leaves behind, besides the IR.
struct PassContext {
  TargetInfo target;
  bool fuse = true;   // false: one kernel an op
  bool bf16 = false;  // precision policy of GEMM and attention operands
  bool gelu_in_gemm = false;  // GELU and its gradient may be epilogues of bf16 GEMMs
  bool guarded = false;       // plan for steps that may be skipped, even without a guard
  int64_t memory_budget = 0;  // bytes that a step may hold; 0: as many as it likes
  std::function<int64_t(const Plan&)> workspace;  // what the device's libraries add to a plan
  std::vector<Decision> decisions;
  std::vector<std::string> warnings;

  // All that decides about a plan, as text: plans are kept on disk under it. The bindings name all
  // fields, so that a field that is added does not compile here before it has its place. With a
  // memory budget, the workspace decides, too: what it depends on is the backend's to say.
  std::string settings() const {
    const auto& [on, fuse_kernels, narrow, gelu, guard, budget, libraries, made, warned] = *this;
    const auto& [name, cores, balance, cache, chunk, params, ops] = on;
    std::string out = name;
    for (int64_t v :
         {int64_t{cores}, balance, cache, chunk, int64_t{params}, int64_t{ops},
          int64_t{fuse_kernels}, int64_t{narrow}, int64_t{gelu}, int64_t{guard}, budget})
      out += " " + std::to_string(v);
    return out;
  }
};

struct Pass {
  std::string_view name;
  std::string_view stage;  // the stage whose text it contributes to
  std::string_view why_here;
  bool (*enabled)(const PassContext&);
  void (*run)(ir::GraphOp graph, PassContext& context);
};

// All passes on the IR in the order in which they run.
const std::vector<Pass>& pipeline();

void canonicalize(ir::GraphOp graph, PassContext& context);
void mixed_precision(ir::GraphOp graph, PassContext& context);
void decompose(ir::GraphOp graph, PassContext& context);
void fuse_gemms(ir::GraphOp graph, PassContext& context);
void select_library(ir::GraphOp graph, PassContext& context);
void fuse_epilogue(ir::GraphOp graph, PassContext& context);
void form_kernels(ir::GraphOp graph, PassContext& context);
void fuse_pointwise(ir::GraphOp graph, PassContext& context);
void fuse_reduction(ir::GraphOp graph, PassContext& context);
void rematerialize(ir::GraphOp graph, PassContext& context);
void store_again(ir::GraphOp graph, PassContext& context);
void fuse_horizontal(ir::GraphOp graph, PassContext& context);
void place_concats(ir::GraphOp graph, PassContext& context);
void schedule(ir::GraphOp graph, PassContext& context);
void recompute(ir::GraphOp graph, PassContext& context);

}  // namespace fusec::passes
