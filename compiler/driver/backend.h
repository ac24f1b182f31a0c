// What a compile asks of its device. One implementation a device (backend_cpu.cpp,
// backend_cuda.cpp); nothing else in the driver knows one from the other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fusec/base/sha256.h"
#include "fusec/compile.h"
#include "fusec/core/device.h"
#include "fusec/plan/target.h"

namespace fusec::driver {

// The most memory that plans may take, and what says so ("physical memory", "NVIDIA H100, free").
struct DeviceMemory {
  int64_t bytes = 0;
  std::string what;
};

class Backend {
 public:
  virtual ~Backend() = default;
  // What the passes plan for.
  virtual TargetInfo target() const = 0;
  // Scratch of the plan's library calls beside its own memory, in bytes.
  virtual int64_t workspace_bytes(const Plan& plan) const = 0;
  // What decides about it besides the plan, as text.
  virtual std::string workspace_settings() const = 0;
  // A device Error if the device is only a target to look at.
  virtual DeviceMemory memory() const = 0;

  // Stage `source`: the text of kernel i. Stage `binary`: its code, in the device's form.
  virtual std::string source(const Plan& plan, size_t kernel) const = 0;
  virtual std::string binary(const Plan& plan, size_t kernel) const = 0;

  // Makes the code of all kernels and keeps it for load() and image(): of the plan, of texts of
  // stage `source`, of the codes of stage `binary`. Fills times.source, binary and the cache
  // counts. `kept` (may be null): what the plan is kept on disk under; all its code may be, too.
  virtual void compile(const Plan& plan, bool remember, const Digest* kept,
                       CompileTimes& times) = 0;
  virtual void compile_sources(const Plan& plan, const std::vector<std::string>& texts,
                               CompileTimes& times) = 0;
  virtual void link(const Plan& plan, const std::vector<std::string>& codes,
                    CompileTimes& times) = 0;

  // The plan with its code as one file (plan_image.h).
  virtual std::string image(const Plan& plan) const = 0;
  // On the device, with memory of its own but for what `share` holds (may be null).
  virtual std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan,
                                        std::shared_ptr<PersistentStore> share) = 0;
};

// For CompileOptions::device. A device that is not there is a device Error that says what was
// looked for; a name that is none is a user Error.
std::unique_ptr<Backend> make_backend(const CompileOptions& options);

std::unique_ptr<Backend> make_cpu_backend(const CompileOptions& options);
// `arch`: only to look at the code for it ("sm_90a"), on any machine; empty: GPU `ordinal`.
std::unique_ptr<Backend> make_cuda_backend(const CompileOptions& options, int ordinal,
                                           const std::string& arch);

}  // namespace fusec::driver
