// CUDA on the host, for one kernel text: what NVRTC defines, the primitives that the texts write as
// assembly (prelude.h's "..._instructions"), and a launch that runs every thread of a block as a
// fiber. Fibers switch only where threads meet, in a random order, so what a kernel needs a barrier
// for goes wrong without one. cp.async copies land as late as the program allows: when they are
// waited for. Shared memory starts as NaN in each block. Ends the process with a message when
// threads wait for each other for ever, or end with copies under way.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <type_traits>
#include <vector>

#define __device__
#define __forceinline__ inline
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))

struct uint2 {
  unsigned x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
struct int2 {
  int x, y;
};
struct int4 {
  int x, y, z, w;
};
struct float2 {
  float x, y;
};
struct float4 {
  float x, y, z, w;
};

namespace shim {

struct Index {
  unsigned x = 0, y = 0, z = 0;
};

struct Copy {
  unsigned char* to;
  const void* from;
  int bytes;
  bool valid;
};

struct Meeting {  // of the threads of a warp, or of a block
  int size = 0;
  unsigned turn = 0;
  std::vector<int> waiting = {};
};

struct Fiber {
  ucontext_t start;
  jmp_buf at;
  std::unique_ptr<char[]> stack;
  bool begun = false, done = false;
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

// What the lanes of a warp bring to an instruction, and what they get.
struct Exchange {
  uint64_t in[32][8];
  uint64_t out[2][32][4];
  unsigned turn = 0;
};

static std::vector<Fiber> fibers;
static std::vector<Meeting> warps;
static std::vector<Exchange> exchanges;
static Meeting block;
static std::vector<int> ready;  // threads that can go on
static int current = 0, vote = 0, last_vote = 0;
static jmp_buf scheduler;
static std::vector<unsigned char> memory;  // dynamic shared
static unsigned char* shared_base = nullptr;
static const int64_t* arguments = nullptr;
static void (*kernel)(...) = nullptr;

// Shared memory lies at a multiple of 1024 bytes, as a tensor map's boxes must.
constexpr int64_t kSharedSlack = 1024;

// Set by what adds instructions to these (shim_hopper.h): at the start of a block, at the end of a
// thread; and one copy under way lands, false if there is none.
static void (*on_block)() = nullptr, (*on_end)() = nullptr;
static bool (*deliver)(uint64_t random) = nullptr;
// Set where a text may wait for blocks before: they then run in the order of their numbers.
static bool in_order = false;

[[noreturn]] inline void die(const char* what) {
  std::fprintf(stderr, "emulated kernel, thread %d: %s\n", current, what);
  std::abort();
}

inline void pause() {
  if (_setjmp(fibers[current].at) == 0) _longjmp(scheduler, 1);
}

inline void meet(Meeting& m) {
  if (static_cast<int>(m.waiting.size()) + 1 == m.size) {
    ready.insert(ready.end(), m.waiting.begin(), m.waiting.end());
    m.waiting.clear();
    ++m.turn;
    if (&m == &block) last_vote = vote, vote = 0;
    return;
  }
  m.waiting.push_back(current);
  pause();
}

inline int lane() { return current % 32; }

// Every lane brings words; the last to come computes what each gets.
template <class Words, class Compute>
const uint64_t* together(Words words, Compute compute) {
  int w = current / 32;
  Exchange& x = exchanges[w];
  unsigned turn = warps[w].turn % 2;
  words(x.in[lane()]);
  if (static_cast<int>(warps[w].waiting.size()) + 1 == warps[w].size) compute(x.in, x.out[turn]);
  meet(warps[w]);
  return x.out[turn][lane()];
}

inline void run_thread() {
  const int64_t* a = arguments;
  reinterpret_cast<void (*)(int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                            int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                            int64_t, int64_t, int64_t, int64_t)>(kernel)(
      a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14],
      a[15], a[16], a[17], a[18], a[19]);
  Fiber& f = fibers[current];
  if (!f.open.empty() || !f.groups.empty()) die("ends with copies under way");
  if (on_end) on_end();
  f.done = true;
  _longjmp(scheduler, 1);
}

}  // namespace shim

static shim::Index threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

inline void run_block(unsigned threads, int64_t dynamic_shared, uint64_t& random) {
  memory.assign(dynamic_shared + kSharedSlack, 0xff);
  shared_base =
      memory.data() + (-reinterpret_cast<uintptr_t>(memory.data()) & (kSharedSlack - 1));
  std::memset(shared_base, 0xff, dynamic_shared);
  ready.clear();
  for (unsigned i = 0; i < threads; ++i) {
    fibers[i].begun = fibers[i].done = false;
    ready.push_back(static_cast<int>(i));
  }
  block = {static_cast<int>(threads), 0};
  for (Meeting& w : warps) w = {32, 0};
  vote = last_vote = 0;
  if (on_block) on_block();
  unsigned left = threads;
  while (left > 0) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    if (deliver && random >> 53 == 0) deliver(random >> 20);  // else when nobody can go on
    while (ready.empty())
      if (!deliver || !deliver(random >> 20)) die("all threads wait");
    std::swap(ready[(random >> 33) % ready.size()], ready.back());
    current = ready.back();
    ready.pop_back();
    threadIdx.x = static_cast<unsigned>(current);
    Fiber& f = fibers[current];
    if (_setjmp(scheduler) == 0) {
      if (f.begun) _longjmp(f.at, 1);
      f.begun = true;
      getcontext(&f.start);
      f.start.uc_stack.ss_sp = f.stack.get();
      f.start.uc_stack.ss_size = 64 << 10;
      f.start.uc_link = nullptr;
      makecontext(&f.start, run_thread, 0);
      setcontext(&f.start);
    }
    if (fibers[current].done) --left;
  }
}

}  // namespace shim

extern "C" void emulate_launch(void (*kernel)(...), const int64_t* arguments, unsigned grid,
                               unsigned threads, int64_t dynamic_shared, uint64_t seed) {
  using namespace shim;
  shim::kernel = kernel;
  shim::arguments = arguments;
  fibers.resize(threads);
  for (Fiber& f : fibers)
    if (!f.stack) f.stack.reset(new char[64 << 10]);
  warps.assign((threads + 31) / 32, {});
  exchanges.resize(warps.size());
  blockDim.x = threads, gridDim.x = grid;
  // Otherwise blocks come in an order that nobody may rely on.
  const uint64_t begin = in_order ? 0 : seed;
  unsigned order = in_order || grid == 0 ? 1 : static_cast<unsigned>(seed * 7 + 5) % grid;
  while (std::gcd(order, grid) != 1) ++order;
  for (unsigned b = 0; b < grid; ++b) {
    blockIdx.x = static_cast<unsigned>((uint64_t{b} * order + begin) % grid);
    run_block(threads, dynamic_shared, seed);
  }
}

// What NVRTC has built in
// --------------------------------------------------------------------------

inline void __syncthreads() { shim::meet(shim::block); }
inline int __syncthreads_or(int x) {
  shim::vote |= x != 0;
  shim::meet(shim::block);
  return shim::last_vote;
}
inline void __syncwarp() { shim::meet(shim::warps[shim::current / 32]); }

template <class T>
T shim_shuffle(T x, int from) {
  const uint64_t* got = shim::together(
      [&](uint64_t* in) {
        in[0] = 0;
        std::memcpy(in, &x, sizeof x);
        in[1] = static_cast<uint64_t>(from);
      },
      [](uint64_t(*in)[8], uint64_t(*out)[4]) {
        for (int l = 0; l < 32; ++l) out[l][0] = in[in[l][1]][0];
      });
  std::memcpy(&x, got, sizeof x);
  return x;
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return shim_shuffle(x, shim::lane() ^ mask);
}
template <class T>
T __shfl_up_sync(unsigned, T x, int d) {
  return shim_shuffle(x, shim::lane() < d ? shim::lane() : shim::lane() - d);
}
template <class T>
T __shfl_sync(unsigned, T x, int from) {
  return shim_shuffle(x, from);
}
inline unsigned __match_any_sync(unsigned, int x) {
  return static_cast<unsigned>(
      *shim::together([&](uint64_t* in) { in[0] = static_cast<uint64_t>(x); },
                      [](uint64_t(*in)[8], uint64_t(*out)[4]) {
                        for (int l = 0; l < 32; ++l) {
                          out[l][0] = 0;
                          for (int m = 0; m < 32; ++m)
                            out[l][0] |= uint64_t{in[l][0] == in[m][0]} << m;
                        }
                      }));
}
inline unsigned __ballot_sync(unsigned, int x) {
  return static_cast<unsigned>(*shim::together([&](uint64_t* in) { in[0] = x != 0; },
                                               [](uint64_t(*in)[8], uint64_t(*out)[4]) {
                                                 uint64_t votes = 0;
                                                 for (int m = 0; m < 32; ++m)
                                                   votes |= in[m][0] << m;
                                                 for (int l = 0; l < 32; ++l) out[l][0] = votes;
                                               }));
}
inline bool __any_sync(unsigned lanes, int x) { return __ballot_sync(lanes, x) != 0; }
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  uint64_t bytes = x | uint64_t{y} << 32;
  unsigned out = 0;
  for (int i = 0; i < 4; ++i)
    out |= static_cast<unsigned>(bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return out;
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline unsigned atomicCAS(unsigned* p, unsigned expected, unsigned value) {
  unsigned old = *p;
  if (old == expected) *p = value;
  return old;
}
inline int atomicAdd(int* p, int x) {
  int old = *p;
  *p += x;
  return old;
}
inline unsigned atomicMax(unsigned* p, unsigned x) {
  unsigned old = *p;
  if (x > old) *p = x;
  return old;
}
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long x) {
  unsigned long long old = *p;
  *p += x;
  return old;
}
inline float __fadd_rn(float x, float y) { return x + y; }
inline float __fsub_rn(float x, float y) { return x - y; }
inline float __fmul_rn(float x, float y) { return x * y; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline long long __double2ll_rn(double x) { return std::llrint(x); }
inline unsigned atomicAdd(unsigned* p, unsigned x) {
  unsigned old = *p;
  *p += x;
  return old;
}
inline unsigned atomicInc(unsigned* p, unsigned most) {
  unsigned old = *p;
  *p = old >= most ? 0 : old + 1;
  return old;
}
inline void __threadfence() {}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

// Half precision. SHIM_BF16 or not: f16
// -------------------------------------------------------------

#ifdef SHIM_BF16
inline float half_value(unsigned short x) {
  return std::bit_cast<float>(static_cast<unsigned>(x) << 16);
}
inline unsigned short half_bits(float x) {
  unsigned bits = std::bit_cast<unsigned>(x);
  if (x != x) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#else
inline float half_value(unsigned short x) {
  _Float16 h;
  std::memcpy(&h, &x, 2);
  return static_cast<float>(h);
}
inline unsigned short half_bits(float x) {
  _Float16 h = static_cast<_Float16>(x);
  unsigned short bits;
  std::memcpy(&bits, &h, 2);
  return bits;
}
#endif

// Tensor-core instructions
// --------------------------------------------------------------------------

inline int opaque(int x) { return x; }
inline unsigned shared_address(const void* p) {
  return static_cast<unsigned>(static_cast<const unsigned char*>(p) - shim::shared_base);
}

inline void shim_ldmatrix(unsigned (&r)[4], unsigned address, bool trans) {
  if (address % 16 != 0 || address + 16 > shim::memory.size()) shim::die("ldmatrix: bad address");
  const uint64_t* got = shim::together(
      [&](uint64_t* in) { in[0] = address, in[1] = trans; },
      [](uint64_t(*in)[8], uint64_t(*out)[4]) {
        for (int l = 0; l < 32; ++l)
          for (int m = 0; m < 4; ++m) {
            unsigned short two[2];
            for (int e = 0; e < 2; ++e) {
              int row = in[l][1] ? 2 * (l % 4) + e : l / 4,
                  col = in[l][1] ? l / 4 : 2 * (l % 4) + e;
              std::memcpy(&two[e], shim::shared_base + in[8 * m + row][0] + 2 * col, 2);
            }
            out[l][m] = two[0] | static_cast<uint64_t>(two[1]) << 16;
          }
      });
  for (int m = 0; m < 4; ++m) r[m] = static_cast<unsigned>(got[m]);
}
inline void ldmatrix(unsigned (&r)[4], unsigned address) { shim_ldmatrix(r, address, false); }
inline void ldmatrix_trans(unsigned (&r)[4], unsigned address) { shim_ldmatrix(r, address, true); }

inline void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  const uint64_t* got = shim::together(
      [&](uint64_t* in) {
        for (int i = 0; i < 4; ++i) in[i] = a[i] | uint64_t{std::bit_cast<unsigned>(c[i])} << 32;
        in[4] = b0, in[5] = b1;
      },
      [](uint64_t(*in)[8], uint64_t(*out)[4]) {
        auto half = [](uint64_t word, int e) {
          return half_value(static_cast<unsigned short>(word >> (16 * e)));
        };
        float A[16][16], B[16][8];
        for (int l = 0; l < 32; ++l)
          for (int e = 0; e < 2; ++e) {
            int g = l / 4, x = 2 * (l % 4) + e;
            A[g][x] = half(in[l][0], e), A[g + 8][x] = half(in[l][1], e);
            A[g][x + 8] = half(in[l][2], e), A[g + 8][x + 8] = half(in[l][3], e);
            B[x][g] = half(in[l][4], e), B[x + 8][g] = half(in[l][5], e);
          }
        for (int l = 0; l < 32; ++l)
          for (int i = 0; i < 4; ++i) {
            int row = l / 4 + (i >= 2 ? 8 : 0), col = 2 * (l % 4) + i % 2;
            float sum = std::bit_cast<float>(static_cast<unsigned>(in[l][i] >> 32));
            for (int k = 0; k < 16; ++k) sum += A[row][k] * B[k][col];
            out[l][i] = std::bit_cast<unsigned>(sum);
          }
      });
  for (int i = 0; i < 4; ++i) c[i] = std::bit_cast<float>(static_cast<unsigned>(got[i]));
}
inline unsigned shim_halves(unsigned x, unsigned y, _Float16 (*f)(_Float16, _Float16)) {
  unsigned out = 0;
  for (int e = 0; e < 2; ++e) {
    const unsigned short a = static_cast<unsigned short>(x >> 16 * e);
    const unsigned short b = static_cast<unsigned short>(y >> 16 * e);
    const _Float16 r = f(std::bit_cast<_Float16>(a), std::bit_cast<_Float16>(b));
    out |= static_cast<unsigned>(std::bit_cast<unsigned short>(r)) << 16 * e;
  }
  return out;
}
inline unsigned subtract_halves(unsigned x, unsigned y) {
  return shim_halves(x, y, [](_Float16 a, _Float16 b) { return static_cast<_Float16>(a - b); });
}
inline unsigned multiply_halves(unsigned x, unsigned y) {
  return shim_halves(x, y, [](_Float16 a, _Float16 b) { return static_cast<_Float16>(a * b); });
}
inline unsigned pack(float low, float high) {
  return half_bits(low) | static_cast<unsigned>(half_bits(high)) << 16;
}

inline void add_accumulators(float* to, const float (&c)[4], int lane) {
  for (int e = 0; e < 4; ++e) to[32 * e + lane] += c[e];
}
inline float4 added_accumulators(const float* from, int lane) {
  return {from[lane], from[32 + lane], from[64 + lane], from[96 + lane]};
}

inline void shim_copy(unsigned to, const void* from, int bytes, bool valid) {
  if (to % bytes != 0 || to + bytes > shim::memory.size())
    shim::die("cp.async: bad shared address");
  if (valid && reinterpret_cast<uintptr_t>(from) % bytes != 0) shim::die("cp.async: bad alignment");
  shim::fibers[shim::current].open.push_back({shim::shared_base + to, from, bytes, valid});
}
inline void copy16(unsigned to, const void* from, bool valid) { shim_copy(to, from, 16, valid); }
inline void copy4(unsigned to, const void* from, bool valid) { shim_copy(to, from, 4, valid); }
inline void commit_copies() {
  shim::Fiber& f = shim::fibers[shim::current];
  f.groups.push_back(std::move(f.open));
  f.open.clear();
}
template <int N>
void wait_copies() {
  auto& groups = shim::fibers[shim::current].groups;
  while (groups.size() > N) {
    for (const shim::Copy& c : groups.front())
      if (c.valid)
        std::memcpy(c.to, c.from, c.bytes);
      else
        std::memset(c.to, 0, c.bytes);
    groups.erase(groups.begin());
  }
}
inline float exp2_fast(float x) { return std::exp2(x); }
inline float reciprocal_fast(float x) { return 1 / x; }
