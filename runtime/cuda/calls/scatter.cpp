// scatter: rows of updates set or added into a table, with the bits of one fixed order: the updates
// of a row are added in index order, in f32 for bf16 and f16 (rounded once, at the end).
//
//   few updates    a block an update; it looks through the indices for others of its row, and the
//                  block of the first one adds them all.
//   many           the updates are sorted by row (stable radix sort: count, scan, place a digit),
//                  then the block at the first place of a row adds that row's updates.
//
// No floats are added atomically. Of several updates that set one row, the last one stays.
#include <bit>

#include "calls.h"
#include "fusec/base/error.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kFew = 2048;     // updates, and places in the shared list of kFewText
constexpr int64_t kTile = 2048;    // updates a block counts and places
constexpr int kMostDigitBits = 9;  // of one sorting pass: 512 counters a tile
constexpr int64_t kMostCount = 1 << 30;

// Adds (or sets) `n` updates, numbers by place(q), to row `row`; all threads of the block.
constexpr std::string_view kRowUpdate = R"cuda(
struct __align__(kPackBytes) Pack {
  Stored x[kPackBytes / sizeof(Stored)];
};
constexpr int kLanes = kPackBytes / sizeof(Stored);

template <class Place>
DEV void update_row(Pack* __restrict__ out, const Pack* __restrict__ updates, long long row, int n,
                    Place place) {
  for (long long c = threadIdx.x; c < kPacks; c += blockDim.x) {
    Pack* to = out + row * kPacks + c;
    if (!kAdd) {
      *to = updates[(long long)place(n - 1) * kPacks + c];
      continue;
    }
    Pack p = *to;
    Sum sums[kLanes];
#pragma unroll
    for (int e = 0; e < kLanes; ++e) sums[e] = widen(p.x[e]);
    for (int q = 0; q < n; q += 8) {
      Pack next[8];
#pragma unroll
      for (int u = 0; u < 8; ++u)
        if (q + u < n) next[u] = updates[(long long)place(q + u) * kPacks + c];
#pragma unroll
      for (int u = 0; u < 8; ++u) {
        if (q + u >= n) continue;
#pragma unroll
        for (int e = 0; e < kLanes; ++e) sums[e] += widen(next[u].x[e]);
      }
    }
#pragma unroll
    for (int e = 0; e < kLanes; ++e) p.x[e] = narrow(sums[e]);
    *to = p;
  }
}
)cuda";

constexpr std::string_view kFewText = R"cuda(
extern "C" __global__ void __launch_bounds__(256)
fusec_scatter_few(Pack* out, const Index* __restrict__ index, const Pack* updates, int count,
                  long long rows, const unsigned* skip, Status* status, int step) {
  if (stopped(skip)) return;
  __shared__ int mine[2048];
  __shared__ int found[8];  // by each warp
  int self = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  long long row = index[self];
  if (row < 0) return;
  if (row >= rows) {
    if (threadIdx.x == 0) report(status, 1, step, row, rows);
    return;
  }
  int total = 0;
  for (int first = 0; first < count; first += 256) {
    int i = first + threadIdx.x;
    bool same = i < count && index[i] == row;
    unsigned votes = __ballot_sync(~0u, same);
    if (lane == 0) found[warp] = __popc(votes);
    // The first update of a row does the work of all.
    if (__syncthreads_or(same && i < self)) return;
    int at = total + __popc(votes & ((1u << lane) - 1));
    for (int w = 0; w < 8; ++w) {
      if (w < warp) at += found[w];
      total += found[w];
    }
    if (same) mine[at] = i;
    __syncthreads();
  }
  update_row(out, updates, row, total, [&](int q) { return mine[q]; });
}
)cuda";

constexpr std::string_view kManyText = R"cuda(
constexpr int kBins = 1 << kDigitBits;

// Rows as keys; an update of no row gets the key past them all. One count a tile and digit follows.
extern "C" __global__ void __launch_bounds__(256)
fusec_scatter_keys(const Index* __restrict__ index, Key* keys, int* places, int count,
                   long long rows, const unsigned* skip, Status* status, int step) {
  if (stopped(skip)) return;
  int i = blockIdx.x * 256 + threadIdx.x;
  if (i >= count) return;
  long long row = index[i];
  if (row >= rows) report(status, 1, step, row, rows);
  keys[i] = row < 0 || row >= rows ? (Key)rows : (Key)row;
  places[i] = i;
}

extern "C" __global__ void __launch_bounds__(256)
fusec_scatter_count(const Key* __restrict__ keys, int* counts, int count, int tiles, int shift,
                    const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ int bins[kBins];
  for (int b = threadIdx.x; b < kBins; b += 256) bins[b] = 0;
  __syncthreads();
  for (int e = threadIdx.x; e < 2048; e += 256) {
    int i = blockIdx.x * 2048 + e;
    if (i < count) atomicAdd(&bins[(int)(keys[i] >> shift) & (kBins - 1)], 1);
  }
  __syncthreads();
  for (int b = threadIdx.x; b < kBins; b += 256)
    counts[(long long)b * tiles + blockIdx.x] = bins[b];
}

// Exclusive sums of n counts, by one block: 8 neighbours a thread, then lanes, then warps.
extern "C" __global__ void __launch_bounds__(1024)
fusec_scatter_scan(int* counts, int n, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ int of_warp[32];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, before = 0;
  for (int first = 0; first < n; first += 8192) {
    int at = first + threadIdx.x * 8, x[8], sum = 0;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      x[e] = at + e < n ? counts[at + e] : 0;
      sum += x[e];
    }
    int upto = sum;
    for (int d = 1; d < 32; d *= 2) {
      int other = __shfl_up_sync(~0u, upto, d);
      if (lane >= d) upto += other;
    }
    if (lane == 31) of_warp[warp] = upto;
    __syncthreads();
    int start = before + upto - sum;
    for (int w = 0; w < 32; ++w) {
      if (w < warp) start += of_warp[w];
      before += of_warp[w];
    }
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      if (at + e < n) counts[at + e] = start;
      start += x[e];
    }
    __syncthreads();
  }
}

// Moves the updates of a tile to their places by one digit, equal digits in their old order.
extern "C" __global__ void __launch_bounds__(256)
fusec_scatter_place(const Key* __restrict__ keys, const int* __restrict__ places,
                    const int* __restrict__ counts, Key* out_keys, int* out_places, int count,
                    int tiles, int shift, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ int next[kBins];        // where the next update of a digit goes
  __shared__ int in_warp[8][kBins];  // updates of a digit among the 32 of a warp
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int b = threadIdx.x; b < kBins; b += 256) {
    next[b] = counts[(long long)b * tiles + blockIdx.x];
    for (int w = 0; w < 8; ++w) in_warp[w][b] = 0;
  }
  for (int e = 0; e < 2048; e += 256) {
    __syncthreads();
    int i = blockIdx.x * 2048 + e + threadIdx.x;
    bool has = i < count;
    Key key = has ? keys[i] : (Key)0;
    int digit = has ? (int)(key >> shift) & (kBins - 1) : kBins;
    unsigned same = __match_any_sync(~0u, digit);
    int rank = __popc(same & ((1u << lane) - 1));
    if (has && rank == 0) in_warp[warp][digit] = __popc(same);
    __syncthreads();
    if (has) {
      int at = next[digit] + rank;
      for (int w = 0; w < warp; ++w) at += in_warp[w][digit];
      out_keys[at] = key;
      out_places[at] = places[i];
    }
    __syncthreads();
    for (int b = threadIdx.x; b < kBins; b += 256)
      for (int w = 0; w < 8; ++w) {
        next[b] += in_warp[w][b];
        in_warp[w][b] = 0;
      }
  }
}

extern "C" __global__ void __launch_bounds__(128)
fusec_scatter_rows(Pack* out, const Pack* updates, const Key* __restrict__ keys,
                   const int* __restrict__ places, int count, long long rows,
                   const unsigned* skip) {
  if (stopped(skip)) return;
  int first = blockIdx.x;
  Key row = keys[first];
  if ((long long)row >= rows || (first > 0 && keys[first - 1] == row)) return;
  int low = first + 1, high = count;  // the end of the row's places lies in [low, high]
  while (low < high) {
    int middle = low + (high - low) / 2;
    if (keys[middle] == row)
      low = middle + 1;
    else
      high = middle;
  }
  update_row(out, updates, (long long)row, low - first, [&](int q) { return places[first + q]; });
}
)cuda";

struct Scatter {
  int64_t rows, count, packs, pack_bytes;
  DType type, index;
  bool add;
};

Constants constants_of(const Scatter& s, const char* title) {
  return Constants(title)
      .type("Index", index_type(s.index))
      .integer("kPackBytes", s.pack_bytes)
      .integer("kPacks", s.packs)
      .integer("kAdd", s.add);
}

std::string text_of(const Constants& constants, const Scatter& s, std::string_view kernels) {
  return constants.text() + std::string(kPrelude) + element_text(s.type) + std::string(kRowUpdate) +
         std::string(kernels);
}

CallLaunch few(const Scatter& s) {
  CallLaunch l;
  l.text = text_of(constants_of(s, "call: scatter, few updates"), s, kFewText);
  l.entry = "fusec_scatter_few";
  l.grid[0] = static_cast<unsigned>(s.count);
  l.block[0] = 256;
  l.args = {argument(0),       argument(1), argument(2), i32_value(s.count),
            i64_value(s.rows), skip(),      status(),    step()};
  return l;
}

CallPlan many(const Scatter& s) {
  bool wide = s.rows >= 0x7fffffff;
  int bits = std::bit_width(static_cast<uint64_t>(s.rows));  // keys run up to `rows`
  int passes = (bits + kMostDigitBits - 1) / kMostDigitBits;
  int digit = (bits + passes - 1) / passes;
  int64_t tiles = (s.count + kTile - 1) / kTile, counters = tiles << digit;

  CallPlan plan;
  int64_t keys[2], places[2];
  for (int64_t& at : keys) at = take(plan.workspace, s.count * (wide ? 8 : 4));
  for (int64_t& at : places) at = take(plan.workspace, s.count * 4);
  int64_t counts = take(plan.workspace, counters * 4);

  Constants constants = constants_of(s, "call: scatter, many updates");
  constants.type("Key", wide ? "unsigned long long" : "unsigned").integer("kDigitBits", digit);
  std::string text = text_of(constants, s, kManyText);
  auto launch = [&](const char* entry, int64_t blocks, unsigned threads,
                    std::vector<LaunchArg> args) {
    plan.launches.push_back(
        {text, entry, {static_cast<unsigned>(blocks), 1, 1}, {threads, 1, 1}, 0, std::move(args)});
  };
  LaunchArg count = i32_value(s.count), rows = i64_value(s.rows), tile_count = i32_value(tiles);
  launch("fusec_scatter_keys", (s.count + 255) / 256, 256,
         {argument(1), workspace(keys[0]), workspace(places[0]), count, rows, skip(), status(),
          step()});
  for (int pass = 0; pass < passes; ++pass) {
    int from = pass % 2, to = 1 - from;
    LaunchArg shift = i32_value(pass * digit);
    launch("fusec_scatter_count", tiles, 256,
           {workspace(keys[from]), workspace(counts), count, tile_count, shift, skip()});
    launch("fusec_scatter_scan", 1, 1024, {workspace(counts), i32_value(counters), skip()});
    launch("fusec_scatter_place", tiles, 256,
           {workspace(keys[from]), workspace(places[from]), workspace(counts), workspace(keys[to]),
            workspace(places[to]), count, tile_count, shift, skip()});
  }
  int last = passes % 2;
  launch("fusec_scatter_rows", s.count, 128,
         {argument(0), argument(2), workspace(keys[last]), workspace(places[last]), count, rows,
          skip()});
  return plan;
}

}  // namespace

CallPlan plan_scatter(const LibraryCall& call, const CallTarget&) {
  Scatter s{call.integer("rows"), call.integer("count")};
  int64_t width = call.integer("width");
  s.type = type_of(call, "type"), s.index = type_of(call, "index_type");
  const std::string& mode = call.text("mode");
  require(call, s.rows >= 0 && s.count >= 0 && width >= 0, "sizes must not be negative");
  require(call, s.index == i32 || s.index == i64, "indices must be i32 or i64");
  require(call, mode == "add" || mode == "set", "mode must be \"add\" or \"set\"");
  s.add = mode == "add";
  if (s.add && (s.type == b8 || s.type == f8e4m3))
    fail_unsupported("scatter cannot add " + std::string(name_of(s.type)) +
                     "; cast to a type that is computed with first");
  if (s.count == 0 || width == 0) return {};
  if (s.count > kMostCount)
    fail_unsupported("scatter of " + std::to_string(s.count) + " updates: the CUDA device takes " +
                     std::to_string(kMostCount) + " at most; cut the updates into several calls");
  int64_t row_bytes = width * size_of(s.type);
  s.pack_bytes = std::max(size_of(s.type), common_unit(call, {0, 2}, row_bytes));
  s.packs = row_bytes / s.pack_bytes;
  return s.count <= kFew ? CallPlan{{few(s)}, 0} : many(s);
}

}  // namespace fusec::cuda
