// attention on sm_90a, bf16 and f16, heads of 64 to 256, of at least a tile: after FlashAttention-3
// (Shah et al., 2024).
// Blocks stay, one a multiprocessor, and claim tiles of 128 queries of a head by a counter, causal
// ones the longest first among 16 heads, whose keys and values thus stay in L2. A block has three
// warpgroups:
//  - One thread of the first copies tiles by tensor maps, two stages of keys and of values.
//  - The others own 64 queries each, with scores, weights and sums in registers. S' = Q K'^T of the
//    next keys (128, fewer for heads beyond 128, whose sums take more registers) and O += P V of
//    these run together; the softmax of S' begins while O += P V still runs.
// Keys are walked from the last down. Causal attention needs a mask on the diagonal, full attention
// in the first step only; documents, windows and unequal lengths have the range of every query and
// of every tile listed beforehand, tiles that none of 128 queries sees are left out, and a mask is
// applied where not all of them see all keys. Heads of 64, bound by exp2, take turns at the tensor
// cores, and leave out what causal masks hide of their diagonal; larger ones rescale sums only when
// a maximum rises by more than 8 in the exponent. Results leave through shared memory of their own,
// so that the next queries arrive meanwhile, or, beyond heads of 128, through that of the queries.
#include <algorithm>

#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kForward = R"cuda(
constexpr int kRows = 128;  // queries of a tile
constexpr int kRowPanel = kRows * 128, kKeyPanel = kKeys * 128;
constexpr int kRowTile = kRowPanel * kPanels, kKeyTile = kKeyPanel * kPanels;
constexpr int kHalfPanel = 64 * 128;  // 64 queries of a panel: a warpgroup's
constexpr float kMasked = -2e30f, kLeast = -1e30f;
// The thread that copies boxes of panels, or tiles of other sizes, needs some more registers.
constexpr bool kUsual = kWholePanels && kKeys == kRows;

struct Shared {
  unsigned char k[2][kKeyTile], v[2][kKeyTile], q[1 + kResultsApart][kRowTile];  // the last: and o
  unsigned long long k_full[2], k_empty[2], v_full[2], v_empty[2], q_full, q_empty;
  unsigned long long tile_full[2], tile_empty[2];
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
  if (kCausal) {
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
    p.last = min((p.row + kRows - 1) / kKeys, p.last);
  }
  return p;
}

DEV void copy_tiles(Shared& s, const TensorMap& q_map, const TensorMap& k_map,
                    const TensorMap& v_map, int tiles, int items, int s_length, int count,
                    const int4* listed, unsigned* counter) {
  int n = 0;  // tiles of keys so far
  auto load_k = [&](const Place& p, int key, int at) {
    int stage = at & 1;
    barrier_wait(&s.k_empty[stage], (at >> 1 & 1) ^ 1);
    barrier_expect(&s.k_full[stage], kKeyTile);
    load_tile<kKeys>(s.k[stage], k_map, &s.k_full[stage], key * kKeys, p.head / (kH / kKv), p.item);
  };
  auto load_v = [&](const Place& p, int key, int at) {
    int stage = at & 1;
    barrier_wait(&s.v_empty[stage], (at >> 1 & 1) ^ 1);
    barrier_expect(&s.v_full[stage], kKeyTile);
    load_tile<kKeys>(s.v[stage], v_map, &s.v_full[stage], key * kKeys, p.head / (kH / kKv), p.item);
  };
  for (int tile = blockIdx.x, turn = 0, next; tile < count; tile = next, ++turn) {
    next = gridDim.x + atomicAdd(counter, 1u);
    barrier_wait(&s.tile_empty[turn & 1], (turn >> 1 & 1) ^ 1);
    s.tiles[turn & 1] = next;
    barrier_arrive(&s.tile_full[turn & 1]);

    Place p = place_of(tile, tiles, items, s_length, listed);
    int key = p.last;
    load_k(p, key, n);
    barrier_wait(&s.q_empty, (turn & 1) ^ 1);
    barrier_expect(&s.q_full, kRowTile);
    load_tile<kRows>(s.q[0], q_map, &s.q_full, p.row, p.head, p.item);
    for (; key > p.first; --key, ++n) {
      load_k(p, key - 1, n + 1);
      load_v(p, key, n);
    }
    load_v(p, key, n++);
  }
}

// Of a thread's two queries: the maximum, the sum of its weights, and what sums so far shrink by.
struct Softmax {
  float top[2] = {kLeast, kLeast}, total[2] = {0, 0}, factor[2];
};

// Scores to weights.
template <int N>
DEV void weigh(Softmax& x, float (&s)[N]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = x.top[half];
#pragma unroll
    for (int j = 0; j < N / 4; ++j) {
      most = fmaxf(most, s[4 * j + 2 * half]);
      most = fmaxf(most, s[4 * j + 2 * half + 1]);
    }
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
    most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
    if (kLazy && (most - x.top[half]) * kExponent <= 8) most = x.top[half];
    x.factor[half] = exp2_fast((x.top[half] - most) * kExponent);
    x.top[half] = most;
    x.total[half] *= x.factor[half];
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float base = x.top[half] * kExponent, even = 0, odd = 0;
#pragma unroll
    for (int j = 0; j < N / 4; ++j) {
      float& a = s[4 * j + 2 * half];
      float& b = s[4 * j + 2 * half + 1];
      a = exp2_fast(a * kExponent - base);
      b = exp2_fast(b * kExponent - base);
      even += a;
      odd += b;
    }
    x.total[half] += even + odd;
  }
}

template <int N>
DEV void pack_weights(unsigned (&p)[kKeys / 4], const float (&s)[N]) {
#pragma unroll
  for (int i = 0; i < kKeys / 4; ++i) p[i] = 2 * i < N ? pack(s[2 * i], s[2 * i + 1]) : 0;
}

// Products to what softcap leaves of them, by the cap.
template <int N>
DEV void cap(float (&s)[N]) {
  if (kCap == 0) return;
#pragma unroll
  for (int i = 0; i < N; ++i) s[i] = tanh_fast(s[i] * kCapSlope);
}

// Hides keys [end, ...) or, of causal calls, those after the query. `key`: of the thread's first
// score, `query`: of its first row.
template <int N>
DEV void mask_scores(float (&s)[N], int key, int query, int end) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    int one = key + (i / 4) * 8 + (i & 1), row = query + (i & 2 ? 8 : 0);
    if (kCausal ? one > row : one >= end) s[i] = kMasked;
  }
}

// Hides keys outside of the thread's two ranges. `key`: of its first score.
template <int N>
DEV void mask_ranges(float (&s)[N], int key, const Range (&seen)[2]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int low = seen[half].low - key, high = seen[half].high - key;
#pragma unroll
    for (int j = 0; j < N / 4; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (8 * j + e < low || 8 * j + e >= high) s[4 * j + 2 * half + e] = kMasked;
  }
}

template <int N>
DEV void mask(float (&s)[N], int key, int row, int end, const Range& whole,
              const Range (&seen)[2]) {
  const int column = key * kKeys + (threadIdx.x & 3) * 2;
  if (!kListed)
    mask_scores(s, column, row, end);
  else if (key * kKeys < whole.low || key * kKeys + kKeys > whole.high)
    mask_ranges(s, column, seen);
}

// S = Q K^T.
template <int N>
DEV void start_scores(float (&s)[N], unsigned long long q, unsigned long long k) {
  begin_products();
  touched(s);
#pragma unroll
  for (int x = 0; x < kD / 16; ++x) multiply(s, q + k_step<kRows>(x), k + k_step<kKeys>(x), x > 0);
  commit_products();
}

// O += P V.
DEV void start_sums(float (&o)[kD / 2], const unsigned (&p)[kKeys / 4], unsigned long long v) {
  begin_products();
#pragma unroll
  for (int x = 0; x < kKeys / 16; ++x) multiply_weights(o, p + 4 * x, v + x * kRowsStep, 1);
  commit_products();
}

DEV void attend(Shared& s, const TensorMap& o_map, float* lse, int group, int t, int s_length,
                int tiles, int items, int count, const int2* ranges, const int4* listed) {
  const int lane = threadIdx.x % 32, thread = threadIdx.x % 128;
  const unsigned long long q = operand(shared_address(s.q[0]) + group * kHalfPanel, 16);
  int n = 0;  // tiles of keys so far
  // Turns at the tensor cores: barrier 1 + g is group g's.
  if (kTurns && group == 0) signal(1, 256);
  for (int tile = blockIdx.x, turn = 0, next; tile < count; tile = next, ++turn) {
    barrier_wait(&s.tile_full[turn & 1], turn >> 1 & 1);
    next = s.tiles[turn & 1];
    release(&s.tile_empty[turn & 1]);
    const Place place = place_of(tile, tiles, items, s_length, listed);
    const int row = place.row + group * 64 + thread / 32 * 16 + lane / 4;  // and row + 8
    int key = place.last;
    Range seen[2] = {};
    if (kListed) {
      const int2 low = ranges[row], high = ranges[row + 8];
      seen[0] = {low.x, low.y}, seen[1] = {high.x, high.y};
    }
    float scores[kKeys / 2], o[kD / 2];
    unsigned weights[kKeys / 4];
    Softmax softmax;
#pragma unroll
    for (int i = 0; i < kD / 2; ++i) o[i] = 0;

    barrier_wait(&s.q_full, turn & 1);
    barrier_wait(&s.k_full[n & 1], n >> 1 & 1);
    const unsigned long long first = operand(shared_address(s.k[n & 1]), 16);
    if (kHalfDiagonal && group == 0) {  // its queries see no key of the second half
      float half[kKeys / 4];
      start_scores(half, q, first);
      wait_products<0>();
      touched(half);
      release(&s.k_empty[n & 1]);
      cap(half);
      mask(half, key, row, s_length, place.whole, seen);
      weigh(softmax, half);
      pack_weights(weights, half);
    } else {
      start_scores(scores, q, first);
      wait_products<0>();
      touched(scores);
      release(&s.k_empty[n & 1]);
      cap(scores);
      mask(scores, key, row, s_length, place.whole, seen);
      weigh(softmax, scores);
      pack_weights(weights, scores);
    }

#pragma unroll 1
    for (; key > place.first; --key) {
      const int here = n & 1, here_parity = n >> 1 & 1;
      ++n;
      const int ahead = n & 1;
      barrier_wait(&s.k_full[ahead], n >> 1 & 1);
      if (kTurns) meet(1 + group, 256);
      start_scores(scores, q, operand(shared_address(s.k[ahead]), 16));
      barrier_wait(&s.v_full[here], here_parity);
      touched(o);
      start_sums(o, weights, operand(shared_address(s.v[here]), kKeyPanel));
      if (kTurns) signal(2 - group, 256);
      wait_products<1>();
      touched(scores);
      release(&s.k_empty[ahead]);
      cap(scores);
      if (kListed || (kCausal && kKeys < kRows && key * kKeys > place.row))
        mask(scores, key - 1, row, s_length, place.whole, seen);
      weigh(softmax, scores);
      wait_products<0>();
      touched(o);
      release(&s.v_empty[here]);
      pack_weights(weights, scores);
      if (!kLazy || __any_sync(~0u, softmax.factor[0] != 1 || softmax.factor[1] != 1)) {
#pragma unroll
        for (int i = 0; i < kD / 2; ++i) o[i] *= softmax.factor[i >> 1 & 1];
      }
    }
    if (kResultsApart) release(&s.q_empty);
    barrier_wait(&s.v_full[n & 1], n >> 1 & 1);
    touched(o);
    start_sums(o, weights, operand(shared_address(s.v[n & 1]), kKeyPanel));
    wait_products<0>();
    touched(o);
    release(&s.v_empty[n & 1]);
    ++n;

    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.total[half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      const bool some = !kListed || sum > 0;  // keys were seen
      inverse[half] = some ? 1 / sum : 0;
      int r = row + 8 * half;
      if ((lane & 3) == 0 && r < t)
        lse[((long long)place.item * kH + place.head) * t + r] =
            some ? (softmax.top[half] * kExponent + log2f(sum)) * (1 / kLog2e)
                 : -__int_as_float(0x7f800000);
    }
    // One thread stores, so it alone knows when the tile before this one has left.
    if (kResultsApart && thread == 0) wait_stores_read();
    meet(4 + group, 128);  // and this warpgroup reads its queries no more
    const unsigned out = shared_address(s.q[kResultsApart]) + group * kHalfPanel;
    store_accumulators(out, kRowPanel, o, inverse[0], inverse[1]);
    publish_shared();
    meet(4 + group, 128);
    if (thread == 0) {
      store_panels(out, kRowPanel, o_map, place.row + group * 64, place.head, place.item);
      commit_stores();
      if (!kResultsApart) wait_stores_read();
    }
    if (!kResultsApart) release(&s.q_empty);
  }
  if (kTurns && group == 0) meet(1, 256);
  if (thread == 0) wait_stores();
}

extern "C" __global__ void __launch_bounds__(384, 1)
fusec_attention(const __grid_constant__ TensorMap q, const __grid_constant__ TensorMap k,
                const __grid_constant__ TensorMap v, const __grid_constant__ TensorMap o,
                float* __restrict__ lse, int t, int s_length, int tiles, int items,
                const int2* __restrict__ ranges, const int4* __restrict__ listed,
                unsigned* counter, const unsigned* skip) {
  if (stopped(skip)) return;
  extern __shared__ unsigned char raw[];
  Shared& s = *(Shared*)(raw + (-shared_address(raw) & 1023));  // still known to be shared
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      barrier_init(&s.k_full[i], 1);
      barrier_init(&s.v_full[i], 1);
      barrier_init(&s.tile_full[i], 1);
      barrier_init(&s.k_empty[i], kConsumers);
      barrier_init(&s.v_empty[i], kConsumers);
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
    give_registers<kUsual ? 40 : 56>();
    if (threadIdx.x == 0) copy_tiles(s, q, k, v, tiles, items, s_length, count, listed, counter);
  } else {
    take_registers<kUsual ? 232 : 224>();
    attend(s, o, lse, group - 1, t, s_length, tiles, items, count, ranges, listed);
  }
}
)cuda";

constexpr std::string_view kScoreText = R"cuda(
// A score that nobody sees, and whose weight is 0, also times 1 - its square.
constexpr float kHidden = kCap != 0 ? -1e15f : -1e30f;

// A weight times the slope of softcap, by what tanh gave for its score.
DEV float weight_slope(float weight, float capped) {
  return kCap != 0 ? weight * (1 - capped * capped) : weight;
}
)cuda";

constexpr std::string_view kStart = R"cuda(// call: attention on tensor cores (wgmma), its counter
extern "C" __global__ void fusec_attention_start(unsigned* counter) { *counter = 0; }
)cuda";

constexpr std::string_view kList = R"cuda(
// Of `count` queries, or keys; the last tile is filled up with ranges of nothing.
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_ranges(int2* __restrict__ rows, int4* __restrict__ tiles, unsigned* counter,
                       int count, int t, int s_length, const int* __restrict__ cu, int docs,
                       const unsigned* skip, Status* status, int step) {
  if (stopped(skip)) return;
  __shared__ Range ranges[128];
  if (kDocs && !kOfKeys && blockIdx.x == 0) check_documents(cu, docs, t, status, step);
  if (blockIdx.x == 0 && threadIdx.x == 0) *counter = 0;
  const int i = blockIdx.x * 128 + threadIdx.x;
  const Range r = kOfKeys ? queries_of(i, t, s_length, cu, docs) : keys_of(i, t, s_length, cu, docs);
  rows[i] = int2{r.low, r.high};
  ranges[threadIdx.x] = r;
  __syncthreads();
  if (threadIdx.x > 0) return;
  Range all, whole;
  join_ranges(ranges, min(128, count - (int)blockIdx.x * 128), all, whole);
  tiles[blockIdx.x] = int4{all.low, all.high, whole.low, whole.high};
}
)cuda";

}  // namespace

bool listed_ranges(const Attention& a, bool grad) {
  return a.ranged() || (a.causal && a.t != a.s) || (grad && !a.causal && a.s % 128 != 0);
}

CallLaunch list_ranges(const Attention& a, const LibraryCall& call, bool of_keys,
                       const LaunchArg& rows, const LaunchArg& tiles, const LaunchArg& counter,
                       size_t cu_argument) {
  const int64_t count = of_keys ? a.s : a.t;
  Constants constants = attention_constants(a, "call: attention, who sees what");
  constants.integer("kOfKeys", of_keys);
  CallLaunch l;
  l.text = constants.text() + std::string(kPrelude) + std::string(kRangeText) + std::string(kList);
  l.entry = "fusec_attention_ranges";
  l.grid[0] = blocks_for(call, count, 128);
  l.block[0] = 128;
  l.args = {rows, tiles, counter, i32_value(count)};
  for (const LaunchArg& x : mask_arguments(a, cu_argument)) l.args.push_back(x);
  for (const LaunchArg& x : {skip(), status(), step()}) l.args.push_back(x);
  return l;
}

bool fits_hopper(const Attention& a, const CallTarget& target, bool grad) {
  // Shorter calls leave most of a tile empty; mma.sync has tiles of half the size.
  constexpr int64_t kTile = 128, kMostTiles = int64_t{1} << 30;
  constexpr int64_t kShared = 226 << 10;  // that of forward beyond heads of 128
  // A hidden score times the cap is a number, and far below all others.
  const bool cap = a.softcap == 0 || (a.softcap > 1e-6f && a.softcap < 1e6f);
  const bool heads = a.d % 16 == 0 && a.d >= 64 && a.d <= (grad ? 128 : 256);
  return target.major == 9 && !target.portable_attention && heads && cap && !a.prefix && !a.sinks &&
         !a.hooked() && a.t >= kTile && a.s >= kTile &&
         a.b * a.h * ((a.t + kTile - 1) / kTile) < kMostTiles && target.shared_per_block > kShared;
}

void hopper_scale(const Attention& a, Constants& constants) {
  constants.real("kCapSlope", a.softcap == 0 ? 0 : a.scale / a.softcap)
      .real("kExponent", (a.softcap == 0 ? a.scale : a.softcap) * 1.44269504088896341);
}

std::string hopper_text(const Attention& a, const CallTarget& target) {
  const char* lanes = target.lanes_arrive ? "constexpr bool kLanesArrive = true;\n"
                                          : "constexpr bool kLanesArrive = false;\n";
  return lanes + std::string(kPrelude) + std::string(kTensorInstructions) +
         std::string(a.type == bf16 ? kBf16Mma : kF16Mma) + std::string(kHopperInstructions) +
         std::string(kHopperTiles) + std::string(kTanh) + std::string(kScoreText) +
         std::string(kRangeText);
}

TensorMap attention_map(const Attention& a, size_t argument, bool keys, int64_t box_rows,
                        int64_t box_panels) {
  TensorMap m;
  m.argument = static_cast<int64_t>(argument);
  m.bf16 = a.type == bf16;
  m.items = a.b, m.rows = keys ? a.s : a.t, m.heads = keys ? a.kv : a.h, m.columns = a.d;
  m.box_rows = box_rows, m.box_panels = a.d % 64 == 0 ? box_panels : 1;
  return m;
}

CallPlan hopper_attention(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  constexpr int64_t kRows = 128;
  // What two stages leave room for, in shared memory and, of scores beside sums, in registers.
  const int64_t keys = a.d <= 128 ? 128 : a.d <= 192 ? 96 : 80;
  const bool apart = a.d <= 128;
  const int64_t tiles = (a.t + kRows - 1) / kRows, panels = (a.d + 63) / 64;
  Constants constants = attention_constants(a, "call: attention on tensor cores (wgmma)");
  const bool listed = listed_ranges(a, false);
  constants.integer("kSection", a.d <= 128 ? 16 : 8)
      .integer("kKeys", keys)
      .integer("kResultsApart", apart)
      .integer("kListed", listed)
      .integer("kTurns", a.d == 64)
      .integer("kHalfDiagonal", a.d == 64 && a.causal && !listed)
      .integer("kLazy", a.d > 64);
  hopper_scale(a, constants);
  CallLaunch start, main;
  main.text = constants.text() + hopper_text(a, target) +
              wgmma_text(WgmmaForm::columns, static_cast<int>(keys / 2), a.type) +
              wgmma_text(WgmmaForm::columns, static_cast<int>(keys), a.type) +
              wgmma_text(WgmmaForm::weights, static_cast<int>(a.d), a.type) + std::string(kForward);
  CallPlan plan;
  LaunchArg counter = workspace(take(plan.workspace, 4));
  LaunchArg rows = counter, tile_ranges = counter;  // not read unless listed
  if (listed) {
    rows = workspace(take(plan.workspace, tiles * kRows * 8));
    tile_ranges = workspace(take(plan.workspace, tiles * 16));
    start = list_ranges(a, call, false, rows, tile_ranges, counter, 5);
  } else {
    start.text = kStart;
    start.entry = "fusec_attention_start";
    start.args = {counter};
  }
  main.entry = "fusec_attention";
  main.grid[0] =
      std::min(blocks_for(call, a.b * a.h * tiles, 1), static_cast<unsigned>(target.sm_count));
  main.block[0] = 384;
  main.dynamic_shared =
      ((1 + apart) * kRows + 4 * keys) * panels * 128 + 128 + 1024;  // tiles, barriers, alignment
  main.maps = {attention_map(a, 0, false, kRows, panels), attention_map(a, 1, true, keys, panels),
               attention_map(a, 2, true, keys, panels), attention_map(a, 3, false, 64, 1)};
  main.args = {argument(4),    i32_value(a.t), i32_value(a.s), i32_value(tiles), i32_value(a.b),
               rows,           tile_ranges,    counter,        skip()};
  plan.launches = {start, main};
  return plan;
}

}  // namespace fusec::cuda
