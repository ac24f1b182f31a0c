// The CUDA driver, opened when first needed, and the few things that every use of it goes through:
// the check of each call, the current context, the process's handle of one GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "fusec/cuda/cuda.h"

namespace fusec::cuda {

// The driver's types: handles are opaque, a device address is a number.
using CuResult = int;
using CuDevice = int;
using CuAddress = unsigned long long;
using CuContext = struct CuContextTag*;
using CuStream = struct CuStreamTag*;
using CuEvent = struct CuEventTag*;
using CuGraph = struct CuGraphTag*;
using CuGraphExec = struct CuGraphExecTag*;
using CuGraphNode = struct CuGraphNodeTag*;
using CuLibrary = struct CuLibraryTag*;
using CuKernel = struct CuKernelTag*;  // a launch takes it where it takes a function
using CuFunction = struct CuFunctionTag*;
// CUtensorMap: made by the driver, read by the GPU.
struct alignas(64) CuTensorMap {
  uint64_t words[16];
};

// Every function that is used: its name, the version of CUDA that gave it this type (by which the
// driver is asked for it, so that a later form under the same name changes nothing), its type.
#define FUSEC_DRIVER_SYMBOLS(X)                                                                    \
  X(cuInit, 2000, CuResult(unsigned flags))                                                        \
  X(cuDriverGetVersion, 2020, CuResult(int* version))                                              \
  X(cuGetErrorName, 6000, CuResult(CuResult error, const char** text))                             \
  X(cuGetErrorString, 6000, CuResult(CuResult error, const char** text))                           \
  X(cuDeviceGetCount, 2000, CuResult(int* count))                                                  \
  X(cuDeviceGet, 2000, CuResult(CuDevice* device, int ordinal))                                    \
  X(cuDeviceGetName, 2000, CuResult(char* name, int size, CuDevice device))                        \
  X(cuDeviceGetAttribute, 2000, CuResult(int* value, int attribute, CuDevice device))              \
  X(cuDeviceTotalMem, 3020, CuResult(size_t* bytes, CuDevice device))                              \
  X(cuDevicePrimaryCtxRetain, 7000, CuResult(CuContext* context, CuDevice device))                 \
  X(cuCtxPushCurrent, 4000, CuResult(CuContext context))                                           \
  X(cuCtxPopCurrent, 4000, CuResult(CuContext* context))                                           \
  X(cuMemGetInfo, 3020, CuResult(size_t* free, size_t* total))                                     \
  X(cuMemAlloc, 3020, CuResult(CuAddress* address, size_t bytes))                                  \
  X(cuMemFree, 3020, CuResult(CuAddress address))                                                  \
  X(cuMemHostAlloc, 2020, CuResult(void** address, size_t bytes, unsigned flags))                  \
  X(cuMemFreeHost, 2000, CuResult(void* address))                                                  \
  X(cuMemcpyHtoDAsync, 3020, CuResult(CuAddress, const void*, size_t bytes, CuStream))             \
  X(cuMemcpyDtoHAsync, 3020, CuResult(void*, CuAddress, size_t bytes, CuStream))                   \
  X(cuMemcpyDtoDAsync, 3020, CuResult(CuAddress, CuAddress, size_t bytes, CuStream))               \
  X(cuMemsetD8Async, 3020, CuResult(CuAddress, unsigned char value, size_t bytes, CuStream))       \
  X(cuStreamCreate, 2000, CuResult(CuStream* stream, unsigned flags))                              \
  X(cuStreamDestroy, 4000, CuResult(CuStream stream))                                              \
  X(cuStreamSynchronize, 2000, CuResult(CuStream stream))                                          \
  X(cuStreamBeginCapture, 10010, CuResult(CuStream stream, int mode))                              \
  X(cuStreamEndCapture, 10000, CuResult(CuStream stream, CuGraph* graph))                          \
  X(cuStreamGetCaptureInfo, 11030,                                                                 \
    CuResult(CuStream stream, int* state, uint64_t* id, CuGraph* graph,                            \
             const CuGraphNode** newest, size_t* newest_count))                                    \
  X(cuGraphGetNodes, 10000, CuResult(CuGraph graph, CuGraphNode* nodes, size_t* count))            \
  X(cuGraphNodeGetType, 10000, CuResult(CuGraphNode node, int* type))                              \
  X(cuGraphInstantiateWithFlags, 11040,                                                            \
    CuResult(CuGraphExec* exec, CuGraph graph, unsigned long long flags))                          \
  X(cuGraphLaunch, 10000, CuResult(CuGraphExec exec, CuStream stream))                             \
  X(cuGraphExecDestroy, 10000, CuResult(CuGraphExec exec))                                         \
  X(cuGraphDestroy, 10000, CuResult(CuGraph graph))                                                \
  X(cuEventCreate, 2000, CuResult(CuEvent* event, unsigned flags))                                 \
  X(cuEventRecord, 2000, CuResult(CuEvent event, CuStream stream))                                 \
  X(cuEventSynchronize, 2000, CuResult(CuEvent event))                                             \
  X(cuEventElapsedTime, 2000, CuResult(float* milliseconds, CuEvent start, CuEvent end))           \
  X(cuEventDestroy, 4000, CuResult(CuEvent event))                                                 \
  X(cuLibraryLoadData, 12000,                                                                      \
    CuResult(CuLibrary* library, const void* code, int* jit_options, void** jit_values,            \
             unsigned jit_count, int* options, void** values, unsigned count))                     \
  X(cuLibraryUnload, 12000, CuResult(CuLibrary library))                                           \
  X(cuLibraryGetKernel, 12000, CuResult(CuKernel* kernel, CuLibrary library, const char* name))    \
  X(cuKernelGetFunction, 12000, CuResult(CuFunction* function, CuKernel kernel))                   \
  X(cuKernelSetAttribute, 12000, CuResult(int attribute, int value, CuKernel, CuDevice))           \
  X(cuTensorMapEncodeTiled, 12000,                                                                 \
    CuResult(CuTensorMap* map, int type, unsigned rank, void* address, const uint64_t* sizes,      \
             const uint64_t* strides, const unsigned* box, const unsigned* steps, int interleave,  \
             int swizzle, int promotion, int fill))                                                \
  X(cuLaunchKernel, 4000,                                                                          \
    CuResult(CuKernel kernel, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, \
             unsigned block_y, unsigned block_z, unsigned dynamic_shared, CuStream stream,         \
             void** args, void** extra))

struct Driver {
#define FUSEC_MEMBER(name, version, ...) std::add_pointer_t<__VA_ARGS__> name = nullptr;
  FUSEC_DRIVER_SYMBOLS(FUSEC_MEMBER)
#undef FUSEC_MEMBER
  int version = 0;  // 13000 for CUDA 13.0: the newest toolkit that it knows
  int devices = 0;
  int process = 0;      // which opened it: a child made by fork() cannot use it
  std::string problem;  // why there is no GPU to use; empty: devices > 0

  // A device Error unless `result` is 0: "cuMemAlloc failed (CUDA_ERROR_..., ...) while <doing>".
  // What ends the context says that the GPU is lost to this process.
  void check(CuResult result, const char* call, const std::string& doing) const {
    if (result != 0) fail(result, call, doing);
  }
  [[noreturn]] void fail(CuResult result, const char* call, const std::string& doing) const;
  // "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered".
  std::string text_of(CuResult result) const;
};

inline constexpr CuResult kOutOfMemory = 2;    // CUDA_ERROR_OUT_OF_MEMORY
inline constexpr unsigned kNonBlocking = 1;    // CU_STREAM_NON_BLOCKING
inline constexpr int kCaptureThreadLocal = 1;  // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
inline constexpr int kMaxDynamicShared = 8;    // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES

// The process's driver, searched for and started once.
const Driver& driver();

// Calls a driver function and checks it: FUSEC_CU(cuMemFree(address), "freeing the arena").
#define FUSEC_CU(call_, doing)                                      \
  do {                                                              \
    const ::fusec::cuda::Driver& driver_ = ::fusec::cuda::driver(); \
    const char* text_ = #call_;                                     \
    driver_.check(driver_.call_, text_, doing);                     \
  } while (false)

// One GPU as this process uses it: its primary context (which libraries share), retained once and
// for good, since at the end of a process the driver may be gone before us.
struct Gpu {
  DeviceInfo info;
  CuDevice device = 0;
  CuContext context = nullptr;
};
// A device Error if there is no such GPU.
const Gpu& gpu(int ordinal);

// The GPU's context is the calling thread's current one while this lives, the former one after.
class Current {
 public:
  explicit Current(const Gpu& g);
  ~Current();
  Current(const Current&) = delete;
};

// For destructors: calls f(driver) in the GPU's context. Where even that fails, which is where the
// process ends or the GPU is lost, there is nothing left to release.
template <class F>
void release_on(const Gpu& g, F f) noexcept {
  const Driver& d = driver();
  if (d.cuCtxPushCurrent(g.context) != 0) return;
  f(d);
  CuContext ignored = nullptr;
  d.cuCtxPopCurrent(&ignored);
}

}  // namespace fusec::cuda
