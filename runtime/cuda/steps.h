// The steps of a plan, bound to addresses and machine code once: what is left of each is launches.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "code_set.h"
#include "gemm.h"
#include "launch.h"
#include "memory.h"

namespace fusec::cuda {

// "step 3 (k03_silu, trunk.0) of my_graph".
std::string step_name(const Plan& plan, int step);

// Bytes of all launch tables of a plan, if every kernel takes one.
int64_t table_bytes(const Plan& plan);
// Bytes of workspace that one library call of the plan may use at most; they run one by one.
int64_t call_workspace_bytes(const Plan& plan, const CallTarget& target);

// Where the plan's data lie on the GPU.
struct Placement {
  std::vector<CuAddress> buffers;  // by index into Plan::buffers
  CuAddress status = 0, tables = 0, workspace = 0;
  int64_t workspace_bytes = 0;
};

struct Step {
  std::vector<Launch> launches;
  std::unique_ptr<LtGemm> gemm;
  void go(CuStream stream) const;
};

struct BoundSteps {
  std::vector<Step> steps;
  std::vector<std::unique_ptr<Code>> code;
  std::vector<uint64_t> tables;  // the words to write at Placement::tables
  int lt_gemms = 0, own_gemms = 0;
  std::string why_own;  // the reason of the first own GEMM
  bool tuned = false;   // products were run, so that the arena may hold anything
};

// Chooses algorithms (with LoadOptions::tune_gemms by running products: nothing may be under way,
// and the arena hold no value yet), compiles the texts of library calls (one call for all distinct
// ones) that `target` asks for and the options do not hold, loads all code. The GPU's context must
// be current.
BoundSteps bind_steps(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
                      const Placement& placement, const CallTarget& target,
                      const LoadOptions& options);

}  // namespace fusec::cuda
