// cumsum: running sums along the middle axis of [outer, n, inner]. A block owns kColumns
// neighbouring columns of one outer index and walks along n: each thread sums kRun rows in order,
// the threads of a column are scanned in shared memory, and the total is carried on. The order of
// additions depends on the shape alone.
#include <algorithm>
#include <bit>

#include "calls.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int kThreads = 256;

constexpr std::string_view kCumsum = R"cuda(
constexpr int kRun = 8;
constexpr int kTeam = 256 / kColumns;  // threads of one column

extern "C" __global__ void __launch_bounds__(256)
fusec_cumsum(const Stored* __restrict__ in, Stored* __restrict__ out, long long n,
             const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ Sum sums[2][kTeam][kColumns];
  int lane = threadIdx.x % kColumns, rank = threadIdx.x / kColumns;
  long long column = (long long)(blockIdx.x % kTiles) * kColumns + lane;
  long long base = (long long)(blockIdx.x / kTiles) * n * kInner + column;
  bool mine = column < kInner;
  Sum carry = 0;
  for (long long first = 0; first < n; first += kTeam * kRun) {
    Sum x[kRun], sum = 0;
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      long long i = first + rank * kRun + e;
      x[e] = mine && i < n ? widen(in[base + (kReverse ? n - 1 - i : i) * kInner]) : (Sum)0;
      sum = e == 0 ? x[0] : sum + x[e];
    }
    // Inclusive scan over the ranks, in two buffers.
    int now = 0;
    sums[0][rank][lane] = sum;
    __syncthreads();
    for (int d = 1; d < kTeam; d *= 2) {
      Sum s = sums[now][rank][lane];
      if (rank >= d) s = sums[now][rank - d][lane] + s;
      now ^= 1;
      sums[now][rank][lane] = s;
      __syncthreads();
    }
    Sum before = carry;
    if (rank > 0) before += sums[now][rank - 1][lane];
    carry += sums[now][kTeam - 1][lane];
#pragma unroll
    for (int e = 0; e < kRun; ++e) {
      long long i = first + rank * kRun + e;
      before += x[e];
      if (mine && i < n) out[base + (kReverse ? n - 1 - i : i) * kInner] = narrow(before);
    }
    __syncthreads();
  }
}
)cuda";

}  // namespace

CallPlan plan_cumsum(const LibraryCall& call, const CallTarget&) {
  int64_t outer = call.integer("outer"), n = call.integer("n"), inner = call.integer("inner");
  DType type = type_of(call, "type");
  require(call, outer >= 0 && n >= 0 && inner >= 0, "sizes must not be negative");
  require(call, size_of(type) > 1, "takes floats, i32 or i64");
  if (outer == 0 || n == 0 || inner == 0) return {};
  int64_t columns = std::min<int64_t>(32, std::bit_ceil(static_cast<uint64_t>(inner)));
  int64_t tiles = (inner + columns - 1) / columns;
  CallLaunch l;
  l.text = Constants("call: cumsum")
               .integer("kColumns", columns)
               .integer("kInner", inner)
               .integer("kTiles", tiles)
               .integer("kReverse", call.integer("reverse") != 0)
               .text() +
           std::string(kPrelude) + element_text(type) + std::string(kCumsum);
  l.entry = "fusec_cumsum";
  l.grid[0] = blocks_for(call, outer * tiles, 1);
  l.block[0] = kThreads;
  l.args = {argument(0), argument(1), i64_value(n), skip()};
  return {{l}, 0};
}

}  // namespace fusec::cuda
