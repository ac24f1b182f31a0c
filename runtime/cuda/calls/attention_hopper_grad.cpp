// attention_grad on sm_90a, for what attention_hopper.cpp takes in heads of 64 to 128: after
// FlashAttention-3 (Shah et al., 2024). Three kernels:
//  - ranges, for documents, windows and unequal lengths: which queries see each key, and each tile
//    of keys.
//  - delta: rowsum(d_o * o), lse in base 2, zeros for the sums of dq.
//  - dkv: a block owns 128 keys of a head, each of two warpgroups 64 of them, and walks over the
//    tiles of queries that see them, of every head of the group. Scores are computed transposed
//    (keys x queries), so that weights and score gradients are operand A of dv and dk as they lie
//    in registers; score gradients go through shared memory once, for dq:
//      S^T = K Q^T, dP^T = V dO^T, dV += P^T dO, dK += dS^T Q, dQ += dS K
//    Sums of dq are added to f32 ones of the workspace, in the order of accumulators.
//  - dq: these sums, scaled, to their type and place.
// Blocks add in any order, so dq may differ in its last bits from run to run. Where that must not
// be, they take turns (kOrder).
// Where queries fill no tile, rows beyond the end read as zeros and have an lse of +inf, that is
// weights of 0, as have queries that see no key. Keys beyond the end are hidden by their mask.
#include <algorithm>

#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kDelta = R"cuda(
// lse2, delta [b, h, padded] of [b, t, h] rows; kTeam threads a row, 16 bytes each of the first.
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_delta(const uint4* __restrict__ d_o, const uint4* __restrict__ o,
                      const float* __restrict__ lse, float* __restrict__ lse2,
                      float* __restrict__ delta, float4* __restrict__ sums,
                      unsigned* __restrict__ turns, long long rows, int t, int padded,
                      const unsigned* skip) {
  if (stopped(skip)) return;
  constexpr int kPieces = kD / 8;
  const long long row = (blockIdx.x * 128ll + threadIdx.x) / kTeam;
  const int piece = threadIdx.x % kTeam, head = row % kH, token = row / kH % padded;
  const long long item = row / kH / padded;
  const bool real = row < rows && token < t;
  float total = 0;
  if (real && piece < kPieces) {
    const long long at = ((item * t + token) * kH + head) * kPieces + piece;
    uint4 x = d_o[at], y = o[at];
    unsigned a[4] = {x.x, x.y, x.z, x.w}, b[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int e = 0; e < 4; ++e)
      total += half_value(a[e] & 0xffff) * half_value(b[e] & 0xffff) +
               half_value(a[e] >> 16) * half_value(b[e] >> 16);
  }
#pragma unroll
  for (int d = kTeam / 2; d > 0; d /= 2) total += __shfl_xor_sync(~0u, total, d);
  if (row >= rows || piece >= kPieces) return;
  if (piece == 0) {
    const long long at = (item * kH + head) * padded + token;
    const float infinite = __int_as_float(0x7f800000);
    const float given = real ? lse[(item * kH + head) * t + token] : infinite;
    delta[at] = total;
    lse2[at] = given == -infinite ? infinite : given * kLog2e;
    if (kOrder && token % kQueries == 0) turns[at / kQueries] = 0;
  }
  const float4 zero = {0, 0, 0, 0};
  sums[row * (kD / 4) + 2 * piece] = zero;
  sums[row * (kD / 4) + 2 * piece + 1] = zero;
}
)cuda";

constexpr std::string_view kMain = R"cuda(
constexpr int kKeys = 128, kKeyPanel = kKeys * 128, kQueryPanel = kQueries * 128;
constexpr int kKeyTile = kKeyPanel * kPanels, kQueryTile = kQueryPanel * kPanels;
constexpr int kHalfPanel = 64 * 128;
// Of a tile of dq, the first warpgroup computes 64 rows of 64 columns, the second those of the
// other 64 rows or, in tiles of 64, the other columns.
constexpr int kSumsTile = kQueries * kD, kFirstSums = 64 * 64;  // floats, and the first's of them
constexpr int kOtherColumns = kWholePanels ? 64 : kD % 64;
constexpr int kGroup = kH / kKv;
constexpr bool kMoreRegisters = kCap != 0 || kOrder != 0;  // of products, of copies fewer

// 128 keys of a head, and the tiles of queries [begin, end) that see them; the queries of `whole`
// see all of them.
struct Place {
  int row, head, item, begin, end;
  Range whole;
};
DEV Place place_of(int block, int tiles, int items, int t, const int4* listed) {
  int section = block / (kSection * tiles), rest = block - section * (kSection * tiles);
  int heads = min(kKv * items - section * kSection, kSection);
  int n = rest / heads, head = section * kSection + rest % heads;
  if (kOrder == kFalling) n = tiles - 1 - n;
  Place p = {n * kKeys, head % kKv, head / kKv, 0, (t + kQueries - 1) / kQueries, {0, 0}};
  if (kListed) {
    const int4 x = listed[n];
    p.begin = x.x / kQueries;
    p.end = max((x.y + kQueries - 1) / kQueries, p.begin);
    p.whole = {x.z, x.w};
  } else if (kCausal) {
    p.begin = n * kKeys / kQueries;
  }
  return p;
}

struct Shared {
  unsigned char k[kKeyTile], v[kKeyTile], q[2][kQueryTile], d[2][kQueryTile];
  unsigned char ds[2][kQueries * kKeys * 2];
  float lse2[2][kQueries], delta[2][kQueries];
  unsigned long long kv_full, q_full[2], q_empty[2], d_full[2], d_empty[2];
  unsigned long long turn[2], added[2], taken[2];  // of adding to a tile of dq
};

// The x-th tile of a walk over the queries: from the last down where turns are of rising keys.
DEV int walked(const Place& p, int x) {
  return kOrder == kRising ? p.end - 1 - x : p.begin + x;
}

DEV void copy_tiles(Shared& s, const Place& p, const TensorMap& q_map, const TensorMap& k_map,
                    const TensorMap& v_map, const TensorMap& d_map, const float* lse2,
                    const float* delta, int padded) {
  barrier_expect(&s.kv_full, 2 * kKeyTile);
  load_tile<kKeys>(s.k, k_map, &s.kv_full, p.row, p.head, p.item);
  load_tile<kKeys>(s.v, v_map, &s.kv_full, p.row, p.head, p.item);
  const int steps = (p.end - p.begin) * kGroup;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    const int stage = i & 1, parity = (i >> 1 & 1) ^ 1, m = walked(p, i / kGroup);
    const int head = p.head * kGroup + i % kGroup;
    const long long at = ((long long)p.item * kH + head) * padded + m * kQueries;
    barrier_wait(&s.q_empty[stage], parity);
    barrier_expect(&s.q_full[stage], kQueryTile + kQueries * 4);
    load_tile<kQueries>(s.q[stage], q_map, &s.q_full[stage], m * kQueries, head, p.item);
    load_bytes(s.lse2[stage], lse2 + at, &s.q_full[stage], kQueries * 4);
    barrier_wait(&s.d_empty[stage], parity);
    barrier_expect(&s.d_full[stage], kQueryTile + kQueries * 4);
    load_tile<kQueries>(s.d[stage], d_map, &s.d_full[stage], m * kQueries, head, p.item);
    load_bytes(s.delta[stage], delta + at, &s.d_full[stage], kQueries * 4);
  }
}

// In an order, blocks take turns at adding to a tile of dq: by rising keys, or by falling ones.
// turns [b, h, padded / kQueries] holds the place, from 1, of the tile of keys that added last.
// Blocks start in that order, so each waits only for some that run. Ranges of queries rise with the
// keys: queries not seen by the tile whose turn is before this one's are seen by none before.
struct Turn {
  int place;       // of this tile of keys, from 0
  int begin, end;  // tiles of queries for which it has to wait
};
DEV Turn turn_of(const Place& p, int tiles, const int4* listed) {
  const int n = p.row / kKeys, before = kOrder == kRising ? n - 1 : n + 1;
  Turn turn = {kOrder == kRising ? n : tiles - 1 - n, 0, 0};
  if (turn.place == 0) return turn;
  if (kListed) {
    const int4 x = listed[before];
    turn.begin = x.x / kQueries, turn.end = (x.y + kQueries - 1) / kQueries;
  } else {
    turn.begin = kCausal ? before * kKeys / kQueries : 0, turn.end = p.end;
  }
  return turn;
}

// The word of step i in turns.
DEV long long turn_at(const Place& p, int i, int padded) {
  const long long head = (long long)p.item * kH + p.head * kGroup + i % kGroup;
  return head * (padded / kQueries) + walked(p, i / kGroup);
}
// A warp waits for the turns of a block, another passes them on.
DEV void await_turns(Shared& s, const Place& p, const Turn& turn, const unsigned* turns,
                     int padded) {
  const int steps = (p.end - p.begin) * kGroup;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    const int m = walked(p, i / kGroup);
    barrier_wait(&s.taken[i & 1], (i >> 1 & 1) ^ 1);
    if (m >= turn.begin && m < turn.end) await_at_least(turns + turn_at(p, i, padded), turn.place);
    barrier_arrive(&s.turn[i & 1]);
  }
}
DEV void pass_turns(Shared& s, const Place& p, const Turn& turn, unsigned* turns, int padded) {
  const int steps = (p.end - p.begin) * kGroup;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    barrier_wait(&s.added[i & 1], i >> 1 & 1);
    barrier_arrive(&s.taken[i & 1]);
    raise_to(turns + turn_at(p, i, padded), turn.place + 1);
  }
}

// c = rows of a * b^T, both summed over heads' columns.
DEV void start_products(float (&c)[kQueries / 2], unsigned long long a, unsigned long long b) {
  begin_products();
  touched(c);
#pragma unroll
  for (int x = 0; x < kD / 16; ++x)
    multiply(c, a + k_step<kKeys>(x), b + k_step<kQueries>(x), x > 0);
  commit_products();
}

// sums += weights * b.
DEV void start_sums(float (&sums)[kD / 2], const unsigned (&weights)[kQueries / 4],
                    unsigned long long b) {
  begin_products();
  touched(sums);
#pragma unroll
  for (int x = 0; x < kQueries / 16; ++x)
    multiply_weights(sums, weights + 4 * x, b + x * kRowsStep, 1);
  commit_products();
}

// Score gradients of 64 keys to shared memory, queries as rows.
DEV void store_transposed(unsigned to, const unsigned (&ds)[kQueries / 4]) {
  int lane = threadIdx.x % 32, piece = threadIdx.x % 128 / 32 * 2 + (lane >> 3 & 1);
#pragma unroll
  for (int j = 0; j < kQueries / 8; j += 2) {
    int query = 8 * (j + (lane >> 4)) + (lane & 7);
    unsigned address = to + query * 128 + ((piece ^ (query & 7)) << 4);
    store_matrix_trans(address, ds[2 * j], ds[2 * j + 1], ds[2 * j + 2], ds[2 * j + 3]);
  }
}

// COLUMNS: of dq, that this warpgroup computes.
template <int COLUMNS>
DEV void differentiate(Shared& s, const TensorMap& dk_map, const TensorMap& dv_map, float* sums,
                       int group, int tiles, int items, int t, const int2* ranges,
                       const int4* listed) {
  const int lane = threadIdx.x % 32, thread = threadIdx.x % 128;
  const Place p = place_of(blockIdx.x, tiles, items, t, listed);
  float dk[kD / 2], dv[kD / 2];
#pragma unroll
  for (int i = 0; i < kD / 2; ++i) dk[i] = dv[i] = 0;
  const unsigned long long k = operand(shared_address(s.k) + group * kHalfPanel, 16);
  const unsigned long long v = operand(shared_address(s.v) + group * kHalfPanel, 16);
  const int key = p.row + group * 64 + thread / 32 * 16 + lane / 4;  // and key + 8
  barrier_wait(&s.kv_full, 0);

  // Of this thread's sums of dq.
  const long long head_sums = (long long)((t + kQueries - 1) / kQueries) * kSumsTile;
  float* to = sums + (p.item * kH + p.head * kGroup) * head_sums +
              (long long)walked(p, 0) * kSumsTile + group * kFirstSums + thread * 4;
  auto step = [&](int i, int m) {
    const int stage = i & 1, parity = i >> 1 & 1;
    const unsigned q_tile = shared_address(s.q[stage]), d_tile = shared_address(s.d[stage]);
    float scores[kQueries / 2], dp[kQueries / 2];
    unsigned weights[kQueries / 4], ds[kQueries / 4];
    barrier_wait(&s.q_full[stage], parity);
    start_products(scores, k, operand(q_tile, 16));
    barrier_wait(&s.d_full[stage], parity);
    start_products(dp, v, operand(d_tile, 16));
    wait_products<1>();
    touched(scores);
    if (kCap != 0) {
#pragma unroll
      for (int e = 0; e < kQueries / 2; ++e) scores[e] = tanh_fast(scores[e] * kCapSlope);
    }
    const int query = m * kQueries + (lane & 3) * 2;
    if (kListed && (m * kQueries < p.whole.low || m * kQueries + kQueries > p.whole.high)) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int2 seeing = ranges[opaque(key) + 8 * half];  // queries, the key
        const int low = seeing.x - query, high = seeing.y - query;
#pragma unroll
        for (int j = 0; j < kQueries / 8; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e)
            if (8 * j + e < low || 8 * j + e >= high) scores[4 * j + 2 * half + e] = kHidden;
      }
    }
    if (!kListed && kCausal && m * kQueries < p.row + kKeys) {
      const int low = key - query, high = low + 8;  // the first queries that see the two keys
#pragma unroll
      for (int e = 0; e < kQueries / 2; ++e)
        if ((e / 4) * 8 + (e & 1) < (e & 2 ? high : low)) scores[e] = kHidden;
    }
#pragma unroll
    for (int j = 0; j < kQueries / 8; ++j) {
      const float2 lse2 = *(const float2*)&s.lse2[stage][8 * j + (lane & 3) * 2];
      float* x = scores + 4 * j;
      float w[4];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        w[e] = exp2_fast(x[e] * kExponent - (e & 1 ? lse2.y : lse2.x));
        x[e] = weight_slope(w[e], x[e]);
      }
      weights[2 * j] = pack(w[0], w[1]);
      weights[2 * j + 1] = pack(w[2], w[3]);
    }
    wait_products<0>();
    touched(dp);
#pragma unroll
    for (int j = 0; j < kQueries / 8; ++j) {
      const float2 delta = *(const float2*)&s.delta[stage][8 * j + (lane & 3) * 2];
      const float* x = scores + 4 * j;
      const float* y = dp + 4 * j;
      ds[2 * j] = pack(x[0] * (y[0] - delta.x), x[1] * (y[1] - delta.y));
      ds[2 * j + 1] = pack(x[2] * (y[2] - delta.x), x[3] * (y[3] - delta.y));
    }
    const unsigned ds_tile = shared_address(s.ds[stage]);
    store_transposed(ds_tile + group * kQueryPanel, ds);
    start_sums(dv, weights, operand(d_tile, kQueryPanel));
    publish_shared();
    meet(1, 256);  // the other stage is free by then, too: dq of the last step is done
    float dq[COLUMNS / 2];
    touched(dq);
    begin_products();
    const unsigned long long a = operand(ds_tile + (kPanels == 1 ? group * kHalfPanel : 0), 16);
    const unsigned long long b =
        operand(shared_address(s.k) + (kPanels == 1 ? 0 : group * kKeyPanel), kKeyPanel);
#pragma unroll
    for (int x = 0; x < kKeys / 16; ++x)
      multiply_by_rows(dq, a + k_step<kQueries>(x), b + x * kRowsStep, x > 0);
    commit_products();
    wait_products<1>();
    touched(dv);
    release(&s.d_empty[stage]);
    start_sums(dk, ds, operand(q_tile, kQueryPanel));
    wait_products<1>();
    touched(dq);
    if (kOrder) barrier_wait(&s.turn[stage], parity);
#pragma unroll
    for (int e = 0; e < COLUMNS / 8; ++e) add4(to + e * 512, dq + 4 * e);
    if (kOrder) release(&s.added[stage]);
    wait_products<0>();
    touched(dk);
    release(&s.q_empty[stage]);
  };
  int i = 0;
#pragma unroll 1
  for (int x = 0; x < p.end - p.begin; ++x) {
    const int m = walked(p, x);
#pragma unroll 1
    for (int member = 0; member < kGroup; ++member, to += head_sums) step(i++, m);
    to += (kOrder == kRising ? -kSumsTile : kSumsTile) - kGroup * head_sums;
  }

  meet(1, 256);  // nobody reads keys and values any more
  const Place end = place_of(opaque(blockIdx.x), tiles, items, t, listed);
  const unsigned dv_tile = shared_address(s.v) + group * kHalfPanel;
  const unsigned dk_tile = shared_address(s.k) + group * kHalfPanel;
  store_accumulators(dv_tile, kKeyPanel, dv, 1, 1);
  store_accumulators(dk_tile, kKeyPanel, dk, kScale, kScale);
  publish_shared();
  meet(2 + group, 128);
  if (thread == 0) {
    store_panels(dv_tile, kKeyPanel, dv_map, end.row + group * 64, end.head, end.item);
    store_panels(dk_tile, kKeyPanel, dk_map, end.row + group * 64, end.head, end.item);
    commit_stores();
    wait_stores();
  }
}

extern "C" __global__ void __launch_bounds__(384, 1)
fusec_attention_dkv(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                    const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap d_o,
                    const __grid_constant__ TensorMap dk, const __grid_constant__ TensorMap dv,
                    const float* __restrict__ lse2, const float* __restrict__ delta,
                    float* __restrict__ sums, unsigned* turns, int t, int padded, int tiles,
                    int items, const int2* __restrict__ ranges,
                    const int4* __restrict__ listed, const unsigned* skip) {
  if (stopped(skip)) return;
  extern __shared__ unsigned char raw[];
  Shared& s = *(Shared*)(raw + (-shared_address(raw) & 1023));  // still known to be shared
  if (threadIdx.x == 0) {
    barrier_init(&s.kv_full, 1);
    for (int i = 0; i < 2; ++i) {
      barrier_init(&s.q_full[i], 1);
      barrier_init(&s.d_full[i], 1);
      barrier_init(&s.q_empty[i], kConsumers);
      barrier_init(&s.d_empty[i], kConsumers);
      barrier_init(&s.turn[i], 1);
      barrier_init(&s.added[i], kConsumers);
      barrier_init(&s.taken[i], 1);
    }
    barriers_ready();
  }
  __syncthreads();
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0);
  if (group == 0) {
    give_registers<kMoreRegisters ? 24 : 40>();
    const Place p = place_of(blockIdx.x, tiles, items, t, listed);
    if (threadIdx.x == 0) copy_tiles(s, p, q, k, v, d_o, lse2, delta, padded);
    if (kOrder && threadIdx.x == 32)
      await_turns(s, p, turn_of(p, tiles, listed), turns, padded);
    if (kOrder && threadIdx.x == 64)
      pass_turns(s, p, turn_of(p, tiles, listed), turns, padded);
  } else {
    take_registers<kMoreRegisters ? 240 : 232>();
    if (kWholePanels || group == 1)
      differentiate<64>(s, dk, dv, sums, group - 1, tiles, items, t, ranges, listed);
    else
      differentiate<kOtherColumns>(s, dk, dv, sums, 1, tiles, items, t, ranges, listed);
  }
}
)cuda";

constexpr std::string_view kRound = R"cuda(
// Sums of dq, as the accumulators of two warpgroups, to rows of dq.
extern "C" __global__ void __launch_bounds__(256)
fusec_attention_dq(const float4* __restrict__ sums, unsigned short* __restrict__ dq, int t,
                   int tiles, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ __align__(16) unsigned tile[kQueries][kD / 2 + 4];
  const int m = blockIdx.x % tiles, head = blockIdx.x / tiles % kH;
  const long long item = blockIdx.x / tiles / kH;
  const int group = threadIdx.x / 128, thread = threadIdx.x % 128, lane = thread % 32;
  const float4* from = sums + (long long)blockIdx.x * (kQueries * kD / 4) + group * 1024;
  const bool rows = kD == 64;  // the second warpgroup has other rows, else other columns
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    if (!rows && group == 1 && 64 + 8 * i >= kD) break;
    const float4 x = from[i * 128 + thread];
    const int row = thread / 32 * 16 + lane / 4 + (rows ? group * 64 : 0);
    const int column = 8 * i + (lane & 3) * 2 + (rows ? 0 : group * 64);
    tile[row][column / 2] = pack(x.x * kScale, x.y * kScale);
    tile[row + 8][column / 2] = pack(x.z * kScale, x.w * kScale);
  }
  __syncthreads();
  constexpr int kPieces = kD / 8;
#pragma unroll
  for (int i = threadIdx.x; i < kQueries * kPieces; i += 256) {
    const int row = i / kPieces, piece = i % kPieces, token = m * kQueries + row;
    if (token < t)
      *(uint4*)(dq + ((item * t + token) * kH + head) * kD + piece * 8) =
          *(const uint4*)&tile[row][piece * 4];
  }
}
)cuda";

}  // namespace

CallPlan hopper_attention_grad(const Attention& a, const LibraryCall& call,
                               const CallTarget& target) {
  constexpr int64_t kKeys = 128, kRising = 1, kFalling = 2;
  constexpr size_t kCuArgument = 9;
  const int64_t queries = a.d == 64 ? 128 : 64, panels = (a.d + 63) / 64;
  const int64_t team = a.d == 64 ? 8 : 16;  // a power of two that holds a row
  const int64_t query_tiles = (a.t + queries - 1) / queries, padded = (a.t + 127) / 128 * 128;
  const int64_t key_tiles = (a.s + kKeys - 1) / kKeys;
  // Blocks of falling keys are ahead of each other by a tile when they start together, and need not
  // wait; but they spread over all queries of the heads at work, which the L2 cache must hold.
  // Where it cannot, those of rising keys walk side by side.
  const bool falling = a.group() * a.d <= 128 && key_tiles <= target.sm_count;
  const int64_t order = !target.deterministic ? 0 : falling ? kFalling : kRising;
  const int64_t section = order == kFalling ? std::max<int64_t>(1, target.sm_count / key_tiles) : 8;
  Constants constants = attention_constants(a, "call: attention_grad on tensor cores (wgmma)");
  constants.integer("kSection", section)
      .integer("kQueries", queries)
      .integer("kTeam", team)
      .integer("kOrder", order)
      .integer("kRising", kRising)
      .integer("kFalling", kFalling)
      .integer("kListed", listed_ranges(a, true));
  hopper_scale(a, constants);
  const std::string head = constants.text() + hopper_text(a, target);

  CallPlan plan;
  const int64_t rows = a.b * a.h * padded;
  LaunchArg lse2 = workspace(take(plan.workspace, rows * 4));
  LaunchArg delta = workspace(take(plan.workspace, rows * 4));
  LaunchArg sums = workspace(take(plan.workspace, rows * a.d * 4));
  LaunchArg turns = workspace(take(plan.workspace, target.deterministic ? rows / queries * 4 : 4));
  LaunchArg key_ranges = sums, key_tile_ranges = sums;  // not read unless listed
  if (listed_ranges(a, true)) {
    key_ranges = workspace(take(plan.workspace, key_tiles * kKeys * 8));
    key_tile_ranges = workspace(take(plan.workspace, key_tiles * 16));
    plan.launches.push_back(
        list_ranges(a, call, true, key_ranges, key_tile_ranges, turns, kCuArgument));
  }
  CallLaunch before, main;
  before.text = constants.text() + std::string(kPrelude) +
                std::string(a.type == bf16 ? kBf16Instructions : kF16Instructions) +
                std::string(kDelta);
  before.entry = "fusec_attention_delta";
  before.grid[0] = blocks_for(call, rows * team, 128);
  before.block[0] = 128;
  before.args = {argument(0),     argument(4),    argument(5),       lse2,  delta, sums, turns,
                 i64_value(rows), i32_value(a.t), i32_value(padded), skip()};
  plan.launches.push_back(before);

  main.text = head + wgmma_text(WgmmaForm::columns, static_cast<int>(queries), a.type) +
              wgmma_text(WgmmaForm::weights, static_cast<int>(a.d), a.type) +
              wgmma_text(WgmmaForm::by_rows, 64, a.type) +
              (a.d % 64 == 0 ? "" : wgmma_text(WgmmaForm::by_rows, a.d % 64, a.type)) +
              std::string(kMain);
  main.entry = "fusec_attention_dkv";
  main.grid[0] = blocks_for(call, a.b * a.kv * key_tiles, 1);
  main.block[0] = 384;
  main.dynamic_shared = (2 * kKeys + 4 * queries) * panels * 128 + 2 * queries * kKeys * 2 +
                        4 * queries * 4 + 128 + 1024;  // tiles, lse2 and delta, barriers, alignment
  main.maps = {attention_map(a, 1, false, queries, panels),
               attention_map(a, 2, true, kKeys, panels),
               attention_map(a, 3, true, kKeys, panels),
               attention_map(a, 0, false, queries, panels),
               attention_map(a, 7, true, 64, 1),
               attention_map(a, 8, true, 64, 1)};
  main.args = {lse2,
               delta,
               sums,
               turns,
               i32_value(a.t),
               i32_value(padded),
               i32_value(key_tiles),
               i32_value(a.b),
               key_ranges,
               key_tile_ranges,
               skip()};
  plan.launches.push_back(main);

  CallLaunch after;
  after.text = constants.text() + std::string(kPrelude) +
               std::string(a.type == bf16 ? kBf16Mma : kF16Mma) + std::string(kRound);
  after.entry = "fusec_attention_dq";
  after.grid[0] = blocks_for(call, a.b * a.h * query_tiles, 1);
  after.block[0] = 256;
  after.args = {sums, argument(6), i32_value(a.t), i32_value(query_tiles), skip()};
  plan.launches.push_back(after);
  return plan;
}

}  // namespace fusec::cuda
