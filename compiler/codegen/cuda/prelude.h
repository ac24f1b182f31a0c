// Device helpers that kernels may call. Our own, so that a kernel includes nothing: NVRTC finds no
// toolkit header on a user's machine, and small text compiles faster.
#pragma once

#include <set>
#include <string>

namespace fusec::codegen_cuda {

// Collects the helpers that one text uses.
class Prelude {
 public:
  // Marks `name` and what it calls; returns `name`. An internal Error for an unknown one.
  const std::string& use(const std::string& name);
  // The marked helpers, each after those that it calls. Blocks are separated by blank lines.
  std::string text() const;

 private:
  std::set<std::string> used_;
};

}  // namespace fusec::codegen_cuda
