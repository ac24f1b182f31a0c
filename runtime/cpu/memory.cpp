// Aligned allocation for arenas, parameters and per-thread scratch.
#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "fusec/base/bytes.h"
#include "fusec/base/error.h"
#include "fusec/plan/plan.h"

namespace fusec::cpu {
namespace {
constexpr int64_t kHugePage = 2 << 20;
}

AlignedBuffer::AlignedBuffer(int64_t bytes, const char* what) : bytes_(bytes) {
  int64_t align = bytes >= 2 * kHugePage ? kHugePage : kArenaAlign;
  void* p = nullptr;
  if (bytes > PTRDIFF_MAX - align ||
      posix_memalign(&p, align, static_cast<size_t>(std::max<int64_t>(bytes, 1))) != 0)
    throw OutOfMemory("could not allocate " + size_text(bytes) + " for " + what);
  if (align == kHugePage) madvise(p, bytes, MADV_HUGEPAGE);  // a hint: failure costs speed only
  std::memset(p, 0, bytes);
  data_.reset(static_cast<std::byte*>(p));
}

void AlignedBuffer::Free::operator()(std::byte* p) const { std::free(p); }

namespace {
thread_local AlignedBuffer scratch;
thread_local std::atomic<int64_t>* scratch_total = nullptr;
}  // namespace

float* thread_scratch(int64_t floats) {
  int64_t bytes = floats * static_cast<int64_t>(sizeof(float)), before = scratch.bytes();
  if (before < bytes) {
    scratch = AlignedBuffer();
    scratch = AlignedBuffer(bytes, "per-thread scratch");
    if (scratch_total) *scratch_total += bytes - before;
  }
  return reinterpret_cast<float*>(scratch.data());
}

int64_t thread_scratch_bytes() { return scratch.bytes(); }
void account_scratch(std::atomic<int64_t>* total) { scratch_total = total; }

}  // namespace fusec::cpu
