// What a test may ask of the stand-ins for driver, NVRTC, cuBLASLt and CUPTI.
#pragma once

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace fusec::test {

// A kernel in C++, exported by the test program as fusec_kernel_<entry>. It runs all blocks of a
// launch; `text` is the source that it stands for.
struct HostKernel {
  int args = 0;
  void (*run)(void** args, unsigned blocks, const std::string& text) = nullptr;
};

// What ran: a kernel (0), a copy (1) or a fill (2).
struct Ran {
  int type;
  std::string name;
};

struct StandIn {
  // Call name ("cuMemAlloc"; "run <entry>" for the kernel itself) -> how many more calls succeed,
  // and the result of the one after them. A kernel that fails loses the GPU.
  std::map<std::string, std::pair<int, int>> fail;
  std::map<std::string, int> calls;
  size_t used = 0;  // bytes allocated now

  // CUPTI
  std::set<int> traced;   // kinds that are enabled
  std::vector<Ran> ran;   // while any is
  size_t dropped = 0;     // records to report as lost, once
  std::string rename;     // this kernel is reported under another name
  std::string lose;       // of this kernel, no record is delivered
  std::string timeless;   // of this kernel, no times are known
};

}  // namespace fusec::test
