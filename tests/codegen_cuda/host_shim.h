// Runs emitted CUDA text on the host: what a kernel uses of the language, in C++. A block's threads
// are fibers that switch at barriers and shuffles; a barrier that not all of them reach ends the
// program with a message. Helpers made of PTX have their twins here (the test drops their text).
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))

struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(8) uint2 { unsigned x, y; };
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

struct Index { unsigned x = 0; };
inline Index threadIdx, blockIdx;

namespace shim {

constexpr int kStack = 256 << 10;

// ucontext makes the stack; switches after the first go by setjmp, which calls no kernel.
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool started = false, done = false;
};

struct Block {
  std::vector<Fiber> fibers;
  ucontext_t scheduler_context;
  jmp_buf scheduler;
  std::function<void()> body;
  int current = 0;
  int64_t progress = 0;
  std::vector<int> arrived, generation;  // by warp; the last one is the block
  std::vector<uint64_t> exchange;        // by thread
  // By thread: groups of copies that are made when they are waited for, the last one still open.
  std::vector<std::vector<std::vector<std::function<void()>>>> copies;
};
inline Block* block = nullptr;

inline void yield() {
  if (_setjmp(block->fibers[block->current].place) == 0) _longjmp(block->scheduler, 1);
}

inline void barrier(size_t group, int members) {
  const int generation = block->generation[group];
  if (++block->arrived[group] == members) {
    block->arrived[group] = 0;
    ++block->generation[group];
    ++block->progress;
    return;
  }
  while (block->generation[group] == generation) yield();
}

inline void start() {
  block->body();
  block->fibers[block->current].done = true;
  ++block->progress;
  yield();
}

inline void resume(int thread) {
  Fiber& f = block->fibers[thread];
  block->current = thread;
  threadIdx.x = thread;
  if (_setjmp(block->scheduler) != 0) return;
  if (f.started) _longjmp(f.place, 1);
  f.started = true;
  swapcontext(&block->scheduler_context, &f.context);
}

inline void run_block(int threads, const std::function<void()>& body) {
  static std::unique_ptr<Block> kept;
  if (!kept || static_cast<int>(kept->fibers.size()) != threads) {
    kept = std::make_unique<Block>();
    kept->fibers = std::vector<Fiber>(threads);
  }
  block = kept.get();
  block->body = body;
  block->arrived.assign(threads / 32 + 1, 0);
  block->generation.assign(threads / 32 + 1, 0);
  block->exchange.assign(threads, 0);
  block->copies.assign(threads, {{}});
  for (Fiber& f : block->fibers) {
    f.started = f.done = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.get();
    f.context.uc_stack.ss_size = kStack;
    f.context.uc_link = nullptr;
    makecontext(&f.context, start, 0);
  }
  for (bool running = true; running;) {
    running = false;
    const int64_t before = block->progress;
    for (int t = 0; t < threads; ++t) {
      if (block->fibers[t].done) continue;
      running = true;
      resume(t);
    }
    if (running && block->progress == before) {
      std::fprintf(stderr, "threads of a block wait at a barrier that others never reach\n");
      std::abort();
    }
  }
}

inline void launch(int64_t blocks, int threads, const std::function<void()>& body) {
  for (int64_t b = 0; b < blocks; ++b) {
    blockIdx.x = static_cast<unsigned>(b);
    run_block(threads, body);
  }
}

// A kernel's argument, of whatever pointer type it takes.
struct Pointer {
  void* p;
  template <class T>
  operator T*() const { return static_cast<T*>(p); }
};

template <class To, class From>
To bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To out;
  std::memcpy(&out, &v, sizeof out);
  return out;
}

}  // namespace shim

inline void __syncthreads() {
  shim::barrier(shim::block->generation.size() - 1, static_cast<int>(shim::block->fibers.size()));
}
inline void __syncwarp() { shim::barrier(threadIdx.x / 32, 32); }
template <class T>
T __shfl_xor_sync(unsigned, T v, int mask) {
  std::memcpy(&shim::block->exchange[threadIdx.x], &v, sizeof v);
  __syncwarp();
  T out;
  std::memcpy(&out, &shim::block->exchange[threadIdx.x ^ mask], sizeof out);
  __syncwarp();
  return out;
}

template <class T> T __ldcs(const T* p) { return *p; }
template <class T> void __stcs(T* p, T v) { *p = v; }
inline float __uint_as_float(unsigned v) { return shim::bits<float>(v); }
inline unsigned __float_as_uint(float v) { return shim::bits<unsigned>(v); }
inline float __int_as_float(int v) { return shim::bits<float>(v); }
inline double __longlong_as_double(long long v) { return shim::bits<double>(v); }
inline double __hiloint2double(int high, int low) {
  return shim::bits<double>(static_cast<uint64_t>(static_cast<uint32_t>(high)) << 32 |
                            static_cast<uint32_t>(low));
}
inline int __double2loint(double v) { return static_cast<int>(shim::bits<uint64_t>(v)); }
inline int __double2hiint(double v) { return static_cast<int>(shim::bits<uint64_t>(v) >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32);
}

// Twins of the helpers made of PTX. The approximations are off by about one unit of the last place.
template <int K, int N>
void hide(unsigned (&)[K][N]) {}
template <int B, int BYTES>
void copy_ahead(unsigned char* to, const void* from) {
  if (reinterpret_cast<uintptr_t>(to) % B != 0 || reinterpret_cast<uintptr_t>(from) % B != 0) {
    std::fprintf(stderr, "a copy of %d bytes is not aligned\n", B);
    std::abort();
  }
  shim::block->copies[threadIdx.x].back().push_back([=] { std::memcpy(to, from, BYTES); });
}
inline void end_group() { shim::block->copies[threadIdx.x].emplace_back(); }
template <int N>
void wait_groups() {
  auto& groups = shim::block->copies[threadIdx.x];
  while (groups.size() > N + 1) {  // the open one waits for its end
    for (const auto& copy : groups.front()) copy();
    groups.erase(groups.begin());
  }
}
inline unsigned short to_bf16(float x) {
  unsigned b = __float_as_uint(x);
  if ((b & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((b + 0x7fffu + (b >> 16 & 1)) >> 16);
}
inline unsigned bf16_pair(float low, float high) {
  return to_bf16(low) | static_cast<unsigned>(to_bf16(high)) << 16;
}
inline float from_f16(unsigned short v) { return static_cast<float>(shim::bits<_Float16>(v)); }
inline unsigned short to_f16(float v) {
  return shim::bits<unsigned short>(static_cast<_Float16>(v));
}
inline unsigned f16_pair(float low, float high) {
  return to_f16(low) | static_cast<unsigned>(to_f16(high)) << 16;
}
inline float off_by_one(float v, float from) {
  if (v == 0 || !std::isfinite(v)) return v;
  return __uint_as_float(__float_as_uint(v) + (__float_as_uint(from) % 3) - 1);
}
inline float rcp_approx(float v) { return off_by_one(1.0f / v, v); }
inline float exp2_approx(float v) {
  const float r = off_by_one(static_cast<float>(std::exp2(static_cast<double>(v))), v);
  return std::fabs(r) < 0x1p-126f ? 0.0f : v == 0 ? 1.0f : r;
}
inline float rsqrt_approx(float v) {
  return off_by_one(static_cast<float>(1.0 / std::sqrt(static_cast<double>(v))), v);
}
inline bool any_active(bool test) { return test; }
inline int negated(int v) { return static_cast<int>(0u - static_cast<unsigned>(v)); }
inline float max_nan(float a, float b) { return std::isnan(a) || a > b ? a : b; }
inline float min_nan(float a, float b) { return std::isnan(a) || a < b ? a : b; }
