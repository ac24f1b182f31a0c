// The oracle beside a running plan; see check.h for what it promises.
#pragma once

#include <vector>

#include "fusec/check.h"
#include "fusec/core/device.h"
#include "fusec/ir/to_graph.h"
#include "fusec/ops/bounds.h"

namespace fusec::driver {

// What the plan's kernel i computes, from its fused region; no graph: it only copies (concat).
using KernelReferences = std::vector<ir::RecordedKernel>;

// Runs all steps of the plan once, each compared.
ValidateReport validate(Program& program, const Plan& plan, const KernelReferences& references);

// Reads arguments of a step as numbers: everything from the argument's address to the end of its
// buffer.
class StepReader {
 public:
  StepReader(const Program& program, const Plan& plan) : program_(program), plan_(plan) {}
  std::vector<double> read(const BufferRef& ref, DType type) const;
  // The first `count` elements; NaN for those that the buffer does not have.
  std::vector<double> read(const BufferRef& ref, DType type, int64_t count) const;
  bool on_gpu() const { return program_.on_gpu(); }

 private:
  const Program& program_;
  const Plan& plan_;
};

// What a library call should write to argument `argument`, at `at` (all elements in order if
// empty).
struct ExpectedWrite {
  size_t argument = 0;
  DType type = DType::f32;
  BoundedData data;
  std::vector<int64_t> at;
  int64_t left_out = 0;  // elements of a large result that were not computed
};

// The plain definition of a call (plan.h), on what its arguments hold now; read before it runs.
// Empty for a call that has no definition here.
std::vector<ExpectedWrite> define_call(const LibraryCall& call, const StepReader& reader);

}  // namespace fusec::driver
