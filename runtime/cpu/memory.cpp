// Aligned allocation for arenas, parameters and per-thread scratch.
#include "memory.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "fusec/base/error.h"
#include "fusec/plan/plan.h"

namespace fusec::cpu {
namespace {
constexpr int64_t kHugePage = 2 << 20;
}

AlignedBuffer::AlignedBuffer(int64_t bytes, const char* what) : bytes_(bytes) {
  int64_t align = bytes >= 2 * kHugePage ? kHugePage : kArenaAlign;
  int64_t rounded = (std::max<int64_t>(bytes, 1) + align - 1) / align * align;
  auto* p = static_cast<std::byte*>(std::aligned_alloc(align, rounded));
  if (!p)
    fail_device("could not allocate " + std::to_string(rounded) + " bytes for " + what +
                "; use a smaller batch or model, or free memory");
  if (align == kHugePage) madvise(p, rounded, MADV_HUGEPAGE);  // a hint: failure costs speed only
  std::memset(p, 0, rounded);
  data_.reset(p);
}

void AlignedBuffer::Free::operator()(std::byte* p) const { std::free(p); }

float* thread_scratch(int64_t floats) {
  thread_local AlignedBuffer scratch;
  int64_t bytes = floats * static_cast<int64_t>(sizeof(float));
  if (scratch.bytes() < bytes) {
    scratch = AlignedBuffer();
    scratch = AlignedBuffer(bytes, "per-thread scratch");
  }
  return reinterpret_cast<float*>(scratch.data());
}

}  // namespace fusec::cpu
