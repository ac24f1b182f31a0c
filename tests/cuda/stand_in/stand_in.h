// What a test may ask of the stand-ins for driver, NVRTC and cuBLASLt.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <utility>

namespace fusec::test {

// A kernel in C++, exported by the test program as fusec_kernel_<entry>. It runs all blocks of a
// launch; `text` is the source that it stands for.
struct HostKernel {
  int args = 0;
  void (*run)(void** args, unsigned blocks, const std::string& text) = nullptr;
};

struct StandIn {
  // Call name ("cuMemAlloc"; "run <entry>" for the kernel itself) -> how many more calls succeed,
  // and the result of the one after them. A kernel that fails loses the GPU.
  std::map<std::string, std::pair<int, int>> fail;
  std::map<std::string, int> calls;
  size_t used = 0;  // bytes allocated now
};

}  // namespace fusec::test
