// compile(): a recorded graph becomes an Executable. No MLIR, LLVM or vendor type appears here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/ops/graph.h"
#include "fusec/plan/memory_report.h"
#include "fusec/plan/non_finite.h"
#include "fusec/plan/plan.h"

namespace fusec {

// What GEMMs and attention read and write. Parameters stay f32; casts appear in the `canonical`
// stage and are never moved by fusion. Accumulation is always f32.
enum class Precision : uint8_t { f32, bf16 };

// How closely a run looks for numbers that are not finite.
//   guard  the tensors given to Graph::guard(); a step they stop keeps all parameters and states
//   check  every tensor of every step: slow, and nothing that is not finite is ever assigned
enum class Sentry : uint8_t { guard, check };

class Executable;

struct CompileOptions {
  std::string device = "auto";  // "cpu" or "auto"
  bool fuse = true;             // false: one kernel an op, the baseline for tests and benches
  Precision precision = Precision::f32;
  int threads = 0;  // worker threads; 0: all cores
  // Parameters and states of the same name (and type) are shared with this executable instead of
  // being allocated: a training step, its evaluation and its generation graph see one model.
  const Executable* share = nullptr;
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
};

// What a run did. finite: no guard was stopped (Sentry::check: no tensor was found to hold a NaN or
// an infinity). If false, no assign took effect: parameters and states keep their bits.
struct RunResult {
  bool finite = true;
};

// Time and work of one step of the plan (one kernel launch or library call).
struct StepProfile {
  std::string name;   // "k03_silu_mul" or "gemm"
  std::string scope;  // model part
  double seconds = 0;
  int64_t bytes = 0, flops = 0;
};

// A compiled graph with its memory. Movable; not safe for concurrent use.
class FUSEC_API Executable {
 public:
  Executable();
  ~Executable();
  Executable(Executable&&) noexcept;
  Executable& operator=(Executable&&) noexcept;

  // Copies host data to / from the input, parameter, state or output `name`. `bytes` must be the
  // exact size. Throws a user Error that names the nearest known names.
  void write(std::string_view name, const void* data, size_t bytes);
  void read(std::string_view name, void* data, size_t bytes) const;

  // Typed forms; sizeof(T) must match the dtype (f32: float, i32: int32_t, bf16: uint16_t, ...).
  template <class T>
  void set(std::string_view name, std::span<const T> v) {
    write(name, v.data(), v.size_bytes());
  }
  template <class T>
  void set(std::string_view name, const std::vector<T>& v) {
    write(name, v.data(), v.size() * sizeof(T));
  }
  template <class T>
  std::vector<T> get(std::string_view name) const {
    std::vector<T> out(numel(type(name).shape));
    read(name, out.data(), out.size() * sizeof(T));
    return out;
  }
  const TensorType& type(std::string_view name) const;

  // Runs the plan once. Blocking.
  RunResult run();

  // After a run() that was not finite, and before inputs or parameters are written: the first
  // tensor at fault, found by repeating the step exactly, tensor by tensor. Empty after a run()
  // that was finite.
  std::optional<NonFinite> diagnose();

  // Runs the plan once, timing each step on its own (so a little slower than run()).
  std::vector<StepProfile> profile();

  // What the plan promised to hold, and what is held now: the two agree after the first run().
  MemoryReport memory() const;
  int64_t measured_bytes() const;
  // What the compile had to say, such as a memory budget that cannot be met.
  const std::vector<std::string>& warnings() const;

  const Plan& plan() const;
  const CompileTimes& times() const;
  // Which backend serves a kind of work: "gemm", "attention", "optimizer", "kernels" ->
  // e.g. "oneDNN 2.6.3 (libdnnl.so.2), 2 threads".
  std::string backend(std::string_view work) const;

 private:
  friend FUSEC_API Executable compile(Graph&, std::vector<Output>, CompileOptions);
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Compiles everything that `outputs` and the graph's assigns need. Throws Error.
FUSEC_API Executable compile(Graph& graph, std::vector<Output> outputs,
                             CompileOptions options = {});

}  // namespace fusec
