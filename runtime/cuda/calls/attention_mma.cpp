// attention on tensor cores (mma.sync): FlashAttention-2's forward (Dao, 2023). A block of 4 or 8
// warps owns 16 * kRowTiles queries of one head a warp, with sums, maxima and weights in registers.
// It walks over kKeys keys at a time; keys and values of the next step are copied while this one
// computes, one barrier a step. Softmax in base 2, with scale * log2(e) folded into one
// multiply-add.
#include <algorithm>

#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kForward = R"cuda(
constexpr int kThreads = 32 * kWarps, kQueries = 16 * kRowTiles * kWarps;
constexpr int kQBytes = kTileBytes<kQueries>, kKBytes = kTileBytes<kKeys>;

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksAnSm)
fusec_attention(const unsigned short* __restrict__ q, const unsigned short* __restrict__ k,
                const unsigned short* __restrict__ v, unsigned short* __restrict__ o,
                float* __restrict__ lse, int t, int s_length, const int* __restrict__ cu, int docs,
                const int* __restrict__ prefix, const float* __restrict__ sinks,
                const unsigned char* __restrict__ mask_tiles, int tiles, const unsigned* skip,
                Status* status, int step HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  extern __shared__ __align__(128) unsigned char shared[];  // Q; two of K; two of V
  __shared__ Range ranges[kRanges ? kQueries : 1], prefixes[kPrefix ? kQueries : 1];
  [[maybe_unused]] const hook::Captured captured = HOOK_CAPTURED;
  if (kDocs && blockIdx.x == 0) check_documents(cu, docs, t, status, step);

  // Causal tiles grow with their number: the longest first.
  int tile = blockIdx.x % tiles, head = blockIdx.x / tiles % kH, item = blockIdx.x / tiles / kH;
  if (kCausal) tile = tiles - 1 - tile;
  int row = tile * kQueries, last = min(row + kQueries, t) - 1;
  constexpr int q_stride = kH * kD, k_stride = kKv * kD;
  const long long q_at = ((long long)item * t * kH + head) * kD;
  const long long k_at = ((long long)item * s_length * kKv + head / (kH / kKv)) * kD;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  Walk walk;
  if (kRanges) {
    for (int i = threadIdx.x; i < kQueries; i += kThreads) {
      ranges[i] = keys_of(row + i, t, s_length, cu, docs);
      if (kPrefix)
        prefixes[i] = row + i < t ? prefix_of(row + i, item, t, s_length, cu, docs, prefix)
                                  : Range{0, 0};
    }
    __syncthreads();
    walk.join(ranges, prefixes, last - row + 1, kKeys);
  } else {
    walk.all = {0, keys_of(last, t, s_length, cu, docs).high};
    walk.whole = {0, keys_of(row, t, s_length, cu, docs).high};
  }
  const Range all = walk.all;
  // What the mask leaves of the tile of these queries and the keys from `key` on.
  auto tile_kind = [&](int key) {
    return mask_tiles[mask_tile(item, head, row, key, t, s_length)];
  };
  const int first_key = walk.next(all.low, kKeys, tile_kind);

  const unsigned q_tile = shared_address(shared);
  const unsigned k_tile = q_tile + kQBytes, v_tile = k_tile + 2 * kKBytes;

  float sums[kRowTiles][kD / 8][4], top[kRowTiles][2], total[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kD / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[m][j][e] = 0;
    top[m][0] = top[m][1] = -__int_as_float(0x7f800000);
    total[m][0] = total[m][1] = 0;
  }

  if (first_key < all.high) {
    load_tile<kQueries, kThreads>(q_tile, q + q_at, q_stride, row, t);
    load_tile<kKeys, kThreads>(k_tile, k + k_at, k_stride, first_key, all.high);
    load_tile<kKeys, kThreads>(v_tile, v + k_at, k_stride, first_key, all.high);
    commit_copies();
  }
  unsigned stage = 0;
  for (int key = first_key, next; key < all.high; key = next, stage ^= 1) {
    next = walk.next(key + kKeys, kKeys, tile_kind);
    wait_copies<0>();
    __syncthreads();  // all copies are here, and nobody reads the other stage any more
    const Lanes lanes = lanes_of(opaque(lane));
    const unsigned k_now = k_tile + stage * kKBytes, v_now = v_tile + stage * kKBytes;
    const unsigned q_now = q_tile + warp * (16 * kRowTiles * 128);
    if (next < all.high) {
      unsigned other = (stage ^ 1) * kKBytes;
      load_tile<kKeys, kThreads>(k_tile + other, k + k_at, k_stride, next, all.high);
      load_tile<kKeys, kThreads>(v_tile + other, v + k_at, k_stride, next, all.high);
      commit_copies();
    }

    float scores[kRowTiles][kKeys / 8][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[m][j][e] = 0;
#pragma unroll
    for (int x = 0; x < kD / 16; ++x) {
      unsigned a[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
        ldmatrix(a[m], at<kQueries>(q_now + lanes.a, x) + m * 16 * 128);
#pragma unroll
      for (int j = 0; j < kKeys / 16; ++j) {
        unsigned b[4];
        ldmatrix(b, at<kKeys>(k_now + lanes.b, x) + j * 16 * 128);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma(scores[m][2 * j], a[m], b[0], b[1]);
          mma(scores[m][2 * j + 1], a[m], b[2], b[3]);
        }
      }
    }

    // Positions of rows and columns beyond the last are those of the last.
    auto place = [&](int m, int j, int e) {
      int r = row + (warp * kRowTiles + m) * 16 + e / 2 * 8 + lane / 4;
      int c = key + 8 * j + 2 * (lane & 3) + e % 2;
      return hook::Place{item, head, min(r, t - 1), min(c, s_length - 1)};
    };
    if (kScored || kCap != 0) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            float& s = scores[m][j][e];
            s = kScored ? hook::score(captured, place(m, j, e), s) : kCap * tanh_fast(s * kCapSlope);
          }
    }
    if (kHookMasks && tile_kind(key) != kWhole) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            if (!hook::seen(captured, place(m, j, e)))
              scores[m][j][e] = -__int_as_float(0x7f800000);
    }
    if (walk.partial(key, kKeys)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          int r = (warp * kRowTiles + m) * 16 + half * 8 + lane / 4;
          Range seen = kRanges ? ranges[r] : keys_of(row + r, t, s_length, cu, docs);
          int mine = key + 2 * (lane & 3), low = seen.low - mine, high = seen.high - mine;
          const Range before = kPrefix ? prefixes[r] : Range{0, 0};
          int from = before.low - mine, to = before.high - mine;
#pragma unroll
          for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e)
              if (((kRanges && 8 * j + e < low) || 8 * j + e >= high) &&
                  !(kPrefix && 8 * j + e >= from && 8 * j + e < to))
                scores[m][j][2 * half + e] = -__int_as_float(0x7f800000);
        }
    }

#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = top[m][half];
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
          most = fmaxf(most, fmaxf(scores[m][j][2 * half], scores[m][j][2 * half + 1]));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        // A query that has seen no key keeps -inf; exp2 must not see -inf - (-inf).
        float base = fmaxf(most, -1e30f) * kExponent;
        float factor = exp2_fast(top[m][half] * kExponent - base), sum = total[m][half] * factor;
        top[m][half] = most;
#pragma unroll
        for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float p = exp2_fast(scores[m][j][2 * half + e] * kExponent - base);
            scores[m][j][2 * half + e] = p;
            sum += p;
          }
        total[m][half] = sum;
#pragma unroll
        for (int j = 0; j < kD / 8; ++j) {
          sums[m][j][2 * half] *= factor;
          sums[m][j][2 * half + 1] *= factor;
        }
      }

    // Accumulators of 16 x 16 scores are, packed, operand A of the next product.
#pragma unroll
    for (int x = 0; x < kKeys / 16; ++x) {
      unsigned p[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        p[m][0] = pack(scores[m][2 * x][0], scores[m][2 * x][1]);
        p[m][1] = pack(scores[m][2 * x][2], scores[m][2 * x][3]);
        p[m][2] = pack(scores[m][2 * x + 1][0], scores[m][2 * x + 1][1]);
        p[m][3] = pack(scores[m][2 * x + 1][2], scores[m][2 * x + 1][3]);
      }
#pragma unroll
      for (int j = 0; j < kD / 16; ++j) {
        unsigned b[4];
        ldmatrix_trans(b, at<kKeys>(v_now + lanes.a, j) + x * 16 * 128);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma(sums[m][2 * j], p[m], b[0], b[1]);
          mma(sums[m][2 * j + 1], p[m], b[2], b[3]);
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = total[m][half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      float base = top[m][half] * kExponent, factor = 1;
      if (kSinks) {  // one more score, whose value is zeros
        const float sink = sinks[head] * kLog2e, most = fmaxf(fmaxf(base, sink), -1e30f);
        factor = exp2_fast(base - most);
        sum = sum * factor + exp2_fast(sink - most);
        base = most;
      }
      inverse[half] = sum == 0 ? 0.0f : factor / sum;
      int r = row + (warp * kRowTiles + m) * 16 + half * 8 + lane / 4;
      if ((lane & 3) == 0 && r < t)
        lse[((long long)item * kH + head) * t + r] =
            sum == 0 ? -__int_as_float(0x7f800000) : (base + log2f(sum)) * (1 / kLog2e);
    }
    int first = row + (warp * kRowTiles + m) * 16;
    write_tile<kQueries>(shared, (warp * kRowTiles + m) * 16, sums[m], inverse[0], inverse[1],
                         o + q_at + (long long)first * q_stride, q_stride, t - first);
  }
}
)cuda";

}  // namespace

const std::string_view kWalkText = R"cuda(
// What a block of rows visits: columns [all.low, all.high) are seen by some row, [whole.low,
// whole.high) by all by their ranges; prefixes may be seen beside them.
struct Walk {
  Range all, whole, own, before, before_whole;

  DEV void join(const Range* ranges, const Range* prefixes, int rows, int step) {
    join_ranges(ranges, rows, own, whole);
    all = own;
    if (kHookMasks || kPrefix) own.low -= own.low % step, all = own;  // steps do not overlap
    if (!kPrefix) return;
    join_ranges(prefixes, rows, before, before_whole);
    before.low -= before.low % step;
    if (before.low >= before.high) return;
    if (own.low >= own.high) own = before;
    all = {own.low < before.low ? own.low : before.low,
           own.high > before.high ? own.high : before.high};
  }
  // The first step from `at` on that is worth it: not between prefix and ranges, nor in tiles that
  // the mask hides.
  template <class Kind>
  DEV int next(int at, int step, Kind kind) const {
    if (!kHookMasks && !kPrefix) return at;
    for (;; at += step) {
      if (kPrefix && at >= before.high && at < own.low) at = own.low;
      if (!kHookMasks || at >= all.high || kind(at) != kHidden) return at;
    }
  }
  // Whether some row does not see some column of a step.
  DEV bool partial(int at, int step) const {
    if (kPrefix && at >= before_whole.low && at + step <= before_whole.high) return false;
    return at < whole.low || at + step > whole.high;
  }
};
)cuda";

CallPlan mma_attention(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  const int64_t panels = (a.d + 63) / 64;
  // 48: with 64, sums and scores of heads beyond 64 do not fit the registers of a thread; beyond
  // heads of 192, two stages of 48 do not fit the shared memory of some devices.
  int64_t keys = a.d <= 64 ? 64 : a.d <= 192 ? 48 : 32;
  // Second ranges and a hook's numbers need registers, too; its mask is listed by tiles of 64.
  if (a.hooked() || a.prefix) keys = std::min<int64_t>(keys, a.d <= 64 ? 64 : 32);
  // 128 queries, or half as many where whole tiles would leave multiprocessors without work, or do
  // not fit. Beyond heads of 128 the sums of 16 queries are what a warp holds: 128 need 8 warps.
  bool whole = !a.hooked() && a.b * a.h * ((a.t + 127) / 128) >= 2 * target.sm_count;
  auto shared = [&](int64_t queries) { return (queries + 4 * keys) * 128 * panels; };
  // Ranges of 128 queries, and what the driver keeps.
  if (shared(128) + (3 << 10) > target.shared_per_block) whole = false;
  const int64_t queries = whole ? 128 : 64, tiles = (a.t + queries - 1) / queries;
  const int64_t row_tiles = whole && a.d <= 128 ? 2 : 1, warps = queries / (16 * row_tiles);
  Constants constants = attention_constants(a, "call: attention on tensor cores (mma.sync)");
  constants.integer("kWarps", warps)
      .integer("kRowTiles", row_tiles)
      .integer("kKeys", keys)
      .integer("kBlocksAnSm", warps == 8                                   ? 1
                              : a.d <= 64 && row_tiles == 1 && !a.hooked() ? 3
                                                                           : 2)
      // What multiplies a product before tanh, and a (capped) score before exp2.
      .real("kCapSlope", a.softcap == 0 ? 0 : a.scale / a.softcap)
      .real("kExponent", (a.softcap == 0 && !a.scored ? a.scale : 1) * 1.44269504088896341);
  CallPlan plan;
  const LaunchArg mask_tiles = list_mask_tiles(a, call, plan);
  CallLaunch l;
  l.text = constants.text() + std::string(kPrelude) + std::string(kTensorInstructions) +
           std::string(a.type == bf16 ? kBf16Mma : kF16Mma) + std::string(kRangeText) +
           hook_text(a) + std::string(kTensorTiles) + std::string(kTanh) + std::string(kWalkText) +
           std::string(kForward);
  l.entry = "fusec_attention";
  l.grid[0] = blocks_for(call, a.b * a.h * tiles, 1);
  l.block[0] = static_cast<unsigned>(32 * warps);
  l.dynamic_shared = shared(queries);
  l.args = {argument(0), argument(1), argument(2), argument(3), argument(4)};
  for (const LaunchArg& x : mask_arguments(a, a.cu_seqlens)) l.args.push_back(x);
  for (const LaunchArg& x : {argument(a.prefix), argument(a.sinks), mask_tiles, i32_value(tiles),
                             skip(), status(), step()})
    l.args.push_back(x);
  append_captured(a, l.args);
  plan.launches.push_back(std::move(l));
  return plan;
}

}  // namespace fusec::cuda
