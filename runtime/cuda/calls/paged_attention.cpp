// paged_attention: reads the call, picks the form, cuts it into blocks. A tile is a few rows (query
// token, head) of one sequence and key head, so that each key and value is read once for all heads
// that share it; its keys are cut into parts, a block each, as many as fill the GPU twice, by the
// shapes alone. A block leaves unnormalised sums with maximum and total of each row; the last of a
// tile's blocks to come joins the parts of each row in order, so that one launch does it all. Who
// is last is counted by atomicInc, which returns to 0 by itself. Only where one block would read
// more than kMostJoined bytes (many parts of few tiles with many rows) a second kernel joins, a
// block a row. Which sequence a tile is of follows from cu_q, data of the run: sequence i owns the
// tiles from i + cu_q[i] * group / rows on. Lengths, cu_q and page numbers are checked where they
// are read; a bad one is reported, and nothing outside the pages is read.
#include "paged_attention.h"

#include <algorithm>

#include "fusec/base/error.h"
#include "prelude.h"

namespace fusec::cuda {

const std::string_view kPagedText = R"cuda(
DEV int clamp_to(int x, int most) { return x < 0 ? 0 : x > most ? most : x; }

// Where the queries of sequence i begin.
DEV int start_of(int i, const int* cu, int tokens) { return kCu ? clamp_to(cu[i], tokens) : i; }

// A block's share: rows (token, head of the group) of a sequence, and keys [first, end) for them.
struct Work {
  int sequence, head;    // key head
  int token, rows;       // first query token of the tile; rows that there are, <= 0: none
  int row;               // of the sequence, the tile's first
  int place;             // among the keys, of the sequence's first query
  int first, end, part;
  const int* table;
  // Keys that row r of the tile sees: [low(r), high(r)).
  DEV int high(int r) const { return place + (row + r) / kGroup + 1; }
  DEV int low(int r) const { return kWindow ? high(r) - kWindow : 0; }
  // Its place in q and o, in heads.
  DEV long long head_of(int r) const {
    return (long long)(token + (row + r) / kGroup) * kH + head * kGroup + (row + r) % kGroup;
  }
};

DEV int first_tile(int i, const int* cu, int tokens) {
  return i + start_of(i, cu, tokens) * kGroup / kRows;
}

// The last sequence whose first tile is not behind this one. The lanes of a warp look at 32 at once.
DEV int sequence_of(int tile, const int* cu, int tokens, int b) {
  int low = 0, count = b;  // it is one of `count` from low on
  while (count > 1) {
    const int each = (count + 31) / 32, at = threadIdx.x % 32 * each;
    const bool before = at < count && first_tile(low + at, cu, tokens) <= tile;
    const int known = __popc(__ballot_sync(~0u, before));
    const int run = known > 0 ? known - 1 : 0;
    low += run * each;
    count = count - run * each < each ? count - run * each : each;
  }
  return low;
}

// By all threads of the first block.
DEV void check_ranges(const int* lengths, const int* cu, int tokens, int b, Status* status,
                      int step) {
  if (blockIdx.x != 0) return;
  for (int i = threadIdx.x; i < b; i += blockDim.x)
    if (lengths[i] < 0 || lengths[i] > kMostKeys) report(status, 4, step, lengths[i], kMostKeys);
  for (int i = threadIdx.x; kCu && i <= b; i += blockDim.x)
    if (cu[i] < (i > 0 ? cu[i - 1] : 0) || cu[i] > tokens || (i == 0 && cu[0] != 0))
      report(status, 5, step, cu[i], tokens);
}

// Tokens of no sequence get zeros: each block writes some.
DEV void clear_rest(Out* o, const int* cu, int tokens, int b) {
  if (!kCu || (kParts > 1 && !kJoinsItself)) return;
  const long long end = (long long)tokens * kH * kD;
  long long i = (long long)clamp_to(cu[b], tokens) * kH * kD;
  for (i += (long long)blockIdx.x * blockDim.x + threadIdx.x; i < end;
       i += (long long)gridDim.x * blockDim.x)
    o[i] = out_of(0);
}

// By all threads of a block.
DEV Work work_of(const int* table, const int* lengths, const int* cu, int tokens, int b,
                 int tiles) {
  Work w;
  w.head = blockIdx.x % kKv;
  int tile = blockIdx.x / kKv % tiles;
  w.part = blockIdx.x / kKv / tiles;
  if (kCu) {
    w.sequence = sequence_of(tile, cu, tokens, b);
    w.row = (tile - first_tile(w.sequence, cu, tokens)) * kRows;
  } else {
    constexpr int each = (kGroup + kRows - 1) / kRows;
    w.sequence = tile / each;
    w.row = tile % each * kRows;
  }
  w.token = start_of(w.sequence, cu, tokens);
  int count = start_of(w.sequence + 1, cu, tokens) - w.token;
  int length = clamp_to(lengths[w.sequence], kMostKeys);
  w.rows = count * kGroup - w.row;
  if (w.row < 0) w.rows = 0;  // of a cu_q that falls
  if (w.rows > kRows) w.rows = kRows;
  w.place = length - count;
  w.table = table + (long long)w.sequence * kMaxPages;
  int low = 0, high = 0;
  if (w.rows > 0) {
    low = clamp_to(w.low(0), length);
    high = clamp_to(w.high(w.rows - 1), length);
  }
  int each = ((high - low + kParts - 1) / kParts + 63) / 64 * 64;
  w.first = low + w.part * each;
  w.end = w.first + each < high ? w.first + each : high;
  return w;
}

// Blocks that begin at the first key read entries beside the length, not behind it: then those of
// keys that are not there too, which nobody looks at.
constexpr bool kReadsAhead = kParts == 1 && kWindow == 0;

// The entry of key j. What is not looked at is not waited for.
DEV int page_of_key(const Work& w, int j) {
  return j < (kReadsAhead ? kMostKeys : w.end) ? w.table[(unsigned)j / kPageSize] : 0;
}

// The row of all pages that holds key j, whose entry is `page`; -1 if there is none.
DEV int row_in_page(const Work& w, int page, int j, Status* status, int step) {
  if (j >= w.end) return -1;
  if (page < 0 || page >= kPages) {
    report(status, 3, step, page, kPages);
    return -1;
  }
  return page * kPageSize + (unsigned)j % kPageSize;
}

// What kGroups groups of threads found of each row, in base 2.
struct Joined {
  float top[kGroups][kRows], total[kGroups][kRows], factor[kGroups][kRows], inverse[kRows];
  bool last;
};

// By the block that came last: joins the parts of its rows, in order. `share`: shared memory.
DEV void join_rows(const Work& w, Joined& s, float* share, const float* to, const float2* rest,
                   Out* o, int tokens) {
  constexpr int kWide = kD % 4 == 0 ? 4 : 1, kPieces = kD / kWide;
  struct __align__(4 * kWide) Piece {
    float at[kWide];
  };
  const int lane = threadIdx.x % 32;
  const long long all = (long long)tokens * kH;
  for (int r = threadIdx.x / 32; r < w.rows; r += blockDim.x / 32) {
    const float2* found = rest + w.head_of(r);
    float top = -__int_as_float(0x7f800000), total = 0;
    for (int p = lane; p < kParts; p += 32) {
      const float x = __ldcg(found + p * all).x;
      top = x > top ? x : top;
    }
    for (int d = 16; d > 0; d /= 2) {
      const float other = __shfl_xor_sync(~0u, top, d);
      top = other > top ? other : top;
    }
    for (int p = lane; p < kParts; p += 32) {
      const float2 x = __ldcg(found + p * all);
      const float factor = x.y == 0 ? 0.0f : exp2f(x.x - top);
      share[r * kParts + p] = factor;
      if (x.y != 0) total += x.y * factor;
    }
    for (int d = 16; d > 0; d /= 2) total += __shfl_xor_sync(~0u, total, d);
    if (lane == 0) s.inverse[r] = total == 0 ? 0.0f : 1 / total;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < w.rows * kPieces; i += blockDim.x) {
    const int r = i / kPieces, c = i % kPieces * kWide;
    const float* from = to + w.head_of(r) * kD + c;
    float sum[kWide] = {};
#pragma unroll 16
    for (int p = 0; p < kParts; ++p) {
      Piece y;  // a part without keys holds anything
      if (kWide == 4)
        *(float4*)&y = __ldcg((const float4*)(from + p * all * kD));
      else
        y.at[0] = __ldcg(from + p * all * kD);
      const float by = share[r * kParts + p];
#pragma unroll
      for (int e = 0; e < kWide; ++e) sum[e] += by != 0 ? by * y.at[e] : 0.0f;
    }
#pragma unroll
    for (int e = 0; e < kWide; ++e) o[w.head_of(r) * kD + c + e] = out_of(sum[e] * s.inverse[r]);
  }
}

// Joins the groups' sums [kGroups][kRows][kD], in shared memory, in order: to o if there is one
// part, else beside those of the other parts, which the last block of the tile then joins. By all
// threads of a block.
DEV void leave(const Work& w, Joined& s, float* sums, float* to, float2* rest, Out* o,
               unsigned* counters, int tokens, int tiles) {
  __syncthreads();
  const long long part = (long long)w.part * tokens * kH;
  for (int r = threadIdx.x; r < w.rows; r += blockDim.x) {
    float top = -__int_as_float(0x7f800000), total = 0;
    for (int g = 0; g < kGroups; ++g) top = s.top[g][r] > top ? s.top[g][r] : top;
    for (int g = 0; g < kGroups; ++g) {
      float factor = s.total[g][r] == 0 ? 0.0f : exp2f(s.top[g][r] - top);
      s.factor[g][r] = factor;
      if (s.total[g][r] != 0) total += s.total[g][r] * factor;
    }
    s.inverse[r] = total == 0 ? 0.0f : 1 / total;
    if (kParts > 1) rest[part + w.head_of(r)] = {top, total};
  }
  __syncthreads();
  for (int i = threadIdx.x; i < w.rows * kD && (kParts == 1 || w.first < w.end); i += blockDim.x) {
    int r = i / kD, c = i % kD;
    float sum = 0;
#pragma unroll
    for (int g = 0; g < kGroups; ++g)
      if (s.total[g][r] != 0) sum += sums[(g * kRows + r) * kD + c] * s.factor[g][r];
    if (kParts > 1)
      to[(part + w.head_of(r)) * kD + c] = sum;
    else
      o[w.head_of(r) * kD + c] = out_of(sum * s.inverse[r]);
  }
  if (kParts == 1 || !kJoinsItself) return;
  __threadfence();  // what this thread left is there before the block is counted
  __syncthreads();
  if (threadIdx.x == 0)
    s.last = atomicInc(counters + blockIdx.x % (kKv * tiles), kParts - 1) == kParts - 1;
  __syncthreads();
  if (!s.last) return;
  __threadfence();
  join_rows(w, s, sums, to, rest, o, tokens);
}
)cuda";

namespace {

constexpr int64_t kMostJoined = 256 << 10;  // bytes of sums that a block joins beside its own work

constexpr std::string_view kJoin = R"cuda(
// A block a row (token, head): the parts' shares, then their sums. Every kTeams-th part is a team's,
// and what the teams found is added in order.
extern "C" __global__ void __launch_bounds__(256)
fusec_paged_join(const float* __restrict__ sums, const float2* __restrict__ rest, Stored* o,
                 const int* cu, int b, long long rows, const unsigned* skip) {
  if (stopped(skip)) return;
  constexpr int kWide = kD % 4 == 0 ? 4 : 1, kPieces = kD / kWide;
  constexpr int kTeam = kPieces >= 256 ? 256 : (kPieces + 31) / 32 * 32, kTeams = 256 / kTeam;
  struct __align__(4 * kWide) Piece {
    float at[kWide];
  };
  __shared__ float share[kParts], found[kTeams][kD], inverse;
  const long long row = blockIdx.x;
  const bool of_none = kCu && row / kH >= cu[b];
  if (threadIdx.x < 32) {
    float top = -__int_as_float(0x7f800000), total = 0;
    for (int p = threadIdx.x; p < kParts; p += 32) {
      float x = of_none ? top : rest[p * rows + row].x;
      top = x > top ? x : top;
    }
    for (int d = 16; d > 0; d /= 2) {
      float other = __shfl_xor_sync(~0u, top, d);
      top = other > top ? other : top;
    }
    for (int p = threadIdx.x; p < kParts; p += 32) {
      float2 x = {0, 0};
      if (!of_none) x = rest[p * rows + row];
      float factor = x.y == 0 ? 0.0f : exp2f(x.x - top);
      share[p] = factor;
      if (x.y != 0) total += x.y * factor;
    }
    for (int d = 16; d > 0; d /= 2) total += __shfl_xor_sync(~0u, total, d);
    if (threadIdx.x == 0) inverse = total == 0 ? 0.0f : 1 / total;
  }
  __syncthreads();
  const int team = threadIdx.x / kTeam;
  for (int x = threadIdx.x % kTeam; x < kPieces && team < kTeams; x += kTeam) {
    Piece sum = {};
#pragma unroll 8
    for (int p = team; p < kParts; p += kTeams) {
      // A part without keys holds anything.
      const Piece y = *(const Piece*)(sums + (p * rows + row) * kD + x * kWide);
#pragma unroll
      for (int e = 0; e < kWide; ++e) sum.at[e] += share[p] != 0 ? share[p] * y.at[e] : 0.0f;
    }
#pragma unroll
    for (int e = 0; e < kWide; ++e) found[team][x * kWide + e] = sum.at[e];
  }
  __syncthreads();
  for (int c = threadIdx.x; c < kD; c += 256) {
    float sum = 0;
#pragma unroll
    for (int t = 0; t < kTeams; ++t) sum += found[t][c];
    o[row * kD + c] = narrow(sum * inverse);
  }
}
)cuda";

Paged read_paged(const LibraryCall& call) {
  Paged p{};
  p.tokens = call.integer("tokens"), p.b = call.integer("b"), p.h = call.integer("h");
  p.kv = call.integer("kv"), p.d = call.integer("d"), p.pages = call.integer("pages");
  p.page_size = call.integer("page_size"), p.max_pages = call.integer("max_pages");
  p.window = call.integer("window");
  p.scale = static_cast<float>(call.number("scale"));
  p.softcap = static_cast<float>(call.number("softcap"));
  p.type = type_of(call, "type"), p.page_type = type_of(call, "page_type");
  p.at = paged_arguments(call);
  require(call, call.args.size() == p.at.count, "takes as many arguments as its attributes say");
  require(call, p.tokens >= 0 && p.b >= 0 && p.pages >= 0 && p.max_pages >= 0 && p.window >= 0,
          "sizes must not be negative");
  require(call, p.d > 0 && p.page_size > 0 && p.kv > 0 && p.h > 0 && p.h % p.kv == 0,
          "h must be a multiple of kv");
  require(call, p.at.cu_q || p.tokens == p.b, "without cu_q there is a token a sequence");
  require(call, p.type == f32 || p.type == bf16 || p.type == f16, "takes f32, bf16 or f16");
  require(call, p.page_type == p.type || p.page_type == u8 || p.page_type == f8e4m3,
          "pages are of q's type, u8 or f8e4m3");
  constexpr int64_t kMost = int64_t{1} << 30;  // sums of two stay within 32 bits
  if (p.max_pages * p.page_size > kMost || p.tokens * p.h > kMost || p.pages * p.page_size > kMost)
    fail_unsupported("paged_attention over " + std::to_string(p.tokens * p.h) +
                     " queries times heads, " + std::to_string(p.max_pages * p.page_size) +
                     " keys a sequence and " + std::to_string(p.pages * p.page_size) +
                     " in all pages: the CUDA device takes " + std::to_string(kMost) +
                     " of each at most");
  if (p.window > kMost) p.window = kMost;  // sees all that there is
  return p;
}

}  // namespace

PagedCut cut_paged(const Paged& p, int64_t rows, const CallTarget& target) {
  PagedCut cut{rows, 0, 1};
  cut.tiles = p.at.cu_q ? p.b + p.tokens * p.group() / rows : p.b * ((p.group() + rows - 1) / rows);
  // Two blocks a multiprocessor, two rounds of them at most, since a third would be a short one; a
  // part is worth 256 keys. While there are blocks for less than one round, 64 keys, a slice of
  // each warp: a short cache takes as long as the longest walk over it.
  int64_t units = std::max<int64_t>(1, cut.tiles * p.kv), keys = p.max_pages * p.page_size;
  if (p.window > 0) keys = std::min(keys, p.window + rows);
  int64_t most = std::clamp<int64_t>(keys / 256, 1, 512);
  cut.parts = std::clamp<int64_t>(4 * target.sm_count / units, 1, most);
  int64_t used = p.at.cu_q ? rows : std::min(rows, p.group());  // rows that a tile may have
  int64_t joined = kMostJoined / (used * p.d * 4);
  cut.parts = std::max(cut.parts, std::min({2 * target.sm_count / units, keys / 64, joined}));
  cut.joins_itself = cut.parts <= joined;
  return cut;
}

Constants paged_constants(const Paged& p, const PagedCut& cut, int64_t groups,
                          std::string_view title) {
  return Constants(title)
      .integer("kH", p.h)
      .integer("kKv", p.kv)
      .integer("kGroup", p.group())
      .integer("kD", p.d)
      .integer("kPages", p.pages)
      .integer("kPageSize", p.page_size)
      .integer("kMaxPages", p.max_pages)
      .integer("kMostKeys", p.max_pages * p.page_size)
      .integer("kWindow", p.window)
      .integer("kCu", p.at.cu_q != 0)
      .integer("kNarrow", p.narrow())
      .integer("kRows", cut.rows)
      .integer("kParts", cut.parts)
      .integer("kJoinsItself", cut.joins_itself)
      .integer("kGroups", groups)
      .real("kScale", p.scale)
      .real("kCap", p.softcap)
      .real("kLog2e", 1.44269504088896341);
}

std::vector<LaunchArg> paged_kernel_arguments(const Paged& p, const PagedCut& cut, int64_t sums,
                                              int64_t rest) {
  return {argument(0),
          argument(1),
          argument(2),
          argument(3),
          argument(4),
          argument(p.at.cu_q),  // one that is not there is q, unread
          argument(p.at.k_scale),
          argument(p.at.v_scale),
          workspace(sums),
          workspace(rest),
          argument(5),
          counters(),
          i32_value(p.tokens),
          i32_value(p.b),
          i32_value(cut.tiles),
          skip(),
          status(),
          step()};
}

CallLaunch join_parts(const Paged& p, const PagedCut& cut, const LibraryCall& call, int64_t sums,
                      int64_t rest) {
  CallLaunch l;
  l.text = Constants("call: paged_attention, joins parts")
               .integer("kH", p.h)
               .integer("kD", p.d)
               .integer("kParts", cut.parts)
               .integer("kCu", p.at.cu_q != 0)
               .text() +
           std::string(kPrelude) + element_text(p.type) + std::string(kJoin);
  l.entry = "fusec_paged_join";
  l.grid[0] = blocks_for(call, p.tokens * p.h, 1);
  l.block[0] = 256;
  l.args = {workspace(sums), workspace(rest),           argument(5), argument(p.at.cu_q),
            i32_value(p.b),  i64_value(p.tokens * p.h), skip()};
  return l;
}

CallPlan plan_paged_attention(const LibraryCall& call, const CallTarget& target) {
  Paged p = read_paged(call);
  if (p.tokens == 0) return {};
  int64_t rows = common_unit(call, {0, 1, 2}, 16) == 16 ? mma_paged_rows(p, target) : 0;
  const bool mma = rows > 0;
  PagedCut cut = cut_paged(p, mma ? rows : any_paged_rows(p), target);
  CallPlan plan;
  plan.counters = cut.counters(p);
  // One part writes o itself.
  int64_t heads = cut.parts > 1 ? cut.parts * p.tokens * p.h : 0;
  int64_t sums = take(plan.workspace, heads * p.d * 4);
  int64_t rest = take(plan.workspace, heads * 8);
  if (p.b > 0) {
    CallLaunch l = mma ? mma_paged_attention(p, cut, target) : any_paged_attention(p, cut);
    l.grid[0] = blocks_for(call, cut.tiles * p.kv * cut.parts, 1);
    l.args = paged_kernel_arguments(p, cut, sums, rest);
    plan.launches.push_back(std::move(l));
  }
  if (p.b == 0 || (cut.parts > 1 && !cut.joins_itself))
    plan.launches.push_back(join_parts(p, cut, call, sums, rest));
  return plan;
}

}  // namespace fusec::cuda
