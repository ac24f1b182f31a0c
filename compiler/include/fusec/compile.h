// compile(): a recorded graph becomes an Executable. No MLIR, LLVM or vendor type appears here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/ops/graph.h"
#include "fusec/plan/plan.h"

namespace fusec {

// What GEMMs and attention read and write. Parameters stay f32; casts appear in the `canonical`
// stage and are never moved by fusion. Accumulation is always f32.
enum class Precision : uint8_t { f32, bf16 };

class Executable;
struct ValidateReport;

struct CompileOptions {
  std::string device = "auto";  // "cpu" or "auto"
  bool fuse = true;             // false: one kernel an op, the baseline for tests and benches
  Precision precision = Precision::f32;
  int threads = 0;  // worker threads; 0: all cores
  // Parameters and states of the same name (and type) are shared with this executable instead of
  // being allocated: a training step, its evaluation and its generation graph see one model.
  const Executable* share = nullptr;
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
  void run();

  // Runs the plan once, timing each step on its own (so a little slower than run()).
  std::vector<StepProfile> profile();

  // Runs the plan once, comparing each step with the oracle on the step's own inputs (check.h).
  // Needs CompileOptions::validate; a user Error says so otherwise.
  ValidateReport validate();

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
