// top_k: the k largest of each row, in order; NaN before all, equal ones by index. Elements are
// compared as unsigned keys made of their bits: -0 and 0 have one key, every NaN the largest.
//
//   short rows     a warp a row: k times the largest of those after the one before
//   others         a block a row: the k-th key digit by digit (radix select), the chosen elements
//                  gathered in index order, then sorted by key (stable radix sort, the largest
//                  first)
#include <algorithm>

#include "calls.h"
#include "fusec/base/error.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kShortRow = 1024, kFewPicks = 32;

constexpr std::string_view kKeys = R"cuda(
constexpr int kKeyBits = 8 * sizeof(Key);
constexpr Key kSign = (Key)((Key)1 << (kKeyBits - 1));

DEV Key key_of(Key bits) {
  if (!kFloat) return (Key)(bits ^ kSign);
  Key size = (Key)(bits & ~kSign);
  if (size > kInfinity) return (Key)~(Key)0;
  if (size == 0) return kSign;
  return bits & kSign ? (Key)~bits : (Key)(bits | kSign);
}
)cuda";

constexpr std::string_view kWarp = R"cuda(
extern "C" __global__ void __launch_bounds__(128)
fusec_top_k_warp(const Key* __restrict__ in, Key* values, int* indices, long long rows, int n,
                 int k, const unsigned* skip) {
  if (stopped(skip)) return;
  long long row = blockIdx.x * 4ll + threadIdx.x / 32;
  int lane = threadIdx.x % 32;
  if (row >= rows) return;
  const Key* x = in + row * n;
  Key last = 0;
  int last_at = -1;
  for (int pick = 0; pick < k; ++pick) {
    Key best = 0;
    int best_at = 0x7fffffff;
    for (int i = lane; i < n; i += 32) {
      Key key = key_of(x[i]);
      bool after = pick == 0 || key < last || (key == last && i > last_at);
      if (after && (key > best || (key == best && i < best_at))) best = key, best_at = i;
    }
    for (int d = 16; d > 0; d /= 2) {
      Wide other = __shfl_xor_sync(~0u, (Wide)best, d);
      int other_at = __shfl_xor_sync(~0u, best_at, d);
      if (other > best || (other == best && other_at < best_at))
        best = (Key)other, best_at = other_at;
    }
    if (lane == 0) {
      values[row * k + pick] = x[best_at];
      indices[row * k + pick] = best_at;
    }
    last = best, last_at = best_at;
  }
}
)cuda";

constexpr std::string_view kBlock = R"cuda(
constexpr int kThreads = 1024, kWarps = 32;

struct Shared {
  int bins[256], scan[256];
  int in_warp[kWarps][256];
  int found[2][kWarps];
  int digit, before;
};

// bins[b] becomes the number of elements of all bins in front of b (above it if `down`).
DEV void scan_bins(Shared& s, bool down) {
  int b = threadIdx.x, own = 0;
  int* from = s.bins;
  int* to = s.scan;
  if (b < 256) own = s.bins[b];
  for (int d = 1; d < 256; d *= 2) {
    __syncthreads();
    if (b < 256) {
      int other = down ? b + d : b - d;
      to[b] = from[b] + (other >= 0 && other < 256 ? from[other] : 0);
    }
    int* t = from;
    from = to, to = t;
  }
  __syncthreads();
  int upto = b < 256 ? from[b] : 0;
  __syncthreads();
  if (b < 256) s.bins[b] = upto - own;
  __syncthreads();
}

// The k-th largest key; `equal` receives how many of that key belong to the k.
DEV Key select(Shared& s, const Key* x, int n, int k, int& equal) {
  Key prefix = 0;
  int need = k;
  for (int shift = kKeyBits - 8; shift >= 0; shift -= 8) {
    for (int b = threadIdx.x; b < 256; b += kThreads) s.bins[b] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < n; i += kThreads) {
      Wide key = key_of(x[i]);
      bool inside = shift == kKeyBits - 8 || key >> (shift + 8) == (Wide)prefix >> (shift + 8);
      if (inside) atomicAdd(&s.bins[(int)(key >> shift) & 255], 1);
    }
    __syncthreads();
    int own = threadIdx.x < 256 ? s.bins[threadIdx.x] : 0;
    scan_bins(s, true);
    if (threadIdx.x < 256) {
      int above = s.bins[threadIdx.x];
      if (above < need && need <= above + own) s.digit = threadIdx.x, s.before = above;
    }
    __syncthreads();
    prefix = (Key)(prefix | (Wide)s.digit << shift);
    need -= s.before;
    __syncthreads();
  }
  equal = need;
  return prefix;
}

// Writes keys and places of the k elements, by index.
DEV void choose(Shared& s, const Key* x, int n, Key least, int equal, Key* keys, int* places) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, larger = 0, same = 0;
  unsigned below = (1u << lane) - 1;
  for (int first = 0; first < n; first += kThreads) {
    int i = first + threadIdx.x;
    Key key = i < n ? key_of(x[i]) : (Key)0;
    bool is_larger = i < n && key > least, is_same = i < n && key == least;
    unsigned larger_votes = __ballot_sync(~0u, is_larger), same_votes = __ballot_sync(~0u, is_same);
    if (lane == 0) s.found[0][warp] = __popc(larger_votes), s.found[1][warp] = __popc(same_votes);
    __syncthreads();
    int larger_before = larger + __popc(larger_votes & below);
    int same_before = same + __popc(same_votes & below);
    for (int w = 0; w < kWarps; ++w) {
      if (w < warp) larger_before += s.found[0][w], same_before += s.found[1][w];
      larger += s.found[0][w], same += s.found[1][w];
    }
    if (is_larger || (is_same && same_before < equal)) {
      int at = larger_before + (same_before < equal ? same_before : equal);
      keys[at] = key, places[at] = i;
    }
    __syncthreads();
  }
}

// Sorts by one digit of 8 bits, the largest first, equal ones in their order.
DEV void sort_digit(Shared& s, const Key* keys, const int* places, Key* out_keys, int* out_places,
                    int k, int shift) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int b = threadIdx.x; b < 256; b += kThreads) s.bins[b] = 0;
  for (int b = threadIdx.x; b < kWarps * 256; b += kThreads) s.in_warp[b / 256][b % 256] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < k; i += kThreads)
    atomicAdd(&s.bins[255 - ((int)((Wide)keys[i] >> shift) & 255)], 1);
  __syncthreads();
  scan_bins(s, false);
  for (int first = 0; first < k; first += kThreads) {
    int i = first + threadIdx.x;
    bool has = i < k;
    Key key = has ? keys[i] : (Key)0;
    int digit = has ? 255 - ((int)((Wide)key >> shift) & 255) : 256;
    unsigned alike = __match_any_sync(~0u, digit);
    int rank = __popc(alike & ((1u << lane) - 1));
    if (has && rank == 0) s.in_warp[warp][digit] = __popc(alike);
    __syncthreads();
    if (has) {
      int at = s.bins[digit] + rank;
      for (int w = 0; w < warp; ++w) at += s.in_warp[w][digit];
      out_keys[at] = key, out_places[at] = places[i];
    }
    __syncthreads();
    if (threadIdx.x < 256)
      for (int w = 0; w < kWarps; ++w) {
        s.bins[threadIdx.x] += s.in_warp[w][threadIdx.x];
        s.in_warp[w][threadIdx.x] = 0;
      }
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(1024)
fusec_top_k_block(const Key* __restrict__ in, Key* values, int* indices, Key* keys, int* places,
                  long long rows, int n, int k, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ Shared s;
  Key* a = keys + 2ll * k * blockIdx.x;
  int* at = places + 2ll * k * blockIdx.x;
  for (long long row = blockIdx.x; row < rows; row += gridDim.x) {
    const Key* x = in + row * n;
    int equal;
    Key least = select(s, x, n, k, equal);
    choose(s, x, n, least, equal, a, at);
    int now = 0;
    for (int shift = 0; shift < kKeyBits; shift += 8) {
      int other = k - now;  // 0 or k: which half
      sort_digit(s, a + now, at + now, a + other, at + other, k, shift);
      now = other;
    }
    for (int i = threadIdx.x; i < k; i += kThreads) {
      values[row * k + i] = x[at[now + i]];
      indices[row * k + i] = at[now + i];
    }
    __syncthreads();
  }
}
)cuda";

std::string_view key_type(DType t) {
  switch (size_of(t)) {
    case 8: return "unsigned long long";
    case 4: return "unsigned";
    default: return "unsigned short";
  }
}

// The bits of infinity without its sign.
int64_t infinity(DType t) {
  switch (t) {
    case DType::f64: return int64_t{0x7ff} << 52;
    case DType::f32: return 0x7f800000;
    case DType::bf16: return 0x7f80;
    case DType::f16: return 0x7c00;
    default: return 0;
  }
}

}  // namespace

CallPlan plan_top_k(const LibraryCall& call, const CallTarget& target) {
  int64_t rows = call.integer("rows"), n = call.integer("n"), k = call.integer("k");
  DType type = type_of(call, "type");
  require(call, rows >= 0 && k >= 0 && k <= n, "expected 0 <= k <= n");
  require(call, size_of(type) > 1, "takes floats, i32 or i64");
  if (rows == 0 || k == 0) return {};
  if (n > 0x3fffffff)
    fail_unsupported("top_k of rows of " + std::to_string(n) +
                     " elements: the CUDA device takes 1073741823 at most");
  bool warp = n <= kShortRow && k <= kFewPicks;
  CallLaunch l;
  l.text = Constants(warp ? "call: top_k, short rows" : "call: top_k")
               .type("Key", key_type(type))
               .type("Wide", size_of(type) == 8 ? "unsigned long long" : "unsigned")
               .integer("kFloat", is_float(type))
               .integer("kInfinity", infinity(type))
               .text() +
           std::string(kPrelude) + std::string(kKeys) + std::string(warp ? kWarp : kBlock);
  if (warp) {
    l.entry = "fusec_top_k_warp";
    l.grid[0] = blocks_for(call, rows, 4);
    l.block[0] = 128;
    l.args = {argument(0),  argument(1),  argument(2), i64_value(rows),
              i32_value(n), i32_value(k), skip()};
    return {{l}, 0};
  }
  CallPlan plan;
  int64_t blocks = std::min<int64_t>(rows, target.sm_count);
  int64_t keys = take(plan.workspace, 2 * blocks * k * size_of(type));
  int64_t places = take(plan.workspace, 2 * blocks * k * 4);
  l.entry = "fusec_top_k_block";
  l.grid[0] = static_cast<unsigned>(blocks);
  l.block[0] = 1024;
  l.args = {argument(0),     argument(1),  argument(2),  workspace(keys), workspace(places),
            i64_value(rows), i32_value(n), i32_value(k), skip()};
  plan.launches.push_back(l);
  return plan;
}

}  // namespace fusec::cuda
