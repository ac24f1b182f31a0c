// A plan with its memory on a device, seen by the names of its tensors. Executable (compile.h) is
// one that was compiled in this process, load_plan() (runtime.h) returns one read from a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/core/work_group.h"
#include "fusec/plan/non_finite.h"
#include "fusec/plan/plan.h"

namespace fusec {

class PersistentStore;
class Program;

// Time and work of one step of the plan (one kernel launch or library call).
struct StepProfile {
  std::string name;   // "k03_silu_mul" or "gemm"
  std::string scope;  // model part
  double seconds = 0;
  int64_t bytes = 0, flops = 0;
  int step = 0;        // of the plan
  double start = 0;    // seconds from the beginning of the run
  bool call = false;   // a library call
  std::string shape;   // of a library call: "16384x3456x1280 bf16"
  WorkGroup group = WorkGroup::other;
  std::string library_kernels;  // of a call: what a vendor's library ran for it, where known
};

// How a profiled run was timed.
struct ProfileClock {
  std::string name;  // "CUPTI of CUDA 13.0 (libcupti.so.13), one replay of the CUDA graph"
  // Seconds from the start of the first step to the end of the last in which no step ran; below 0:
  // the steps did not run as in run().
  double gap = -1;
};

// How closely a run looks for numbers that are not finite.
//   guard  the tensors given to Graph::guard(); a step they stop keeps all parameters and states
//   check  every tensor of every step: slow, and nothing that is not finite is ever assigned
enum class Sentry : uint8_t { guard, check };

// What a run did. finite: no guard was stopped (Sentry::check: no tensor was found to hold a NaN or
// an infinity). If false, no assign took effect: parameters and states keep their bits.
struct RunResult {
  bool finite = true;
};

// Movable; not safe for concurrent use.
class FUSEC_API LoadedPlan {
 public:
  LoadedPlan();
  LoadedPlan(std::shared_ptr<const Plan> plan, std::unique_ptr<Program> program,
             Sentry sentry = Sentry::guard);
  ~LoadedPlan();
  LoadedPlan(LoadedPlan&&) noexcept;
  LoadedPlan& operator=(LoadedPlan&&) noexcept;

  // Copies host data to / from the input, parameter, state or output `name`. `bytes` must be the
  // exact size. Throws a user Error that names the nearest known names.
  void write(std::string_view name, const void* data, size_t bytes);
  void read(std::string_view name, void* data, size_t bytes) const;

  // write() in two halves, for inputs that are copied while an earlier run computes: stage() starts
  // it, take_staged() makes all values that were staged those of their tensors.
  //
  //   stage(first); take_staged();
  //   for (;;) { stage(next); run(); take_staged(); }
  //
  // `data` must stay as it is until take_staged(). On a GPU the copy runs beside everything else if
  // it is pinned (host_memory() of compile.h). A tensor that is staged twice takes the later value.
  void stage(std::string_view name, const void* data, size_t bytes);
  void take_staged();

  // Values that are made instead of copied: make(begin, bytes, out) puts bytes [begin, begin +
  // bytes) of the row-major values to `out`. It is called for pieces that begin at multiples of 1
  // MiB, from several threads at once, for one tensor and for several, so each value must depend on
  // its place alone; it may not use this plan. Faster than write() for what is large, most of all
  // on a GPU.
  struct Fill {
    std::string name;
    std::function<void(int64_t begin, int64_t bytes, void* out)> make;
  };
  void fill(const std::vector<Fill>& fills);

  // Normal numbers around 0 for f32 tensors, Philox (key `key`, stream `stream`) and Box-Muller:
  // the same bits on every device. A GPU draws them itself.
  struct NormalFill {
    std::string name;
    float deviation = 1;
    uint64_t key = 0, stream = 0;
  };
  void fill_normal(const std::vector<NormalFill>& fills);

  // Typed forms: float for f32, double for f64, and integers of the dtype's size for all others
  // (bf16 and f16: uint16_t, f8e4m3: uint8_t, their bits; b8: uint8_t). Another T is a user Error.
  template <class T>
  void set(std::string_view name, std::span<const T> v) {
    check_host_type(name, sizeof(T), std::is_floating_point_v<T>);
    write(name, v.data(), v.size_bytes());
  }
  template <class T>
  void set(std::string_view name, const std::vector<T>& v) {
    set(name, std::span<const T>(v));
  }
  template <class T>
  void stage(std::string_view name, std::span<const T> v) {
    check_host_type(name, sizeof(T), std::is_floating_point_v<T>);
    stage(name, v.data(), v.size_bytes());
  }
  // A scalar.
  template <class T>
    requires std::is_arithmetic_v<T>
  void set(std::string_view name, T v) {
    set(name, std::span<const T>(&v, 1));
  }
  template <class T>
  T item(std::string_view name) const {
    check_host_type(name, sizeof(T), std::is_floating_point_v<T>);
    T v;
    read(name, &v, sizeof v);
    return v;
  }
  template <class T>
  std::vector<T> get(std::string_view name) const {
    check_host_type(name, sizeof(T), std::is_floating_point_v<T>);
    std::vector<T> out(numel(type(name).shape));
    read(name, out.data(), out.size() * sizeof(T));
    return out;
  }
  const TensorType& type(std::string_view name) const;

  // Runs the plan once. Blocking. An input or parameter that it reads and that nobody has set is a
  // user Error; states start at zero.
  RunResult run();

  // After a run() that was not finite, and before inputs or parameters are written: the first
  // tensor at fault, found by repeating the step exactly, tensor by tensor. Empty after a run()
  // that was finite.
  std::optional<NonFinite> diagnose();

  // Runs the plan once, timing each step on its own (so a little slower than run()); `clock` may be
  // null. The first time on a GPU may run it twice, where what CUPTI reports cannot be used.
  std::vector<StepProfile> profile(ProfileClock* clock = nullptr);

  const Plan& plan() const;
  // Bytes held now: parameters and states (shared or not), arena and library scratch.
  int64_t measured_bytes() const;
  // Which backend serves a kind of work: "gemm", "attention", "optimizer", "kernels" ->
  // e.g. "oneDNN 2.6.3 (libdnnl.so.2), 2 threads".
  std::string backend(std::string_view work) const;

  // The memory of its parameters and states, for the loaders of plans that share it; null for an
  // object that holds no plan.
  std::shared_ptr<PersistentStore> store() const;

  // For those who step through the plan themselves (Executable::validate).
 protected:
  void check_ready();
  void note_run() { ran_ = true; }

 private:
  const Plan& held() const;
  Program& program() const;
  void check_host_type(std::string_view name, size_t size, bool floating) const;
  int sized(std::string_view name, size_t bytes) const;
  int writable(std::string_view name, size_t bytes) const;
  void note_set(int buffer);

  std::shared_ptr<const Plan> plan_;
  std::unique_ptr<Program> program_;
  Sentry sentry_ = Sentry::guard;
  struct Staged {
    int buffer;
    const void* data;
    size_t bytes;
    bool on_its_way;  // the device's matter
  };
  std::vector<Staged> staged_;
  std::vector<bool> set_;             // by buffer: inputs the host has written
  bool ready_ = false;                // all that a run needs has been set
  bool ran_ = false;
  bool finite_ = true;                // the last run
  std::optional<NonFinite> culprit_;  // of the last run, once known
};

}  // namespace fusec
