// Machine code on a GPU and its launches: everything that a launch needs is resolved once.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "call.h"
#include "vendor/driver.h"

namespace fusec::cuda {

// A loaded cubin. The GPU's context must be current to make one.
class Code {
 public:
  // `name` and `made_by`, the version of NVRTC that compiled it (empty: the one there is), are for
  // messages. A cubin that this
  // driver or GPU cannot run is a device Error that says which of the two.
  Code(const Gpu& gpu, const std::string& cubin, const std::string& name,
       const std::string& made_by);
  ~Code();
  Code(const Code&) = delete;
  // Its kernel of that name, allowed `dynamic_shared` bytes a block.
  CuKernel kernel(const std::string& entry, int64_t dynamic_shared) const;

 private:
  const Gpu& gpu_;
  CuLibrary library_ = nullptr;
  std::string name_, made_by_;
};

struct Launch {
  CuKernel kernel = nullptr;
  std::string name;   // for messages
  std::string entry;  // its name in the code
  std::array<unsigned, 3> grid = {1, 1, 1}, block = {1, 1, 1};
  unsigned dynamic_shared = 0;
  std::vector<CuTensorMap> maps;  // the first parameters
  std::vector<uint64_t> args;     // each at the start of its 8 bytes

  void go(CuStream stream) const;
};

// What the arguments of a library call's launch stand for.
struct LaunchScope {
  std::vector<CuAddress> arguments;
  CuAddress workspace = 0, status = 0, counters = 0;
  bool commit = false;
  int step = 0;
};
uint64_t resolve(const LaunchArg& arg, const LaunchScope& scope);
CuTensorMap resolve(const TensorMap& map, const LaunchScope& scope);

}  // namespace fusec::cuda
