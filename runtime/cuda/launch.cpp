#include "launch.h"

#include <charconv>
#include <cstddef>

#include "fusec/base/error.h"
#include "vendor/nvrtc.h"

namespace fusec::cuda {
namespace {

// CU_TENSOR_MAP_...
constexpr int kTypeF16 = 6, kTypeBf16 = 9, kNoInterleave = 0, kSwizzle128 = 3, kPromote256 = 3,
              kFillZeros = 0;

// Why a cubin does not load where the driver is older than what made it.
std::string age(const Gpu& gpu, std::string made_by) {
  if (made_by.empty() && nvrtc().problem.empty()) made_by = nvrtc().version();
  int made = 0, known = gpu.info.driver / 1000;
  std::from_chars(made_by.data(), made_by.data() + made_by.size(), made);
  if (made <= known) return "";
  return "; it was made by NVRTC " + made_by + ", and the driver knows CUDA " +
         std::to_string(known) + " only: install a driver for CUDA " + std::to_string(made) +
         ", or compile with an NVRTC of CUDA " + std::to_string(known) + " (FUSEC_CUDA_PATH)";
}

}  // namespace

Code::Code(const Gpu& gpu, const std::string& cubin, const std::string& name,
           const std::string& made_by)
    : gpu_(gpu), name_(name), made_by_(made_by) {
  CuResult result =
      driver().cuLibraryLoadData(&library_, cubin.data(), nullptr, nullptr, 0, nullptr, nullptr, 0);
  if (result != 0)
    driver().fail(result, "cuLibraryLoadData",
                  "loading the code of " + name + " (" + std::to_string(cubin.size()) +
                      " bytes) on " + gpu.info.name + ", " + gpu.info.arch() + age(gpu, made_by));
}

Code::~Code() {
  release_on(gpu_, [this](const Driver& d) { d.cuLibraryUnload(library_); });
}

CuKernel Code::kernel(const std::string& entry, int64_t dynamic_shared) const {
  CuKernel kernel = nullptr;
  FUSEC_CU(cuLibraryGetKernel(&kernel, library_, entry.c_str()),
           "looking for \"" + entry + "\" in the code of " + name_);
  // Asked for by nobody but the loader: else the first launch would load it, and be the one to
  // fail.
  CuFunction loaded = nullptr;
  CuResult result = driver().cuKernelGetFunction(&loaded, kernel);
  if (result != 0)
    driver().fail(
        result, "cuKernelGetFunction",
        "loading \"" + entry + "\" of " + name_ + " on " + gpu_.info.name + age(gpu_, made_by_));
  if (dynamic_shared > gpu_.info.shared_per_block)
    fail_unsupported(name_ + " needs " + std::to_string(dynamic_shared) +
                     " bytes of shared memory a block; " + gpu_.info.name + " has " +
                     std::to_string(gpu_.info.shared_per_block));
  // 48 KB, the static part included, need not be asked for.
  if (dynamic_shared > 0)
    FUSEC_CU(cuKernelSetAttribute(kMaxDynamicShared, static_cast<int>(dynamic_shared), kernel,
                                  gpu_.device),
             "asking for " + std::to_string(dynamic_shared) + " bytes of shared memory a block");
  return kernel;
}

void Launch::go(CuStream stream) const {
  std::vector<void*> pointers;
  pointers.reserve(maps.size() + args.size());
  for (const CuTensorMap& map : maps) pointers.push_back(const_cast<CuTensorMap*>(&map));
  for (const uint64_t& arg : args) pointers.push_back(const_cast<uint64_t*>(&arg));
  FUSEC_CU(cuLaunchKernel(kernel, grid[0], grid[1], grid[2], block[0], block[1], block[2],
                          dynamic_shared, stream, pointers.data(), nullptr),
           "launching " + name);
}

CuTensorMap resolve(const TensorMap& map, const LaunchScope& scope) {
  const MapShape shape = shape_of(map);
  const unsigned steps[] = {1, 1, 1, 1, 1};
  uint64_t address = scope.arguments.at(static_cast<size_t>(map.argument));
  CuTensorMap out;
  FUSEC_CU(cuTensorMapEncodeTiled(&out, map.bf16 ? kTypeBf16 : kTypeF16, 5,
                                  reinterpret_cast<void*>(address), shape.sizes.data(),
                                  shape.strides.data(), shape.box.data(), steps, kNoInterleave,
                                  kSwizzle128, kPromote256, kFillZeros),
           "describing argument " + std::to_string(map.argument) + " of a library call");
  return out;
}

uint64_t resolve(const LaunchArg& arg, const LaunchScope& scope) {
  switch (arg.kind) {
    case LaunchArg::Kind::argument: return scope.arguments.at(static_cast<size_t>(arg.value));
    case LaunchArg::Kind::workspace: return scope.workspace + static_cast<uint64_t>(arg.value);
    case LaunchArg::Kind::counters: return scope.counters;
    case LaunchArg::Kind::status: return scope.status;
    case LaunchArg::Kind::skip: return scope.commit ? scope.status + offsetof(Status, skip) : 0;
    case LaunchArg::Kind::step: return static_cast<uint32_t>(scope.step);
    case LaunchArg::Kind::i64: return static_cast<uint64_t>(arg.value);
    case LaunchArg::Kind::i32: return static_cast<uint32_t>(arg.value);
  }
  fail_internal("a launch argument of no known kind");
}

}  // namespace fusec::cuda
