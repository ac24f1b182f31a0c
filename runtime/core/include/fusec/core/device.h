// What a device must offer to run a Plan. One implementation a folder: runtime/cpu, runtime/cuda.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/plan/plan.h"

namespace fusec {

// Parameters and states by name, shared between the programs of one model. Owned jointly by them.
class PersistentStore {
 public:
  virtual ~PersistentStore() = default;
};

// Time of one step of the plan, in seconds, from a profiled run.
struct StepTime {
  int step = 0;
  double seconds = 0;
};

// A Plan loaded on a device with its memory. Not safe for concurrent use.
class Program {
 public:
  virtual ~Program() = default;
  // Blocking copies between the host and plan buffer `buffer`; bytes must equal its size.
  virtual void write(int buffer, const void* data, size_t bytes) = 0;
  virtual void read(int buffer, void* data, size_t bytes) const = 0;
  // Executes all steps once. Throws Error (device or user kind, e.g. an index out of range).
  virtual void run() = 0;
  // Executes one step of the plan alone and waits for it; run() is all of them in order. What a
  // caller reads between two steps is what the next step will find.
  virtual void run_step(int step) = 0;
  // As run(), timing each step.
  virtual std::vector<StepTime> run_profiled() = 0;
  virtual std::shared_ptr<PersistentStore> store() const = 0;
  // "gemm", "attention", "optimizer", "kernels" -> a line for the start-up table.
  virtual std::string backend(std::string_view work) const = 0;
};

}  // namespace fusec
