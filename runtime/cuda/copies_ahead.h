// Values of the next run, on their way to a GPU while it runs: through a stream of their own into
// memory beside the tensors', and from there, at the speed of the GPU's memory, when they are
// taken.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "memory.h"

namespace fusec::cuda {

class CopiesAhead {
 public:
  explicit CopiesAhead(const Gpu& gpu) : gpu_(gpu) {}
  // Waits for copies on their way: they read the caller's memory.
  ~CopiesAhead();
  CopiesAhead(const CopiesAhead&) = delete;

  // `from` must stay as it is until take() or the destructor. Of one that is pinned the copy runs
  // beside everything else. A second start() for the same place replaces the first.
  void start(CuAddress to, const void* from, int64_t bytes, const std::string& what);
  // Waits for the copies and puts them in their places, in the order of `stream`.
  void take(const Stream& stream);
  int64_t bytes() const;  // of the GPU's memory

 private:
  struct Copy {
    DeviceBlock block;
    bool waits = false;  // for take()
  };

  const Gpu& gpu_;
  std::optional<Stream> stream_;      // made when first needed
  std::map<CuAddress, Copy> copies_;  // by place
};

}  // namespace fusec::cuda
