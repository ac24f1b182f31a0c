// compile(): a recorded graph becomes an Executable. No MLIR, LLVM or vendor type appears here.
#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/core/loaded_plan.h"
#include "fusec/ops/graph.h"
#include "fusec/plan/memory_report.h"
#include "fusec/plan/non_finite.h"
#include "fusec/plan/plan.h"

namespace fusec {

// What GEMMs and attention read and write. Parameters stay f32; casts appear in the `canonical`
// stage and are never moved by fusion. Accumulation is always f32.
enum class Precision : uint8_t { f32, bf16 };

struct ValidateReport;

struct CompileOptions {
  // "cpu", "cuda" (the first GPU), "cuda:N", or "auto": a GPU if there is one, else the CPU.
  // inspect() also takes an architecture, such as "sm_90a": its code without a GPU.
  std::string device = "auto";
  bool fuse = true;             // false: one kernel an op, the baseline for tests and benches
  Precision precision = Precision::f32;
  // false: leave out the graph's assigns, so that a run changes nothing (the loss of a training
  // graph on other data).
  bool assigns = true;
  int threads = 0;  // worker threads (GPU: of the compile); 0: all cores
  bool tf32 = false;  // GPU: f32 GEMMs in tf32, a tenth of the precision for several times the speed
  // GPU: the same bits in every run, also where a faster form exists that does not promise them.
  bool deterministic = false;
  // bf16: a GELU (tanh form) behind a matrix product may be a part of its GEMM, where that saves a
  // pass over memory, and so may its gradient and that of its bias. Products are then rounded
  // behind the GELU or its slope only, and the bias's gradient is rounded as the weight's is. Off:
  // a GPU's library may take tanh from the hardware, whose error (2^-11) shows where GELU is near
  // zero. FUSEC_GELU_IN_GEMM=1 sets it.
  bool gelu_in_gemm = false;
  // GPU: runs the algorithms that cuBLASLt offers for each GEMM when the plan is loaded, takes the
  // fastest and keeps the choice on disk, so that it is measured once a GPU. Until the cache is
  // cleared, results have the same bits in every process. FUSEC_TUNE_GEMMS=1 sets it.
  bool tune_gemms = false;
  // Parameters and states of the same name (and type) are shared with this executable instead of
  // being allocated: a training step, its evaluation and its generation graph see one model.
  const LoadedPlan* share = nullptr;
  Sentry sentry = Sentry::guard;  // FUSEC_SENTRY=1 makes it check
  // Bytes that the step may hold (parameters, states, arena and library scratch); 0: no bound. To
  // meet it, values of the forward pass are computed a second time instead of being kept: results
  // keep their bits. If that is not enough, the smallest peak is taken, with a warning.
  int64_t memory_budget = 0;
  // What counts as the device's memory; 0: the least of physical memory, cgroup and RLIMIT_AS, or
  // FUSEC_MEMORY_LIMIT (bytes, or with K, M, G). A plan beyond it is a device Error that shows the
  // peak and its largest tensors; nothing has been allocated then.
  int64_t memory_limit = 0;
  // Directory for one numbered file a stage ("03.fused.mlir"), and the stages to write (all if
  // empty). FUSEC_DUMP=dir[:stage,...] sets both.
  std::string dump_dir;
  std::vector<std::string> dump_stages;
  bool verify_each = true;  // run the IR verifier after every pass
  bool validate = false;    // keep what Executable::validate() compares with
  // Keep compiled kernels for the life of the process and use them again where the whole text of
  // a kernel is equal. For programs that compile many small graphs.
  bool reuse_kernels = false;
  // Run this plan (the text of stage `plan`) in place of the one that the passes make of the graph;
  // it must have the same kernels. For validating an edited plan against the graph it came from.
  std::string plan_text;
};

// A named result. Converts from a Tensor (name "out0", "out1", ... by position).
struct Output {
  std::string name;
  Tensor tensor;
  Output(const Tensor& t) : tensor(t) {}  // NOLINT
  Output(std::string n, const Tensor& t) : name(std::move(n)), tensor(t) {}
};

// Wall time of one compile, in seconds, by stage.
struct CompileTimes {
  double import = 0, canonical = 0, fused = 0, scheduled = 0, plan = 0, source = 0, binary = 0;
  double total() const { return import + canonical + fused + scheduled + plan + source + binary; }
  // Kernels (GPU: and texts of library calls) found compiled on disk, and those compiled now (all,
  // if the cache is off).
  int cache_hits = 0, cache_misses = 0;
  bool plan_cached = false;  // the plan was found there, too: no pass ran
};

// A compiled graph with its memory: set inputs and parameters, run, get outputs (loaded_plan.h).
// Movable; not safe for concurrent use.
class FUSEC_API Executable : public LoadedPlan {
 public:
  Executable();
  ~Executable();
  Executable(Executable&&) noexcept;
  Executable& operator=(Executable&&) noexcept;

  // What the plan promised to hold; measured_bytes() agrees after the first run().
  MemoryReport memory() const;
  // What the compile had to say, such as a memory budget that cannot be met.
  const std::vector<std::string>& warnings() const;

  // Runs the plan once, comparing each step with the oracle on the step's own inputs (check.h).
  // Needs CompileOptions::validate; a user Error says so otherwise.
  ValidateReport validate();

  const CompileTimes& times() const;

  // Writes plan and code to one file for load_plan() (runtime.h): for this kind of processor, or
  // for GPUs of this one's architecture, and without the values of parameters. A path that can not
  // be written is a user Error.
  void save(const std::string& path) const;

 private:
  friend FUSEC_API Executable compile(Graph&, std::vector<Output>, CompileOptions);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Starts a device (CompileOptions::device) in the background, which takes a GPU some tenths of a
// second: the earlier a program asks, the more of its own start runs beside it. What is wrong is
// told by compile(). Keep the result at least until then: it waits when it is destroyed.
[[nodiscard]] FUSEC_API std::future<void> start_device(const std::string& device);

// Host memory for what is written to a device (CompileOptions::device) again and again, at a
// multiple of 256; the last copy of the pointer frees it. A GPU's is pinned, so that it copies
// beside its work (LoadedPlan::stage()); where there is none or nothing can be pinned it is plain.
FUSEC_API std::shared_ptr<void> host_memory(size_t bytes, const std::string& device);

// Compiles everything that `outputs` and the graph's assigns need. Throws Error.
FUSEC_API Executable compile(Graph& graph, std::vector<Output> outputs,
                             CompileOptions options = {});

}  // namespace fusec
