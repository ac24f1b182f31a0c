#include "pinned.h"

#include <cstdint>
#include <map>
#include <mutex>

#include "fusec/base/error.h"
#include "vendor/driver.h"

namespace fusec::cuda {
namespace {

constexpr unsigned kPortable = 1;  // CU_MEMHOSTALLOC_PORTABLE: pinned for every GPU
constexpr size_t kAlign = 256;

// What is given out: where it begins, and its size. Kept for good, since memory may be freed late.
struct Ranges {
  std::mutex mutex;
  std::map<uintptr_t, size_t> of;
};
Ranges& ranges() {
  static Ranges& all = *new Ranges;
  return all;
}

}  // namespace

std::shared_ptr<void> pinned_memory(int ordinal, size_t bytes) {
  const Gpu& g = gpu(ordinal);
  Current current(g);
  void* block = nullptr;
  FUSEC_CU(cuMemHostAlloc(&block, bytes + kAlign, kPortable),
           "pinning " + std::to_string(bytes) + " bytes of host memory");
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + kAlign - 1) / kAlign * kAlign;
  auto free = [&g, block, begin](void*) {
    {
      std::lock_guard lock(ranges().mutex);
      ranges().of.erase(begin);
    }
    release_on(g, [block](const Driver& d) { d.cuMemFreeHost(block); });
  };
  std::shared_ptr<void> memory(reinterpret_cast<void*>(begin), free);
  std::lock_guard lock(ranges().mutex);
  ranges().of[begin] = bytes;
  return memory;
}

bool is_pinned(const void* memory, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  std::lock_guard lock(ranges().mutex);
  auto range = ranges().of.upper_bound(begin);
  if (range == ranges().of.begin()) return false;
  --range;
  const uintptr_t at = begin - range->first;
  return at <= range->second && bytes <= range->second - at;
}

}  // namespace fusec::cuda
