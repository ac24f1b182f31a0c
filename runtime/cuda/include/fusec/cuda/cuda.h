// The CUDA device: driver, NVRTC and cuBLASLt by dlopen, and the executor of plans. Nothing of the
// toolkit is needed to build, and a machine without it starts and says what it looked for.
#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fusec/base/sha256.h"
#include "fusec/core/device.h"
#include "fusec/cuda/call_target.h"
#include "fusec/plan/plan.h"

namespace fusec::cuda {

// One GPU. Sizes in bytes.
struct DeviceInfo {
  int ordinal = 0;
  std::string name;             // "NVIDIA H100 80GB HBM3"
  int major = 0, minor = 0;     // compute capability
  int sm_count = 0;
  int64_t memory = 0, l2 = 0;
  int64_t shared_per_block = 0;  // most dynamic shared memory of one block
  int driver = 0;               // CUDA version of the driver: 13000
  // "sm_90a" for 9.0, "sm_100a"-like for later ones, "sm_80" before: the forms NVRTC takes.
  std::string arch() const;
};

// Number of GPUs that can be used; 0 with the reason in `why` (names tried, the driver's answer).
FUSEC_API int device_count(std::string* why = nullptr);
// A device Error if there is no such GPU.
FUSEC_API DeviceInfo device_info(int ordinal);

// Memory free for this process now, of the GPU's total; a device Error if there is none.
struct FreeMemory {
  int64_t free = 0, total = 0;
};
FUSEC_API FreeMemory free_memory(int ordinal);

// Host memory that the GPU reads by itself, at a multiple of 256; the last copy of the pointer
// frees it. Program::write() and stage() copy from it as it lies. A device Error if there is none.
FUSEC_API std::shared_ptr<void> pinned_memory(int ordinal, size_t bytes);

// Starts GPU `ordinal` and cuBLASLt in the background, for a load() that comes later. What fails is
// told by whoever needs it then. The futures wait when they are destroyed.
FUSEC_API std::vector<std::future<void>> open_ahead(int ordinal);

// NVRTC -------------------------------------------------------------------------------------------

// "13.0", or empty with the reason in `why`. Needs no driver, and where the disk cache knows the
// library's file does not open it.
FUSEC_API std::string nvrtc_version(std::string* why = nullptr);

// Machine code of one translation unit, and what the assembler reported of its first kernel.
struct Cubin {
  std::string bytes;
  int registers = 0, spill_bytes = 0, stack_bytes = 0, shared_bytes = 0;
  // The assembler's notes C75xx: products of wgmma run one by one, or setmaxnreg is ignored.
  bool serialized = false;
};

// Compiles `source` for `arch` ("sm_80", "sm_90a", "sm_100a", "sm_120a"), without any cache. `name`
// is for messages. Thread-safe. A source that does not compile is an internal Error with the log,
// a missing NVRTC a device Error with the names tried.
FUSEC_API Cubin compile_source(const std::string& source, const std::string& name,
                               const std::string& arch);

struct SourceUnit {
  std::string name, text;
};

// Cubins of many units on `threads` threads (0: all cores), those that the disk cache has taken
// from there (key: text, arch, options, NVRTC version), which opens no NVRTC if it has all. Equal
// texts are compiled once, the longest first. hits and misses may be null.
FUSEC_API std::vector<std::string> compile_units(const std::vector<SourceUnit>& units,
                                                 const std::string& arch, int threads,
                                                 int* hits = nullptr, int* misses = nullptr);

// Plans -------------------------------------------------------------------------------------------

// Code of one kernel of a plan; the forms of a launch are in fusec/codegen_cuda/codegen.h.
struct KernelCode {
  std::string cubin;
  std::string entry;
  bool table = false;
  int64_t dynamic_shared = 0;
  bool operator==(const KernelCode&) const = default;
};

// SHA-256 of the text of a library call -> its cubin.
using CallCode = std::map<Digest, std::string>;

// How library calls compute.
struct LoadOptions {
  int device = 0;
  bool tf32 = false;           // f32 GEMMs in tf32
  bool deterministic = false;  // the exact form where a faster one is not bit-exact
  // The fastest of cuBLASLt's algorithms for each GEMM, measured once and kept on disk; without a
  // disk cache not under `deterministic`, as the next process might measure otherwise.
  bool tune_gemms = false;
  // Code of library calls compiled beforehand (call_units()); what it lacks is compiled at load,
  // or, if `compiles` is false, an Error.
  CallCode call_code;
  bool compiles = true;
  // What call_code was made for, and by which NVRTC; empty: the GPU at hand, the NVRTC there is.
  std::optional<CallTarget> target;
  std::string nvrtc;
};

// What the code of library calls may know of a GPU: of one that is there, and of any GPU of an
// architecture ("sm_90a"), as many multiprocessors as its largest has.
FUSEC_API CallTarget call_target(const DeviceInfo& info, bool deterministic);
FUSEC_API CallTarget call_target(const std::string& arch, bool deterministic);

// The texts that load() needs for the plan's library calls, each once, to be compiled together with
// the kernels. What no form exists for is left out, for load() to tell. With `own_gemms`, for a
// load() elsewhere, it is an Error, and products have texts too, for where cuBLASLt takes them not.
FUSEC_API std::vector<SourceUnit> call_units(const Plan& plan, const CallTarget& target,
                                             bool own_gemms);

// Allocates memory for the plan and binds kernels and library calls to it. `share` may be null or
// the store of another program on the same GPU. A run() is one CUDA graph from the second on.
FUSEC_API std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan,
                                        std::vector<KernelCode> kernels,
                                        std::shared_ptr<PersistentStore> share,
                                        const LoadOptions& options);

// Scratch that the library calls of a plan need beside the plan's own memory. Touches no device.
FUSEC_API int64_t workspace_bytes(const Plan& plan);

}  // namespace fusec::cuda
