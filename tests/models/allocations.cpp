#include "allocations.h"

#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstddef>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
void __libc_free(void*);
}

namespace {

constexpr int64_t kLarge = 64 << 10;
std::atomic<int64_t> held{0}, most{0};

int64_t large(void* p) {
  auto size = p ? static_cast<int64_t>(malloc_usable_size(p)) : 0;
  return size >= kLarge ? size : 0;
}

void* taken(void* p) {
  if (int64_t size = large(p)) {
    int64_t now = held += size, seen = most;
    while (now > seen && !most.compare_exchange_weak(seen, now)) {
    }
  }
  return p;
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) void* malloc(size_t n) { return taken(__libc_malloc(n)); }
__attribute__((visibility("default"))) void* calloc(size_t n, size_t m) {
  return taken(__libc_calloc(n, m));
}
__attribute__((visibility("default"))) void* realloc(void* p, size_t n) {
  int64_t before = large(p);
  void* now = __libc_realloc(p, n);
  if (now || n == 0) held -= before;
  return now ? taken(now) : now;
}
__attribute__((visibility("default"))) void* memalign(size_t align, size_t n) {
  return taken(__libc_memalign(align, n));
}
__attribute__((visibility("default"))) void* aligned_alloc(size_t align, size_t n) {
  return taken(__libc_memalign(align, n));
}
__attribute__((visibility("default"))) int posix_memalign(void** out, size_t align, size_t n) {
  void* p = __libc_memalign(align, n);
  if (!p) return ENOMEM;
  *out = taken(p);
  return 0;
}
__attribute__((visibility("default"))) void free(void* p) {
  held -= large(p);
  __libc_free(p);
}
}

namespace fusec::test {

int64_t allocated_bytes() { return held; }
int64_t allocated_peak() { return most; }
void reset_peak() { most = held.load(); }

}  // namespace fusec::test
