// dq of attention_grad on sm_90a with the same bits in every run: what attention_hopper_grad.cpp
// launches last instead of adding dq atomically. Blocks stay and claim tiles of 128 queries, as the
// forward kernel's do (attention_hopper.cpp); each of two warpgroups owns 64 of them, with dq in
// registers, and walks over 64 keys at a time, from the last down:
//   S = Q K^T, dP = dO V^T, dQ += dS K
// dQ of one step runs on while the next step's products start.
#include <algorithm>

#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kQuerySide = R"cuda(
constexpr int kRows = 128, kKeys = 64;
constexpr int kRowPanel = kRows * 128, kKeyPanel = kKeys * 128, kHalfPanel = 64 * 128;
constexpr int kRowTile = kRows * kD * 2, kKeyTile = kKeys * kD * 2;

struct Shared {
  unsigned char k[2][kKeyTile], v[2][kKeyTile], q[kRowTile], d[kRowTile];
  unsigned long long kv_full[2], kv_empty[2], tile_full[2], tile_empty[2], q_full, q_empty;
  int tiles[2];  // claimed
};

// A tile of queries, and the tiles of keys [first, last] that it sees (at least one, if only to see
// none of it); all queries see the keys of `whole`.
struct Place {
  int row, head, item, first, last;
  Range whole;
};
DEV Place place_of(int tile, int tiles, int items, int s_length, const int4* listed) {
  int m, head;
  if (kCausal) {  // the longest first among kSection heads
    int section = tile / (kSection * tiles), rest = tile - section * (kSection * tiles);
    int heads = min(kH * items - section * kSection, kSection);
    m = tiles - 1 - rest / heads;
    head = section * kSection + rest % heads;
  } else {
    m = tile % tiles;
    head = tile / tiles;
  }
  Place p = {m * kRows, head % kH, head / kH, 0, (s_length + kKeys - 1) / kKeys - 1, {0, 0}};
  if (kListed) {
    const int4 x = listed[m];
    p.first = x.x / kKeys;
    p.last = max((x.y + kKeys - 1) / kKeys - 1, p.first);
    p.whole = {x.z, x.w};
  } else if (kCausal) {
    p.last = min((m + 1) * (kRows / kKeys) - 1, p.last);
  }
  return p;
}

DEV void copy_tiles(Shared& s, const TensorMap& q_map, const TensorMap& k_map,
                    const TensorMap& v_map, const TensorMap& d_map, int tiles, int items,
                    int s_length, int count, const int4* listed, unsigned* counter) {
  int n = 0;  // tiles of keys so far
  for (int tile = blockIdx.x, turn = 0, next; tile < count; tile = next, ++turn) {
    next = gridDim.x + atomicAdd(counter, 1u);
    barrier_wait(&s.tile_empty[turn & 1], (turn >> 1 & 1) ^ 1);
    s.tiles[turn & 1] = next;
    barrier_arrive(&s.tile_full[turn & 1]);

    const Place p = place_of(tile, tiles, items, s_length, listed);
    barrier_wait(&s.q_empty, (turn & 1) ^ 1);
    barrier_expect(&s.q_full, 2 * kRowTile);
    load_box(s.q, q_map, &s.q_full, p.row, p.head, p.item);
    load_box(s.d, d_map, &s.q_full, p.row, p.head, p.item);
    for (int key = p.last; key >= p.first; --key, ++n) {
      const int stage = n & 1, head = p.head / (kH / kKv);
      barrier_wait(&s.kv_empty[stage], (n >> 1 & 1) ^ 1);
      barrier_expect(&s.kv_full[stage], 2 * kKeyTile);
      load_box(s.k[stage], k_map, &s.kv_full[stage], key * kKeys, head, p.item);
      load_box(s.v[stage], v_map, &s.kv_full[stage], key * kKeys, head, p.item);
    }
  }
}

// c = a * b^T, both summed over heads' columns.
DEV void start_products(float (&c)[kKeys / 2], unsigned long long a, unsigned long long b) {
  begin_products();
  touched(c);
#pragma unroll
  for (int x = 0; x < kD / 16; ++x) multiply(c, a + k_step<kRows>(x), b + k_step<kKeys>(x), x > 0);
  commit_products();
}

DEV void differentiate(Shared& s, const TensorMap& dq_map, const float* lse2, const float* delta,
                       int group, int padded, int tiles, int items, int s_length, int count,
                       const int2* ranges, const int4* listed) {
  const int lane = threadIdx.x % 32, thread = threadIdx.x % 128;
  const unsigned q_half = shared_address(s.q) + group * kHalfPanel;
  const unsigned long long q = operand(q_half, 16);
  const unsigned long long d = operand(shared_address(s.d) + group * kHalfPanel, 16);
  int n = 0;  // tiles of keys so far
  for (int tile = blockIdx.x, turn = 0, next; tile < count; tile = next, ++turn) {
    barrier_wait(&s.tile_full[turn & 1], turn >> 1 & 1);
    next = s.tiles[turn & 1];
    release(&s.tile_empty[turn & 1]);
    const Place p = place_of(tile, tiles, items, s_length, listed);
    const int row = p.row + group * 64 + thread / 32 * 16 + lane / 4;  // and row + 8
    const long long at = ((long long)p.item * kH + p.head) * padded + row;
    const float low_lse2 = lse2[at], high_lse2 = lse2[at + 8];
    const float low_delta = delta[at], high_delta = delta[at + 8];
    Range seen[2] = {};
    if (kListed) {
      const int2 low = ranges[row], high = ranges[row + 8];
      seen[0] = {low.x, low.y}, seen[1] = {high.x, high.y};
    }
    float dq[kD / 2];
    unsigned ds[kKeys / 4];
#pragma unroll
    for (int i = 0; i < kD / 2; ++i) dq[i] = 0;
    bool first = true;
    barrier_wait(&s.q_full, turn & 1);

    auto step = [&](int key, bool masked) {
      const int stage = n & 1;
      const unsigned k_tile = shared_address(s.k[stage]), v_tile = shared_address(s.v[stage]);
      float scores[kKeys / 2], dp[kKeys / 2];
      barrier_wait(&s.kv_full[stage], n >> 1 & 1);
      start_products(scores, q, operand(k_tile, 16));
      start_products(dp, d, operand(v_tile, 16));
      wait_products<1>();  // and for dq of the step before
      touched(scores);
      touched(dq);
      if (!first) release(&s.kv_empty[stage ^ 1]);
      first = false;
      if (kCap != 0) {
#pragma unroll
        for (int i = 0; i < kKeys / 2; ++i) scores[i] = tanh_fast(scores[i] * kCapSlope);
      }
      const int column = key * kKeys + (lane & 3) * 2;
      if (kListed && masked) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int low = seen[half].low - column, high = seen[half].high - column;
#pragma unroll
          for (int j = 0; j < kKeys / 8; ++j)
#pragma unroll
            for (int e = 0; e < 2; ++e)
              if (8 * j + e < low || 8 * j + e >= high) scores[4 * j + 2 * half + e] = kHidden;
        }
      }
      if (!kListed && masked) {
#pragma unroll
        for (int i = 0; i < kKeys / 2; ++i)
          if (column + (i / 4) * 8 + (i & 1) > row + (i & 2 ? 8 : 0)) scores[i] = kHidden;
      }
#pragma unroll
      for (int i = 0; i < kKeys / 2; ++i) {
        const float weight = exp2_fast(scores[i] * kExponent - (i & 2 ? high_lse2 : low_lse2));
        scores[i] = weight_slope(weight, scores[i]);
      }
      wait_products<0>();
      touched(dp);
#pragma unroll
      for (int i = 0; i < kKeys / 4; ++i) {
        const float shift = i & 1 ? high_delta : low_delta;
        ds[i] = pack(scores[2 * i] * (dp[2 * i] - shift),
                     scores[2 * i + 1] * (dp[2 * i + 1] - shift));
      }
      begin_products();
      touched(dq);
      const unsigned long long k = operand(k_tile, kKeyPanel);
#pragma unroll
      for (int x = 0; x < kKeys / 16; ++x) multiply_weights(dq, ds + 4 * x, k + x * kRowsStep, 1);
      commit_products();
      ++n;
    };
    int key = p.last;
    if (kListed) {
#pragma unroll 1
      for (; key >= p.first; --key)
        step(key, key * kKeys < p.whole.low || key * kKeys + kKeys > p.whole.high);
    } else if (kCausal) {
#pragma unroll 1
      for (; key >= p.row / kKeys; --key) step(key, true);
    }
#pragma unroll 1
    for (; key >= p.first; --key) step(key, false);
    wait_products<0>();
    touched(dq);
    release(&s.kv_empty[(n & 1) ^ 1]);

    meet(1 + group, 128);  // this warpgroup reads its half of Q no more
    store_accumulators(q_half, kRowPanel, dq, kScale, kScale);
    publish_shared();
    meet(1 + group, 128);
    if (thread == 0) {
      for (int panel = 0; panel < kD / 64; ++panel)
        store_box(q_half + panel * kRowPanel, dq_map, p.row + group * 64, panel, p.head, p.item);
      commit_stores();
      wait_stores_read();
    }
    release(&s.q_empty);
  }
  if (thread == 0) wait_stores();
}

extern "C" __global__ void __launch_bounds__(384, 1)
fusec_attention_dq(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                   const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap d_o,
                   const __grid_constant__ TensorMap dq, const float* __restrict__ lse2,
                   const float* __restrict__ delta, int s_length, int padded, int tiles, int items,
                   const int2* __restrict__ ranges, const int4* __restrict__ listed,
                   unsigned* counter, const unsigned* skip) {
  if (stopped(skip)) return;
  extern __shared__ unsigned char raw[];
  Shared& s = *(Shared*)(raw + (-shared_address(raw) & 1023));  // still known to be shared
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      barrier_init(&s.kv_full[i], 1);
      barrier_init(&s.tile_full[i], 1);
      barrier_init(&s.kv_empty[i], kConsumers);
      barrier_init(&s.tile_empty[i], kConsumers);
    }
    barrier_init(&s.q_full, 1);
    barrier_init(&s.q_empty, kConsumers);
    barriers_ready();
  }
  __syncthreads();
  const int count = tiles * kH * items;
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0);
  if (group == 0) {
    give_registers<40>();
    if (threadIdx.x == 0)
      copy_tiles(s, q, k, v, d_o, tiles, items, s_length, count, listed, counter);
  } else {
    take_registers<232>();
    differentiate(s, dq, lse2, delta, group - 1, padded, tiles, items, s_length, count, ranges,
                  listed);
  }
}
)cuda";

}  // namespace

CallLaunch hopper_attention_dq(const Attention& a, const LibraryCall& call,
                               const CallTarget& target, const LaunchArg& lse2,
                               const LaunchArg& delta, const LaunchArg& ranges,
                               const LaunchArg& tile_ranges, const LaunchArg& counter,
                               int64_t padded) {
  constexpr int64_t kRows = 128, kKeys = 64, kSection = 16;
  const int64_t tiles = padded / kRows, panels = a.d / 64;
  Constants constants = attention_constants(a, "call: attention_grad on tensor cores (wgmma), dq");
  constants.integer("kSection", kSection).integer("kListed", listed_ranges(a, true));
  hopper_scale(a, constants);
  CallLaunch l;
  l.text = constants.text() + hopper_text(a, target) +
           wgmma_text(WgmmaForm::columns, kKeys, a.type) +
           wgmma_text(WgmmaForm::weights, static_cast<int>(a.d), a.type) + std::string(kQuerySide);
  l.entry = "fusec_attention_dq";
  l.grid[0] =
      std::min(blocks_for(call, a.b * a.h * tiles, 1), static_cast<unsigned>(target.sm_count));
  l.block[0] = 384;
  l.dynamic_shared = (4 * kKeys + 2 * kRows) * a.d * 2 + 128 + 1024;  // tiles, barriers, alignment
  l.maps = {attention_map(a, 1, false, kRows, panels), attention_map(a, 2, true, kKeys, panels),
            attention_map(a, 3, true, kKeys, panels), attention_map(a, 0, false, kRows, panels),
            attention_map(a, 6, false, 64, 1)};
  l.args = {lse2,           delta,  i32_value(a.s), i32_value(padded), i32_value(tiles),
            i32_value(a.b), ranges, tile_ranges,    counter,           skip()};
  return l;
}

}  // namespace fusec::cuda
