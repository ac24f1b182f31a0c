// What a device must offer to run a Plan. One implementation a folder: runtime/cpu, runtime/cuda.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/plan/non_finite.h"
#include "fusec/plan/plan.h"

namespace fusec {

// Parameters and states by name, shared between the programs of one model. Owned jointly by them.
class PersistentStore {
 public:
  virtual ~PersistentStore() = default;
  // Parameters that hold a value: written by the host, or assigned by a run.
  bool is_set(const std::string& name) const { return set_.count(name) > 0; }
  void mark_set(const std::string& name) { set_.insert(name); }

 private:
  std::set<std::string> set_;
};

// Time of one step of the plan, in seconds, from a profiled run. `start` counts from the beginning
// of that run; below 0: the device does not know, and the steps ran one after another.
struct StepTime {
  int step = 0;
  double seconds = 0;
  double start = -1;
  std::string library_kernels = {};  // names of those that a vendor's library ran, where known
};

struct ProfiledRun {
  std::vector<StepTime> steps;
  std::string clock;  // what timed them, and why no better one did
  // Of the time from the start of the first step to the end of the last, what passed in no step,
  // where the steps ran as in run(); below 0: they did not.
  double gap = -1;
};

struct CheckedRun {
  bool finite = true;  // else no assign of the step took effect
  std::optional<NonFinite> first;
};

// Puts bytes [begin, begin + bytes) of a tensor, row-major, to `out`. Called for pieces that begin
// at multiples of kPieceBytes (pieces.h), several at once from different threads.
using MakeBytes = std::function<void(int64_t begin, int64_t bytes, void* out)>;
struct Filling {
  int buffer = 0;  // of the plan
  MakeBytes make;
};

// fill_normal(x, 0, size, deviation, key, stream) of normal_fill.h, for an f32 tensor.
struct NormalFilling {
  int buffer = 0;  // of the plan
  float deviation = 1;
  uint64_t key = 0, stream = 0;
};

// A Plan loaded on a device with its memory. Not safe for concurrent use.
class Program {
 public:
  virtual ~Program() = default;
  // Blocking copies between the host and plan buffer `buffer`; bytes must equal its size.
  virtual void write(int buffer, const void* data, size_t bytes) = 0;
  virtual void read(int buffer, void* data, size_t bytes) const = 0;
  // Starts a write() that takes effect with take_staged(), and returns true: the copy runs beside a
  // run(), and `data` must stay as it is until take_staged(). False, with nothing done, where the
  // device cannot.
  virtual bool stage(int, const void*, size_t) { return false; }
  virtual void take_staged() {}
  // As write() of each, with the values made where they are copied from. If one throws, what the
  // tensors hold is not known.
  virtual void fill(const std::vector<Filling>& fillings) = 0;
  // Draws them all where they lie, with the bits of fill_normal(), and returns true; false, with
  // nothing done, where the device cannot.
  virtual bool draw_normal(const std::vector<NormalFilling>&) { return false; }
  // Executes all steps once; commit steps only if every guard before them found a finite number,
  // which is the result. Throws Error (device or user kind, e.g. an index out of range).
  virtual bool run() = 0;
  // As run(), but slowly: looks at every tensor that a step writes, and undoes the step if it would
  // write persistent memory that is not finite. Without `commit`, commit steps do not run: after a
  // run() that was skipped this repeats it exactly, to name the culprit. An infinity that a kernel
  // holds as a constant (a mask) is no fault, nor is what follows from it, unless nothing else is.
  virtual CheckedRun run_checked(bool commit) = 0;
  // Executes one step of the plan alone and waits for it; run() is all of them in order. What a
  // caller reads between two steps is what the next step will find.
  virtual void run_step(int step) = 0;
  // As run(), timing each step. Where that turns out to fail on the way it may run a second time.
  virtual ProfiledRun run_profiled() = 0;
  virtual std::shared_ptr<PersistentStore> store() const = 0;
  // Bytes that the program holds now: persistent (shared or not), arena and library scratch. After
  // a run(), what the plan's peak promised.
  virtual int64_t measured_bytes() const = 0;
  // "gemm", "attention", "optimizer", "kernels" -> a line for the start-up table.
  virtual std::string backend(std::string_view work) const = 0;
  // Whether a GPU runs it, whose libraries may be coarser than the CPU's.
  virtual bool on_gpu() const { return false; }
};

}  // namespace fusec
