// attention and its gradient for every type and head size, in f32 arithmetic without tensor cores.
// A block of 128 threads owns 16 rows (queries, or keys for dk and dv) and walks over 64 columns at
// a time; heads of any size go through shared memory in pieces of 32 elements, sums of the output
// rows stay in shared memory. Each output element is summed by one thread in one order. Refuses
// heads whose sums do not fit shared memory (beyond about 1,700 elements on sm_90).
#include "attention.h"
#include "fusec/base/error.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kRows = 16, kThreads = 128;
constexpr int64_t kStaticShared = 24 << 10;  // at most, of each kernel

}  // namespace

const std::string_view kAnyTiles = R"cuda(
constexpr int kRows = 16, kColumns = 64, kPiece = 32;

struct Tiles {
  float rows[kRows][kPiece + 1], columns[kColumns][kPiece + 1];
  float w[2][kRows][kColumns + 1];  // weights of the columns
  float factor[kRows], top[kRows], sum[kRows];
  Range range[kRows], prefix[kRows];  // columns that a row sees: in either
};

DEV bool sees(const Tiles& s, int row, int column) {
  Range r = s.range[row], p = s.prefix[row];
  return (column >= r.low && column < r.high) || (kPrefix && column >= p.low && column < p.high);
}

// Row i of head `head` of a [b, length, heads, kD] tensor lies at i * heads * kD from here.
DEV long long head_offset(int item, long long length, int heads, int head) {
  return (item * length * heads + head) * kD;
}

// Of this thread: rows 2 * (thread / 16) + {0, 1}, columns thread % 16 + 16 * {0 .. 3}.
DEV int row_at(int i) { return 2 * (threadIdx.x / 16) + i; }
DEV int column_at(int j) { return threadIdx.x % 16 + 16 * j; }

// p = rows * columns^T, of row_count and column_count rows of kD elements; others count as zero.
DEV void products(Tiles& s, const Stored* rows, long long row_stride, int row_count,
                  const Stored* columns, long long column_stride, int column_count,
                  float (&p)[2][4]) {
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j) p[i][j] = 0;
  for (int first = 0; first < kD; first += kPiece) {
    __syncthreads();
    for (int i = threadIdx.x; i < kRows * kPiece; i += 128) {
      int r = i / kPiece, x = i % kPiece;
      bool inside = r < row_count && first + x < kD;
      s.rows[r][x] = inside ? widen(rows[r * row_stride + first + x]) : 0.0f;
    }
    for (int i = threadIdx.x; i < kColumns * kPiece; i += 128) {
      int c = i / kPiece, x = i % kPiece;
      bool inside = c < column_count && first + x < kD;
      s.columns[c][x] = inside ? widen(columns[c * column_stride + first + x]) : 0.0f;
    }
    __syncthreads();
    for (int x = 0; x < kPiece; ++x)
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j)
          p[i][j] += s.rows[row_at(i)][x] * s.columns[column_at(j)][x];
  }
}

// sums[r][x] = factor[r] * sums[r][x] + sum over columns c of w[r][c] * columns[c][x].
DEV void accumulate(Tiles& s, const float (&w)[kRows][kColumns + 1], bool rescale,
                    const Stored* columns, long long stride, int count, float* sums) {
  for (int first = 0; first < kD; first += kPiece) {
    __syncthreads();
    for (int i = threadIdx.x; i < kColumns * kPiece; i += 128) {
      int c = i / kPiece, x = i % kPiece;
      bool inside = c < count && first + x < kD;
      s.columns[c][x] = inside ? widen(columns[c * stride + first + x]) : 0.0f;
    }
    __syncthreads();
    int x = threadIdx.x % kPiece;
    if (first + x >= kD) continue;
    for (int r = threadIdx.x / kPiece; r < kRows; r += 4) {
      float* at = sums + r * kD + first + x;
      float total = 0;
      for (int c = 0; c < count; ++c) total += w[r][c] * s.columns[c][x];
      *at = (rescale ? s.factor[r] * *at : *at) + total;
    }
  }
}

DEV float capped(float product) {
  float score = product * kScale;
  return kCap == 0 ? score : kCap * tanhf(score * (1 / kCap));
}

// d score / d product
DEV float slope(float score) {
  float x = kCap == 0 ? 0.0f : score * (1 / kCap);
  return kScale * (1 - x * x);
}

DEV void cover(Range& all, Range one) {
  if (one.low >= one.high) return;
  if (one.low < all.low) all.low = one.low;
  if (one.high > all.high) all.high = one.high;
}

// Ranges of the rows into s.range and s.prefix, their hull as the result.
template <class Of, class Prefix>
DEV Range hull(Tiles& s, Of of, Prefix prefix) {
  if (threadIdx.x < kRows) {
    s.range[threadIdx.x] = of(threadIdx.x);
    s.prefix[threadIdx.x] = prefix(threadIdx.x);
  }
  __syncthreads();
  Range all = {0x7fffffff, 0};
  for (int r = 0; r < kRows; ++r) {
    cover(all, s.range[r]);
    cover(all, s.prefix[r]);
  }
  return all;
}

// That of the keys of 16 queries from `row` on.
DEV Range keys_hull(Tiles& s, int row, int item, int t, int s_length, const int* cu, int docs,
                    const int* prefix) {
  return hull(
      s, [&](int r) { return keys_of(row + r, t, s_length, cu, docs); },
      [&](int r) {
        if (row + r >= t) return Range{0, 0};
        return prefix_of(row + r, item, t, s_length, cu, docs, prefix);
      });
}

DEV void clear(float* sums, int n) {
  for (int i = threadIdx.x; i < n; i += 128) sums[i] = 0;
}

DEV void write_rows(const float* sums, int count, Stored* to, long long stride) {
  for (int i = threadIdx.x; i < count * kD; i += 128)
    to[i / kD * stride + i % kD] = narrow(sums[i]);
}
)cuda";

namespace {

constexpr std::string_view kForward = R"cuda(
// Scores in s.w[0] become weights; max, sum and the factor of older sums follow. 8 threads a row.
DEV void online_softmax(Tiles& s) {
  int r = threadIdx.x / 8, lane = threadIdx.x % 8;
  float old = s.top[r], top = old;
  for (int c = lane; c < kColumns; c += 8) top = s.w[0][r][c] > top ? s.w[0][r][c] : top;
  for (int d = 1; d < 8; d *= 2) {
    float other = __shfl_xor_sync(~0u, top, d);
    top = other > top ? other : top;
  }
  // A query that has seen no key keeps -inf; exp must not see -inf - (-inf).
  float base = top == -__int_as_float(0x7f800000) ? 0.0f : top, total = 0;
  for (int c = lane; c < kColumns; c += 8) {
    float p = expf(s.w[0][r][c] - base);
    s.w[0][r][c] = p;
    total += p;
  }
  for (int d = 1; d < 8; d *= 2) total += __shfl_xor_sync(~0u, total, d);
  __syncwarp();  // the row's 8 lanes have read s.top: a shuffle orders registers, not memory
  if (lane == 0) {
    float factor = expf(old - base);
    s.factor[r] = factor;
    s.top[r] = top;
    s.sum[r] = s.sum[r] * factor + total;
  }
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention(const Stored* q, const Stored* k, const Stored* v, Stored* o, float* lse, int t,
                int s_length, const int* cu, int docs, const int* prefix, const float* sinks,
                int tiles, const unsigned* skip, Status* status, int step HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  extern __shared__ __align__(16) float sums[];
  __shared__ Tiles s;
  const hook::Captured captured = HOOK_CAPTURED;
  if (kDocs && blockIdx.x == 0) check_documents(cu, docs, t, status, step);
  int head = blockIdx.x / tiles % kH, item = blockIdx.x / tiles / kH;
  int row = blockIdx.x % tiles * kRows, count = t - row < kRows ? t - row : kRows;
  constexpr long long q_stride = (long long)kH * kD, k_stride = (long long)kKv * kD;
  long long q_at = head_offset(item, t, kH, head) + row * q_stride;
  long long k_at = head_offset(item, s_length, kKv, head / (kH / kKv));
  Range all = keys_hull(s, row, item, t, s_length, cu, docs, prefix);
  clear(sums, kRows * kD);
  if (threadIdx.x < kRows) {
    s.top[threadIdx.x] = -__int_as_float(0x7f800000);
    s.sum[threadIdx.x] = 0;
  }
  for (int key = all.low; key < all.high; key += kColumns) {
    int keys = all.high - key < kColumns ? all.high - key : kColumns;
    bool visible[2][4], any = false;
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j) {
        int r = row_at(i), at = key + column_at(j);
        visible[i][j] = r < count && sees(s, r, at) &&
                        (!kHookMasks || hook::seen(captured, {item, head, row + r, at}));
        any |= visible[i][j];
      }
    if (kHookMasks && !__syncthreads_or(any)) continue;
    float p[2][4];
    products(s, q + q_at, q_stride, count, k + k_at + key * k_stride, k_stride, keys, p);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j) {
        int r = row_at(i), at = key + column_at(j);
        float score = -__int_as_float(0x7f800000);
        if (visible[i][j])
          score = kScored ? hook::score(captured, {item, head, row + r, at}, p[i][j])
                          : capped(p[i][j]);
        s.w[0][r][column_at(j)] = score;
      }
    __syncthreads();
    online_softmax(s);
    accumulate(s, s.w[0], true, v + k_at + key * k_stride, k_stride, keys, sums);
  }
  __syncthreads();
  if (kSinks) {  // one more score, whose value is zeros
    if (threadIdx.x < kRows) {
      float sink = sinks[head], top = s.top[threadIdx.x], base = top > sink ? top : sink;
      float factor = top == -__int_as_float(0x7f800000) ? 0.0f : expf(top - base);
      float share = sink == -__int_as_float(0x7f800000) ? 0.0f : expf(sink - base);
      s.factor[threadIdx.x] = factor;
      s.top[threadIdx.x] = base;
      s.sum[threadIdx.x] = s.sum[threadIdx.x] * factor + share;
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < count * kD; i += 128) {
    float total = s.sum[i / kD], mine = kSinks ? sums[i] * s.factor[i / kD] : sums[i];
    o[q_at + i / kD * q_stride + i % kD] = narrow(total == 0 ? 0.0f : mine / total);
  }
  if (threadIdx.x < count) {
    float total = s.sum[threadIdx.x];
    lse[((long long)item * kH + head) * t + row + threadIdx.x] =
        total == 0 ? -__int_as_float(0x7f800000) : s.top[threadIdx.x] + logf(total);
  }
}
)cuda";

}  // namespace

const std::string_view kAnyGradient = R"cuda(
// Weight and gradients of one score from the products q.k and d_o.v: by the score, by the product;
// slopes.by_load: of the score by what the hook read.
struct Pair {
  float p, d_score, ds;
  hook::Slopes slopes;
};
DEV Pair gradient(bool visible, float qk, float dp, float lse, float delta,
                  const hook::Captured& captured, const hook::Place& at) {
  Pair r = {};
  const float none = -__int_as_float(0x7f800000);
  if (!visible || lse == none || (kHookMasks && !hook::seen(captured, at))) return r;
  float score, by_product;
  if (kScored) {
    r.slopes = hook::slopes(captured, at, qk);
    score = r.slopes.score, by_product = r.slopes.by_product;
  } else {
    score = capped(qk), by_product = slope(score);
  }
  r.p = expf(score - lse);
  if (r.p == 0) return r;  // slopes may be NaN there
  r.d_score = r.p * (dp - delta);
  r.ds = r.d_score * by_product;
  return r;
}
)cuda";

namespace {

constexpr std::string_view kBackward = R"cuda(
// delta [b, h, t] = rowsum(d_o * o); a warp a row of [b, t, h].
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_delta(const Stored* d_o, const Stored* o, float* delta, long long rows, int t,
                      const unsigned* skip) {
  if (stopped(skip)) return;
  long long row = blockIdx.x * 4ll + threadIdx.x / 32;
  int lane = threadIdx.x % 32;
  if (row >= rows) return;
  float total = 0;
  for (int x = lane; x < kD; x += 32) total += widen(d_o[row * kD + x]) * widen(o[row * kD + x]);
  for (int d = 16; d > 0; d /= 2) total += __shfl_xor_sync(~0u, total, d);
  long long head = row % kH, token = row / kH % t, item = row / kH / t;
  if (lane == 0) delta[(item * kH + head) * t + token] = total;
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_dq(const Stored* d_o, const Stored* q, const Stored* k, const Stored* v,
                   const float* lse, const float* delta, Stored* dq, int t, int s_length,
                   const int* cu, int docs, const int* prefix, int tiles,
                   const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  extern __shared__ __align__(16) float sums[];
  __shared__ Tiles s;
  const hook::Captured captured = HOOK_CAPTURED;
  int head = blockIdx.x / tiles % kH, item = blockIdx.x / tiles / kH;
  int row = blockIdx.x % tiles * kRows, count = t - row < kRows ? t - row : kRows;
  constexpr long long q_stride = (long long)kH * kD, k_stride = (long long)kKv * kD;
  long long q_at = head_offset(item, t, kH, head) + row * q_stride;
  long long k_at = head_offset(item, s_length, kKv, head / (kH / kKv));
  long long lse_at = ((long long)item * kH + head) * t + row;
  Range all = keys_hull(s, row, item, t, s_length, cu, docs, prefix);
  clear(sums, kRows * kD);
  for (int key = all.low; key < all.high; key += kColumns) {
    int keys = all.high - key < kColumns ? all.high - key : kColumns;
    float qk[2][4], dp[2][4];
    products(s, q + q_at, q_stride, count, k + k_at + key * k_stride, k_stride, keys, qk);
    products(s, d_o + q_at, q_stride, count, v + k_at + key * k_stride, k_stride, keys, dp);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j) {
        int r = row_at(i);
        bool visible = r < count && sees(s, r, key + column_at(j));
        float row_lse = visible ? lse[lse_at + r] : 0.0f;
        float shift = visible ? delta[lse_at + r] : 0.0f;
        hook::Place at = {item, head, row + r, key + column_at(j)};
        s.w[0][r][column_at(j)] =
            gradient(visible, qk[i][j], dp[i][j], row_lse, shift, captured, at).ds;
      }
    accumulate(s, s.w[0], false, k + k_at + key * k_stride, k_stride, keys, sums);
  }
  __syncthreads();
  write_rows(sums, count, dq + q_at, q_stride);
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_dkv(const Stored* d_o, const Stored* q, const Stored* k, const Stored* v,
                    const float* lse, const float* delta, Stored* dk, Stored* dv, int t,
                    int s_length, const int* cu, int docs, const int* prefix, int tiles,
                    const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  extern __shared__ __align__(16) float sums[];
  __shared__ Tiles s;
  const hook::Captured captured = HOOK_CAPTURED;
  float* dv_sums = sums + kRows * kD;
  int kv_head = blockIdx.x / tiles % kKv, item = blockIdx.x / tiles / kKv;
  int row = blockIdx.x % tiles * kRows, count = s_length - row < kRows ? s_length - row : kRows;
  constexpr long long q_stride = (long long)kH * kD, k_stride = (long long)kKv * kD;
  long long k_at = head_offset(item, s_length, kKv, kv_head) + row * k_stride;
  auto queries = [&](int r) {
    return queries_of(row + r, item, t, s_length, cu, docs, prefix);
  };
  Range all = hull(s, queries, [](int) { return Range{0, 0}; });
  clear(sums, 2 * kRows * kD);
  for (int head = kv_head * (kH / kKv); head < (kv_head + 1) * (kH / kKv); ++head) {
    long long q_at = head_offset(item, t, kH, head), lse_at = ((long long)item * kH + head) * t;
    for (int query = all.low; query < all.high; query += kColumns) {
      int width = all.high - query < kColumns ? all.high - query : kColumns;
      const Stored *q_rows = q + q_at + query * q_stride, *d_rows = d_o + q_at + query * q_stride;
      float qk[2][4], dp[2][4];
      products(s, k + k_at, k_stride, count, q_rows, q_stride, width, qk);
      products(s, v + k_at, k_stride, count, d_rows, q_stride, width, dp);
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j) {
          int r = row_at(i), at = query + column_at(j);
          bool visible = r < count && sees(s, r, at);
          float row_lse = visible ? lse[lse_at + at] : 0.0f;
          float shift = visible ? delta[lse_at + at] : 0.0f;
          hook::Place place = {item, head, at, row + r};
          Pair g = gradient(visible, qk[i][j], dp[i][j], row_lse, shift, captured, place);
          s.w[0][r][column_at(j)] = g.p;
          s.w[1][r][column_at(j)] = g.ds;
        }
      accumulate(s, s.w[0], false, d_rows, q_stride, width, dv_sums);
      accumulate(s, s.w[1], false, q_rows, q_stride, width, sums);
    }
  }
  __syncthreads();
  write_rows(sums, count, dk + k_at, k_stride);
  write_rows(dv_sums, count, dv + k_at, k_stride);
}
)cuda";

std::string text_of(const Attention& a, const char* title, std::string_view kernels) {
  return attention_constants(a, title).text() + std::string(kPrelude) + element_text(a.type) +
         std::string(kRangeText) + hook_text(a) + std::string(kAnyTiles) + std::string(kernels);
}

// Dynamic shared memory for sums of `heads` tensors.
int64_t sums_bytes(const Attention& a, int64_t heads, const CallTarget& target) {
  int64_t bytes = heads * kRows * a.d * 4;
  if (bytes + kStaticShared > target.shared_per_block)
    fail_unsupported(
        "attention with heads of " + std::to_string(a.d) +
        " elements: this GPU's shared memory holds at most " +
        std::to_string((target.shared_per_block - kStaticShared) / (heads * kRows * 4)));
  return bytes;
}

void append(std::vector<LaunchArg>& args, const std::vector<LaunchArg>& more) {
  args.insert(args.end(), more.begin(), more.end());
}

}  // namespace

CallPlan any_attention(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  int64_t tiles = (a.t + kRows - 1) / kRows;
  CallLaunch l;
  l.text = text_of(a, "call: attention, any form", kForward);
  l.entry = "fusec_attention";
  l.grid[0] = blocks_for(call, a.b * a.h * tiles, 1);
  l.block[0] = kThreads;
  l.dynamic_shared = sums_bytes(a, 1, target);
  l.args = {argument(0), argument(1), argument(2), argument(3), argument(4)};
  append(l.args, mask_arguments(a, a.cu_seqlens));
  append(l.args, {argument(a.prefix), argument(a.sinks)});
  append(l.args, {i32_value(tiles), skip(), status(), step()});
  append_captured(a, l.args);
  return {{l}, 0};
}

CallPlan any_attention_grad(const Attention& a, const LibraryCall& call, const CallTarget& target) {
  CallPlan plan;
  int64_t rows = a.b * a.h * a.t;
  int64_t delta = take(plan.workspace, rows * 4);
  std::string text = text_of(a, "call: attention_grad, any form",
                             std::string(kAnyGradient) + std::string(kBackward));
  int64_t query_tiles = (a.t + kRows - 1) / kRows, key_tiles = (a.s + kRows - 1) / kRows;
  auto launch = [&](const char* entry, int64_t blocks, int64_t shared,
                    std::vector<LaunchArg> args) {
    if (blocks == 0) return;
    plan.launches.push_back({text,
                             entry,
                             {blocks_for(call, blocks, 1), 1, 1},
                             {kThreads, 1, 1},
                             shared,
                             std::move(args)});
  };
  launch("fusec_attention_delta", (rows + 3) / 4, 0,
         {argument(0), argument(4), workspace(delta), i64_value(rows), i32_value(a.t), skip()});
  std::vector<LaunchArg> inputs = {argument(0), argument(1), argument(2),
                                   argument(3), argument(5), workspace(delta)};
  std::vector<LaunchArg> dq = inputs, dkv = inputs;
  append(dq, {argument(6)});
  append(dq, mask_arguments(a, a.cu_seqlens));
  append(dq, {argument(a.prefix), i32_value(query_tiles), skip()});
  append_captured(a, dq);
  launch("fusec_attention_dq", a.b * a.h * query_tiles, sums_bytes(a, 1, target), dq);
  append(dkv, {argument(7), argument(8)});
  append(dkv, mask_arguments(a, a.cu_seqlens));
  append(dkv, {argument(a.prefix), i32_value(key_tiles), skip()});
  append_captured(a, dkv);
  launch("fusec_attention_dkv", a.b * a.kv * key_tiles, sums_bytes(a, 2, target), dkv);
  append_sink_gradient(a, call, workspace(delta), plan);
  append_captured_gradients(a, call, workspace(delta), plan);
  return plan;
}

}  // namespace fusec::cuda
