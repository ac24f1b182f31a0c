// attention_grad on tensor cores (mma.sync), after FlashAttention-2 (Dao, 2023):
//   delta   rowsum(d_o * o), for the others; zeros for the sums of dq
//   dk, dv  a block owns 16 keys a warp and walks over the queries that see them, of every head of
//           the group. Scores are computed transposed (keys x queries), so that weights and score
//           gradients are operand A of the second products as they lie in registers:
//           S^T = K Q^T, dP^T = V dO^T, dV += P^T dO, dK += dS^T Q
//           Heads beyond kMostOfBoth have a kernel for each of dk and dv, which computes S^T again.
// Up to kMostOfSums, dq has no products of its own for S and dP:
//           The score gradients of a step go through shared memory, too, and in the next step, in
//           which nobody writes them any more, dQ += dS K: each warp takes some of its rows and
//           columns, and adds them to f32 sums of the workspace (attention_mma_sums.cpp).
//   dq      these sums, scaled, to their type and place
// Blocks add in any order, so dq may differ in its last bits from run to run. Where that must not
// be, and beyond kMostOfSums, nothing is added atomically:
//   dq      a block owns 16 queries a warp and walks over their keys:
//           S = Q K^T, dP = dO V^T, dQ += dS K
#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

// The largest heads of which registers hold the sums of both dk and dv.
constexpr int64_t kMostOfBoth = 160;
// The largest heads of which a tile of score gradients fits beside all others.
constexpr int64_t kMostOfSums = 128;

constexpr std::string_view kShared = R"cuda(
constexpr int kThreads = 32 * kWarps, kRows = 16 * kWarps;
constexpr int kRowBytes = kTileBytes<kRows>, kStepBytes = kTileBytes<kColumns>;

// scores += a * b^T: 16 rows of the tile at `a` (of kRows) with all rows of the tile at `b`.
DEV void add_products(float (&scores)[kColumns / 8][4], unsigned a, unsigned b, Lanes lanes) {
#pragma unroll
  for (int x = 0; x < kD / 16; ++x) {
    unsigned left[4];
    ldmatrix(left, at<kRows>(a + lanes.a, x));
#pragma unroll
    for (int j = 0; j < kColumns / 16; ++j) {
      unsigned right[4];
      ldmatrix(right, at<kColumns>(b + lanes.b, x) + j * 16 * 128);
      mma(scores[2 * j], left, right[0], right[1]);
      mma(scores[2 * j + 1], left, right[2], right[3]);
    }
  }
}

// sums += weights * b, weights as accumulators of an earlier product.
DEV void add_weighted(float (&sums)[kD / 8][4], const float (&weights)[kColumns / 8][4], unsigned b,
                      Lanes lanes) {
#pragma unroll
  for (int x = 0; x < kColumns / 16; ++x) {
    unsigned left[4] = {pack(weights[2 * x][0], weights[2 * x][1]),
                        pack(weights[2 * x][2], weights[2 * x][3]),
                        pack(weights[2 * x + 1][0], weights[2 * x + 1][1]),
                        pack(weights[2 * x + 1][2], weights[2 * x + 1][3])};
#pragma unroll
    for (int j = 0; j < kD / 16; ++j) {
      unsigned right[4];
      ldmatrix_trans(right, at<kColumns>(b + lanes.a, j) + x * 16 * 128);
      mma(sums[2 * j], left, right[0], right[1]);
      mma(sums[2 * j + 1], left, right[2], right[3]);
    }
  }
}

template <int N>
DEV void clear(float (&c)[N][4]) {
#pragma unroll
  for (int j = 0; j < N; ++j)
#pragma unroll
    for (int e = 0; e < 4; ++e) c[j][e] = 0;
}

// From q.k and d_o.v: the weight, and the gradient of the score without the factor kScale. `place`
// makes the score's position, for a hook.
template <class At>
DEV void gradient(float& product, float& dp, float lse2, float delta,
                  const hook::Captured& captured, At place) {
  float p, slope = 1;
  if (kScored) {
    const hook::Slopes s = hook::slopes(captured, place(), product);
    p = exp2_fast(s.score * kLog2e - lse2);
    slope = s.by_product * (1 / kScale);
    product = p;
    // Of a row that sees nothing, and of a slope that is NaN where there is no weight.
    if (lse2 == -__int_as_float(0x7f800000) || p == 0) product = dp = 0;
    else dp = p * (dp - delta) * slope;
    return;
  }
  if (kCap != 0) {
    float x = tanh_fast(product * kCapSlope);
    p = exp2_fast(x * (kCap * kLog2e) - lse2);
    slope = 1 - x * x;
  } else {
    p = exp2_fast(product * (kScale * kLog2e) - lse2);
  }
  product = p;
  dp = p * (dp - delta) * slope;
}
)cuda";

constexpr std::string_view kKeySide = R"cuda(
struct Step {  // a tile of queries
  int head, query;
};

extern "C" __global__ void __launch_bounds__(kThreads, kBlocksAnSm)
fusec_attention_dkv(const unsigned short* __restrict__ d_o, const unsigned short* __restrict__ q,
                    const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
                    const float* __restrict__ lse, const float* __restrict__ delta,
                    unsigned short* __restrict__ dk, unsigned short* __restrict__ dv,
                    float* __restrict__ sums, int t, int s_length, const int* __restrict__ cu,
                    int docs, const int* __restrict__ prefix,
                    const unsigned char* __restrict__ mask_tiles, int tiles,
                    const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  // K; V; two of Q; two of dO; with kSums, two of dS^T.
  extern __shared__ __align__(128) unsigned char shared[];
  [[maybe_unused]] const hook::Captured captured = HOOK_CAPTURED;
  __shared__ Range ranges[kRanges ? kRows : 1];
  // After the tiles: [stage][lse, delta][kColumns] floats.
  constexpr int kGradients = 2 * kRowBytes + 4 * kStepBytes;
  constexpr int kData = kGradients + (kSums ? 2 * kGradientBytes : 0);
  const float* row_data = (const float*)(shared + kData);
  const int tile = blockIdx.x % tiles, kv_head = blockIdx.x / tiles % kKv;
  const int item = blockIdx.x / tiles / kKv;
  const int row = tile * kRows, last = min(row + kRows, s_length) - 1;
  constexpr int q_stride = kH * kD, k_stride = kKv * kD;
  const long long k_at = ((long long)item * s_length * kKv + kv_head) * kD;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  // Queries [all.low, all.high) see some key, [whole.low, whole.high) all of them.
  Range all, whole;
  if (kRanges) {
    for (int i = threadIdx.x; i < kRows; i += kThreads)
      ranges[i] = queries_of(row + i, item, t, s_length, cu, docs, prefix);
    __syncthreads();
    join_ranges(ranges, last - row + 1, all, whole);
  } else {
    all = {queries_of(row, t, s_length, cu, docs).low, t};
    whole = {queries_of(last, t, s_length, cu, docs).low, t};
  }
  if (kHookMasks || kSums) all.low -= all.low % kColumns;
  // Score gradients of keys beyond the last are operands of dq: they must be zeros.
  if (kSums && row + kRows > s_length) whole.high = 0;

  const unsigned k_tile = shared_address(shared), v_tile = k_tile + kRowBytes;
  const unsigned q_tile = v_tile + kRowBytes, d_tile = q_tile + 2 * kStepBytes;
  const unsigned ds_tile = k_tile + kGradients, data_tile = k_tile + kData;

  float dk_sums[kD / 8][4], dv_sums[kD / 8][4];
  if (kDk) clear(dk_sums);
  if (kDv) clear(dv_sums);

  // One walk over the queries of all heads of the group.
  const int heads_end = all.low < all.high ? (kv_head + 1) * (kH / kKv) : 0;
  auto after = [&](Step n) {
    n.query += kColumns;
    return n.query < all.high ? n : Step{n.head + 1, all.low};
  };
  // What the mask leaves of the tile of these keys and the queries of a step.
  auto tile_kind = [&](Step n) {
    return mask_tiles[mask_tile(item, n.head, n.query, row, t, s_length)];
  };
  auto seen_from = [&](Step n) {  // the first step from n on in which something is seen
    while (kHookMasks && n.head < heads_end && tile_kind(n) == kHidden) n = after(n);
    return n;
  };
  auto copy_step = [&](Step n, unsigned stage) {
    const long long q_at = ((long long)item * t * kH + n.head) * kD;
    const long long data_at = ((long long)item * kH + n.head) * t + n.query;
    load_tile<kColumns, kThreads>(q_tile + stage * kStepBytes, q + q_at, q_stride, n.query,
                                  all.high);
    load_tile<kColumns, kThreads>(d_tile + stage * kStepBytes, d_o + q_at, q_stride, n.query,
                                  all.high);
    for (int i = threadIdx.x; i < 2 * kColumns; i += kThreads) {
      int c = i % kColumns;
      copy4(data_tile + (stage * 2 * kColumns + i) * 4,
            (i < kColumns ? lse : delta) + data_at + c, n.query + c < all.high);
    }
    commit_copies();
  };
  // dq of a step, whose score gradients all warps have written.
  auto add_step = [&](Step n, unsigned stage, Lanes lanes) {
    const int query_tiles = (t + kColumns - 1) / kColumns;
    const long long tile = ((long long)item * kH + n.head) * query_tiles + n.query / kColumns;
    add_query_sums(sums + tile * kSumsTile, ds_tile + stage * kGradientBytes, k_tile, lanes, warp,
                   lane);
  };
  const Step first_step = seen_from({kv_head * (kH / kKv), all.low});
  if (first_step.head < heads_end) {
    load_tile<kRows, kThreads>(k_tile, k + k_at, k_stride, row, s_length);
    if (kDk) load_tile<kRows, kThreads>(v_tile, v + k_at, k_stride, row, s_length);
    copy_step(first_step, 0);
  }
  unsigned stage = 0;
  Step before = {-1, 0};  // the step whose dq is not added yet
  for (Step n = first_step, next; n.head < heads_end; n = next, stage ^= 1) {
    next = seen_from(after(n));
    wait_copies<0>();
    __syncthreads();  // all copies are here, and nobody reads the other stage any more
    if (next.head < heads_end) copy_step(next, stage ^ 1);
    const Lanes lanes = lanes_of(opaque(lane));
    if (kSums && before.head >= 0) add_step(before, stage ^ 1, lanes);
    before = n;
    const unsigned q_now = q_tile + stage * kStepBytes, d_now = d_tile + stage * kStepBytes;

    float p[kColumns / 8][4], ds[kColumns / 8][4];
    clear(p);
    clear(ds);
    add_products(p, k_tile + warp * (16 * 128), q_now, lanes);
    if (kDk) add_products(ds, v_tile + warp * (16 * 128), d_now, lanes);
    const int query = n.query;
    // Positions of rows and columns beyond the last are those of the last.
    auto place = [&](int j, int e) {
      int r = row + warp * 16 + e / 2 * 8 + lane / 4, c = query + 8 * j + 2 * (lane & 3) + e % 2;
      return hook::Place{item, n.head, min(c, t - 1), min(r, s_length - 1)};
    };
    const float* data = row_data + 2 * stage * kColumns + 2 * (lane & 3);
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j) {
      const float2 lses = *(const float2*)(data + 8 * j);
      const float2 deltas = *(const float2*)(data + kColumns + 8 * j);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        gradient(p[j][e], ds[j][e], (e & 1 ? lses.y : lses.x) * kLog2e,
                 e & 1 ? deltas.y : deltas.x, captured, [&] { return place(j, e); });
    }
    if (kHookMasks && tile_kind(n) != kWhole) {
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (!hook::seen(captured, place(j, e))) p[j][e] = 0, ds[j][e] = 0;
    }
    if (query < whole.low || query + kColumns > whole.high) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int r = warp * 16 + half * 8 + lane / 4;
        Range seen = kRanges ? ranges[r] : queries_of(row + r, t, s_length, cu, docs);
        int mine = query + 2 * (lane & 3), low = seen.low - mine, high = seen.high - mine;
#pragma unroll
        for (int j = 0; j < kColumns / 8; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if (8 * j + e < low || 8 * j + e >= high)
              p[j][2 * half + e] = 0, ds[j][2 * half + e] = 0;
      }
    }
    if (kSums) store_gradients(shared + kGradients + stage * kGradientBytes, ds, warp, lane);
    if (kDv) add_weighted(dv_sums, p, d_now, lanes);
    if (kDk) add_weighted(dk_sums, ds, q_now, lanes);
  }
  if (kSums && before.head >= 0) {
    __syncthreads();
    add_step(before, stage ^ 1, lanes_of(lane));
  }

  // Through the rows of V, which no other warp reads.
  const int first = row + warp * 16;
  const long long to = k_at + (long long)first * k_stride;
  if (kDk)
    write_tile<kRows>(shared + kRowBytes, warp * 16, dk_sums, kScale, kScale, dk + to, k_stride,
                      s_length - first);
  if (kDv)
    write_tile<kRows>(shared + kRowBytes, warp * 16, dv_sums, 1, 1, dv + to, k_stride,
                      s_length - first);
}
)cuda";

constexpr std::string_view kQuerySide = R"cuda(
extern "C" __global__ void __launch_bounds__(kThreads, kBlocksAnSm)
fusec_attention_dq(const unsigned short* __restrict__ d_o, const unsigned short* __restrict__ q,
                   const unsigned short* __restrict__ k, const unsigned short* __restrict__ v,
                   const float* __restrict__ lse, const float* __restrict__ delta,
                   unsigned short* __restrict__ dq, int t, int s_length,
                   const int* __restrict__ cu, int docs, const int* __restrict__ prefix,
                   const unsigned char* __restrict__ mask_tiles, int tiles,
                   const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  extern __shared__ __align__(128) unsigned char shared[];  // Q; dO; two of K; two of V
  __shared__ Range ranges[kRanges ? kRows : 1], prefixes[kPrefix ? kRows : 1];
  [[maybe_unused]] const hook::Captured captured = HOOK_CAPTURED;
  // Causal tiles grow with their number: the longest first.
  int tile = blockIdx.x % tiles, head = blockIdx.x / tiles % kH, item = blockIdx.x / tiles / kH;
  if (kCausal) tile = tiles - 1 - tile;
  const int row = tile * kRows, last = min(row + kRows, t) - 1;
  constexpr int q_stride = kH * kD, k_stride = kKv * kD;
  const long long q_at = ((long long)item * t * kH + head) * kD;
  const long long k_at = ((long long)item * s_length * kKv + head / (kH / kKv)) * kD;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;

  Walk walk;
  if (kRanges) {
    for (int i = threadIdx.x; i < kRows; i += kThreads) {
      ranges[i] = keys_of(row + i, t, s_length, cu, docs);
      if (kPrefix)
        prefixes[i] = row + i < t ? prefix_of(row + i, item, t, s_length, cu, docs, prefix)
                                  : Range{0, 0};
    }
    __syncthreads();
    walk.join(ranges, prefixes, last - row + 1, kColumns);
  } else {
    walk.all = {0, keys_of(last, t, s_length, cu, docs).high};
    walk.whole = {0, keys_of(row, t, s_length, cu, docs).high};
  }
  const Range all = walk.all;
  // What the mask leaves of the tile of these queries and the keys from `key` on.
  auto tile_kind = [&](int key) {
    return mask_tiles[mask_tile(item, head, row, key, t, s_length)];
  };
  const int first_key = walk.next(all.low, kColumns, tile_kind);

  const unsigned q_tile = shared_address(shared), d_tile = q_tile + kRowBytes;
  const unsigned k_tile = d_tile + kRowBytes, v_tile = k_tile + 2 * kStepBytes;
  float lse2[2], shift[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int r = row + warp * 16 + half * 8 + lane / 4;
    long long at = ((long long)item * kH + head) * t + r;
    lse2[half] = r < t ? lse[at] * kLog2e : 0.0f;
    shift[half] = r < t ? delta[at] : 0.0f;
  }
  float sums[kD / 8][4];
  clear(sums);

  if (first_key < all.high) {
    load_tile<kRows, kThreads>(q_tile, q + q_at, q_stride, row, t);
    load_tile<kRows, kThreads>(d_tile, d_o + q_at, q_stride, row, t);
    load_tile<kColumns, kThreads>(k_tile, k + k_at, k_stride, first_key, all.high);
    load_tile<kColumns, kThreads>(v_tile, v + k_at, k_stride, first_key, all.high);
    commit_copies();
  }
  unsigned stage = 0;
  for (int key = first_key, next; key < all.high; key = next, stage ^= 1) {
    next = walk.next(key + kColumns, kColumns, tile_kind);
    wait_copies<0>();
    __syncthreads();  // all copies are here, and nobody reads the other stage any more
    if (next < all.high) {
      unsigned other = (stage ^ 1) * kStepBytes;
      load_tile<kColumns, kThreads>(k_tile + other, k + k_at, k_stride, next, all.high);
      load_tile<kColumns, kThreads>(v_tile + other, v + k_at, k_stride, next, all.high);
      commit_copies();
    }
    const Lanes lanes = lanes_of(opaque(lane));
    const unsigned k_now = k_tile + stage * kStepBytes, v_now = v_tile + stage * kStepBytes;

    float p[kColumns / 8][4], ds[kColumns / 8][4];
    clear(p);
    clear(ds);
    add_products(p, q_tile + warp * (16 * 128), k_now, lanes);
    add_products(ds, d_tile + warp * (16 * 128), v_now, lanes);
    // Positions of rows and columns beyond the last are those of the last.
    auto place = [&](int j, int e) {
      int r = row + warp * 16 + e / 2 * 8 + lane / 4, c = key + 8 * j + 2 * (lane & 3) + e % 2;
      return hook::Place{item, head, min(r, t - 1), min(c, s_length - 1)};
    };
#pragma unroll
    for (int j = 0; j < kColumns / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        gradient(p[j][e], ds[j][e], lse2[e / 2], shift[e / 2], captured,
                 [&] { return place(j, e); });
    if (kHookMasks && tile_kind(key) != kWhole) {
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          if (!hook::seen(captured, place(j, e))) ds[j][e] = 0;
    }
    if (walk.partial(key, kColumns)) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        int r = warp * 16 + half * 8 + lane / 4;
        Range seen = kRanges ? ranges[r] : keys_of(row + r, t, s_length, cu, docs);
        int mine = key + 2 * (lane & 3), low = seen.low - mine, high = seen.high - mine;
        const Range before = kPrefix ? prefixes[r] : Range{0, 0};
        int from = before.low - mine, to = before.high - mine;
#pragma unroll
        for (int j = 0; j < kColumns / 8; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if (((kRanges && 8 * j + e < low) || 8 * j + e >= high) &&
                !(kPrefix && 8 * j + e >= from && 8 * j + e < to))
              ds[j][2 * half + e] = 0;
      }
    }
    add_weighted(sums, ds, k_now, lanes);
  }
  const int first = row + warp * 16;
  write_tile<kRows>(shared, warp * 16, sums, kScale, kScale,
                    dq + q_at + (long long)first * q_stride, q_stride, t - first);
}
)cuda";

struct Tiles {
  int64_t warps, columns;
  bool sums;  // of dq, by the dk, dv kernel

  int64_t shared(const Attention& a) const {
    return (32 * warps + 4 * columns) * 128 * ((a.d + 63) / 64) + 16 * columns +
           (sums ? 2 * 16 * warps * 128 : 0);
  }
  int64_t block(const Attention& a) const {  // with ranges, and what the driver keeps
    return shared(a) + (a.ranged() ? 16 * (16 * warps) : 0) + 1024;
  }
};

// Eight warps share a step where their tiles fit; heads of up to 64 rather leave room for two
// blocks. Where the tiles of four do not fit, steps are shorter.
Tiles choose_tiles(const Attention& a, const CallTarget& target, bool sums) {
  auto fits = [&](const Tiles& x) { return x.block(a) <= target.shared_per_block; };
  // With ranges of two ends, 64 do not fit the registers of a thread beyond heads of 64; beyond 128
  // they never do.
  int64_t columns = a.d > 128 ? 32 : a.ranged() && a.d > 64 ? 48 : 64;
  if (a.hooked()) columns = a.d > 64 ? 32 : 64;  // its mask is listed by tiles of 64
  Tiles x{4, columns, sums};
  if (!a.hooked() && (a.d > 64 || 2 * x.block(a) > target.shared_per_block + 1024)) {
    for (const int64_t fewer : {columns, a.d > 64 ? columns : int64_t{48}})
      if (const Tiles eight{8, fewer, sums}; fits(eight)) return eight;
  }
  for (const int64_t fewer : {48, 32, 16})
    if (!fits(x) && fewer < columns && !(a.hooked() && fewer == 48)) x.columns = fewer;
  return x;
}

Tiles choose_tiles(const Attention& a, const CallTarget& target) {
  if (!target.deterministic && a.d <= kMostOfSums) {
    const Tiles x = choose_tiles(a, target, true);
    if (x.block(a) <= target.shared_per_block) return x;
  }
  return choose_tiles(a, target, false);
}

}  // namespace

CallPlan mma_attention_grad(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  const Tiles chosen = choose_tiles(a, target);
  const int64_t warps = chosen.warps, columns = chosen.columns, rows = 16 * warps;
  const bool sums = chosen.sums;
  int64_t team = 2;
  while (team < a.d / 8) team *= 2;

  Constants constants = attention_constants(a, "call: attention_grad on tensor cores (mma.sync)");
  constants.integer("kWarps", warps)
      .integer("kColumns", columns)
      .integer("kBlocksAnSm", warps == 8 ? 1 : 2)
      .integer("kTeam", team)
      .integer("kSums", sums)
      .real("kCapSlope", a.softcap == 0 ? 0 : a.scale / a.softcap);
  std::string text = constants.text() + std::string(kPrelude) + std::string(kTensorInstructions) +
                     std::string(a.type == bf16 ? kBf16Instructions : kF16Instructions) +
                     std::string(a.type == bf16 ? kBf16Mma : kF16Mma) + std::string(kRangeText) +
                     hook_text(a) + std::string(kTensorTiles) + std::string(kTanh) +
                     std::string(kWalkText) + std::string(kShared);

  CallPlan plan;
  const LaunchArg mask_tiles = list_mask_tiles(a, call, plan);
  int64_t query_rows = a.b * a.h * a.t;
  LaunchArg delta = workspace(take(plan.workspace, query_rows * 4));
  auto launch = [&](const char* entry, const std::string& kernel, int64_t blocks, int64_t threads,
                    int64_t bytes, std::vector<LaunchArg> args, int64_t tiles) {
    if (blocks == 0) return;
    if (tiles > 0) {
      for (const LaunchArg& x : mask_arguments(a, a.cu_seqlens)) args.push_back(x);
      for (const LaunchArg& x : {argument(a.prefix), mask_tiles, i32_value(tiles), skip()})
        args.push_back(x);
      append_captured(a, args);
    }
    plan.launches.push_back({text + kernel,
                             entry,
                             {blocks_for(call, blocks, 1), 1, 1},
                             {static_cast<unsigned>(threads), 1, 1},
                             bytes,
                             std::move(args)});
  };
  // The sums of dq are tiles of `columns` queries, the last of each head padded.
  const int64_t query_tiles = (a.t + columns - 1) / columns,
                padded = sums ? query_tiles * columns : a.t;
  const int64_t padded_rows = a.b * a.h * padded;
  LaunchArg dq_sums = sums ? workspace(take(plan.workspace, padded_rows * a.d * 4)) : delta;
  launch("fusec_attention_delta", std::string(kMmaDelta), (padded_rows * team + 127) / 128, 128, 0,
         {argument(0), argument(4), delta, dq_sums, i64_value(padded_rows), i32_value(a.t),
          i32_value(padded), skip()},
         0);
  int64_t tiles = (a.s + rows - 1) / rows;
  const bool both = a.d <= kMostOfBoth;
  for (const bool dk : {true, false}) {
    if (both && !dk) continue;
    const std::string which = std::string("constexpr bool kDk = ") + (dk ? "true" : "false") +
                              ", kDv = " + (both || !dk ? "true" : "false") + ";\n";
    launch("fusec_attention_dkv",
           which + std::string(kSumInstructions) + std::string(kMmaSums) + std::string(kKeySide),
           a.b * a.kv * tiles, 32 * warps, chosen.shared(a),
           {argument(0), argument(1), argument(2), argument(3), argument(5), delta, argument(7),
            argument(8), dq_sums},
           tiles);
  }
  if (sums) {
    launch("fusec_attention_dq", std::string(kSumInstructions) + std::string(kMmaRound),
           a.b * a.h * query_tiles, 256, 0,
           {dq_sums, argument(6), i32_value(a.t), i32_value(query_tiles), skip()}, 0);
  } else {
    tiles = (a.t + rows - 1) / rows;
    launch("fusec_attention_dq", std::string(kQuerySide), a.b * a.h * tiles, 32 * warps,
           chosen.shared(a),
           {argument(0), argument(1), argument(2), argument(3), argument(5), delta, argument(6)},
           tiles);
  }
  append_sink_gradient(a, call, delta, plan);
  append_captured_gradients(a, call, delta, plan);
  return plan;
}

}  // namespace fusec::cuda
