// The machine code of a plan, loaded side by side on a few threads while its owner goes on (with
// the choice of GEMM algorithms): a load is mostly the driver's own work, a cubin at a time.
#pragma once

#include <cstddef>
#include <exception>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "launch.h"

namespace fusec::cuda {

class CodeSet {
 public:
  explicit CodeSet(const Gpu& gpu) : gpu_(gpu) {}
  ~CodeSet();
  CodeSet(const CodeSet&) = delete;

  // Asks for a kernel of a cubin; equal cubins are one. `cubin` must live as long as this. `name`
  // is for messages. Returns what kernel() takes.
  size_t want(const std::string& cubin, const std::string& name, const std::string& entry,
              int64_t dynamic_shared);
  // Begins to load what has been asked for and is not loading yet. `made_by`: NVRTC's version.
  void start(const std::string& made_by);
  // The kernel, once it is there; what failed for it is thrown here, on the caller's thread.
  CuKernel kernel(size_t ticket);
  // Everything that was loaded. No further call.
  std::vector<std::unique_ptr<Code>> take();

 private:
  struct Want {
    std::string entry;
    int64_t dynamic_shared = 0;
    CuKernel kernel = nullptr;
    std::exception_ptr error;
  };
  struct Unit {
    const std::string* cubin = nullptr;
    std::string name;
    std::unique_ptr<Code> code;
    std::exception_ptr error;
    std::vector<Want> wants;
    bool started = false;
  };
  void load(Unit& unit, const std::string& made_by) const;
  void wait();

  const Gpu& gpu_;
  std::vector<std::unique_ptr<Unit>> units_;
  std::map<std::string_view, size_t> by_cubin_;
  std::vector<std::pair<size_t, size_t>> tickets_;  // unit, want
  std::vector<std::future<void>> loading_;
};

}  // namespace fusec::cuda
