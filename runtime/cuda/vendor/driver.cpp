#include "vendor/driver.h"

#include <dlfcn.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <mutex>

#include "fusec/base/error.h"
#include "vendor/library_search.h"

namespace fusec::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";
constexpr int kNotStarted = 3;  // CUDA_ERROR_NOT_INITIALIZED
constexpr int kNoDevice = 100;  // CUDA_ERROR_NO_DEVICE
constexpr int kMultiprocessors = 16, kL2Bytes = 38, kMajor = 75, kMinor = 76,
              kSharedPerBlock = 97;  // CU_DEVICE_ATTRIBUTE_...

// What asks the driver for its functions.
using GetProcAddress = CuResult(const char* name, void** function, int version,
                                unsigned long long flags, int* status);

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// What no later call on the context survives: faults of kernels and of the hardware.
bool loses_the_gpu(CuResult result) {
  return result == 46 || result == 214 || result == 220 || result == 226 || result == 700 ||
         result == 702 || result == 709 || result == 710 || (result >= 714 && result <= 719) ||
         result == 721 || result == 999;
}

// Binds every symbol; says what is missing, or nothing.
std::string bind(void* library, Driver& d) {
  auto* get = reinterpret_cast<GetProcAddress*>(dlsym(library, "cuGetProcAddress_v2"));
  if (!get)
    return std::string(kLibrary) +
           " is older than CUDA 12.0 (it exports no cuGetProcAddress_v2); install a newer NVIDIA "
           "driver";
  std::string missing;
#define FUSEC_BIND(name, version, ...)                                                   \
  {                                                                                      \
    void* function = nullptr;                                                            \
    int status = 0;                                                                      \
    if (get(#name, &function, version, 0, &status) != 0) function = nullptr;             \
    d.name = reinterpret_cast<decltype(d.name)>(function);                               \
    if (!d.name && missing.empty()) missing = #name " of CUDA " + version_text(version); \
  }
  FUSEC_DRIVER_SYMBOLS(FUSEC_BIND)
#undef FUSEC_BIND
  if (missing.empty()) return "";
  return std::string(kLibrary) + " lacks " + missing + "; install a newer NVIDIA driver";
}

Driver open() {
  Driver d;
  void* library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    d.problem = "no NVIDIA driver: " + loader_error();
    return d;
  }
  d.problem = bind(library, d);
  if (!d.problem.empty()) return d;
  d.process = getpid();
  CuResult result = d.cuInit(0);
  d.cuDriverGetVersion(&d.version);
  std::string name =
      "the NVIDIA driver (" + std::string(kLibrary) + ", CUDA " + version_text(d.version) + ")";
  if (result == 0) result = d.cuDeviceGetCount(&d.devices);
  if (result != 0 && result != kNoDevice)
    d.problem = name + " does not start: " + d.text_of(result);
  else if (result != 0 || d.devices == 0)
    d.problem = name + " finds no GPU; is CUDA_VISIBLE_DEVICES set, or the GPU in use otherwise?";
  if (!d.problem.empty()) d.devices = 0;
  return d;
}

int attribute(CuDevice device, int which) {
  int value = 0;
  FUSEC_CU(cuDeviceGetAttribute(&value, which, device), "asking for properties of the GPU");
  return value;
}

const Driver& require_device(int ordinal) {
  const Driver& d = driver();
  if (d.devices == 0) fail_device("there is no GPU to use: " + d.problem);
  if (ordinal < 0 || ordinal >= d.devices)
    fail_device("there is no GPU " + std::to_string(ordinal) + "; this machine has " +
                std::to_string(d.devices) + ", numbered from 0");
  return d;
}

DeviceInfo query(int ordinal, CuDevice device) {
  const Driver& d = driver();
  DeviceInfo info;
  char name[256] = {};
  FUSEC_CU(cuDeviceGetName(name, sizeof name - 1, device), "asking for the name of the GPU");
  size_t memory = 0;
  FUSEC_CU(cuDeviceTotalMem(&memory, device), "asking for the memory of the GPU");
  info.ordinal = ordinal;
  info.name = name;
  info.major = attribute(device, kMajor);
  info.minor = attribute(device, kMinor);
  info.sm_count = attribute(device, kMultiprocessors);
  info.memory = static_cast<int64_t>(memory);
  info.l2 = attribute(device, kL2Bytes);
  info.shared_per_block = attribute(device, kSharedPerBlock);
  info.driver = d.version;
  return info;
}

}  // namespace

const Driver& driver() {
  static const Driver& opened = *new Driver(open());  // threads may outlive main()
  return opened;
}

std::string Driver::text_of(CuResult result) const {
  const char *name = nullptr, *meaning = nullptr;
  if (cuGetErrorName) cuGetErrorName(result, &name);
  if (cuGetErrorString) cuGetErrorString(result, &meaning);
  return (name ? std::string(name) : "error " + std::to_string(result)) +
         (meaning ? std::string(": ") + meaning : "");
}

void Driver::fail(CuResult result, const char* call, const std::string& doing) const {
  std::string function(call, std::strcspn(call, "("));
  std::string text = function + " failed while " + doing + " (" + text_of(result) + ")";
  if (result == kOutOfMemory) throw OutOfMemory(text);
  if (result == kNotStarted && process != getpid())
    text += "; a process that has used a GPU must not fork and use it again: start programs, or "
            "fork before the first use";
  if (loses_the_gpu(result))
    text += "; the GPU is lost to this process, and what it held there: start the program again";
  fail_device(text);
}

const Gpu& gpu(int ordinal) {
  require_device(ordinal);
  static std::mutex mutex;
  static std::map<int, Gpu>& known = *new std::map<int, Gpu>;
  std::lock_guard lock(mutex);
  if (auto it = known.find(ordinal); it != known.end()) return it->second;
  Gpu g;
  FUSEC_CU(cuDeviceGet(&g.device, ordinal), "opening GPU " + std::to_string(ordinal));
  g.info = query(ordinal, g.device);
  FUSEC_CU(cuDevicePrimaryCtxRetain(&g.context, g.device),
           "starting " + g.info.name + " (GPU " + std::to_string(ordinal) + ")");
  return known.emplace(ordinal, std::move(g)).first->second;
}

Current::Current(const Gpu& g) {
  FUSEC_CU(cuCtxPushCurrent(g.context), "turning to " + g.info.name);
}

Current::~Current() {
  CuContext ignored = nullptr;
  driver().cuCtxPopCurrent(&ignored);
}

std::string DeviceInfo::arch() const {
  // From 9.0 on, the "a" form has the instructions that are only of that GPU.
  return "sm_" + std::to_string(major) + std::to_string(minor) + (major >= 9 ? "a" : "");
}

int device_count(std::string* why) {
  const Driver& d = driver();
  if (why) *why = d.problem;
  return d.devices;
}

DeviceInfo device_info(int ordinal) {
  require_device(ordinal);
  CuDevice device = 0;
  FUSEC_CU(cuDeviceGet(&device, ordinal), "opening GPU " + std::to_string(ordinal));
  return query(ordinal, device);
}

FreeMemory free_memory(int ordinal) {
  Current current(gpu(ordinal));
  size_t free = 0, total = 0;
  FUSEC_CU(cuMemGetInfo(&free, &total), "asking for free memory");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace fusec::cuda
