// The steps of a plan, bound to addresses and machine code once: what is left of each is launches.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

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
// Bytes of counters that one library call of the plan may use at most.
int64_t call_counter_bytes(const Plan& plan, const CallTarget& target);

// Where the plan's data lie on the GPU.
struct Placement {
  std::vector<CuAddress> buffers;  // by index into Plan::buffers
  CuAddress arena = 0, status = 0, counters = 0, tables = 0, workspace = 0;
  int64_t workspace_bytes = 0;
};

struct Step {
  std::vector<Launch> launches;
  std::unique_ptr<LtGemm> gemm;
  void go(CuStream stream) const;
};

struct BoundSteps {
  std::vector<Step> steps;  // those of matrix products are empty: see gemm_steps.h
  std::vector<std::unique_ptr<Code>> code;
  std::vector<uint64_t> tables;  // the words to write at Placement::tables
};

// Binds all steps but matrix products: compiles the texts of library calls that `target` asks for
// and the options do not hold, loads all code. The GPU's context must be current.
BoundSteps bind_steps(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
                      const Placement& placement, const CallTarget& target,
                      const LoadOptions& options);

}  // namespace fusec::cuda
