// paged_attention on tensor cores (mma.sync). A block of 4 warps takes 16 or 32 rows, all heads
// that share a key head first, so that keys and values cross the memory once. Each warp walks over
// 16 keys at a time, every fourth such slice, with copies, maxima and sums of its own: no barrier
// of the block until the end, and several slices of each warp under way. Page numbers are looked up
// one slice ahead of the copies that need them.
//
// 8-bit pages: keys and values become bf16 in registers (whole numbers up to 128, exact), the
// scale of a key multiplies its scores, that of a value its weights. A product's summed columns may
// come in any order if both operands agree, and so may the columns of a result: a lane reads 4
// bytes at once, and the columns of Q are stored as they fall to the lanes.
#include <algorithm>

#include "paged_attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kWarps = 4, kSlice = 16, kScaleBytes = 128;

constexpr std::string_view kKernel = R"cuda(
constexpr int kWarps = 4, kSlice = 16, kRowTiles = kRows / 16;
constexpr int kPitch = 16 * ((kD / 16) | 1);  // bytes of a narrow row: 8 rows meet no bank twice
constexpr int kSideBytes = kNarrow ? kSlice * kPitch : kTileBytes<kSlice>;
constexpr int kStageBytes = 2 * kSideBytes + (kNarrow ? 128 : 0);  // K, V, and scales of both
constexpr int kRowPieces = kD * (kNarrow ? 1 : 2) / 16;            // 16 bytes each

// Bytes i and j of two words as whole numbers -128 .. 127, in a pair.
DEV unsigned whole_pair(unsigned x, int i, unsigned y, int j) {
  const unsigned kExponent23 = 0x4b000000;  // 2^23 + byte
  float low = __uint_as_float(__byte_perm(x, kExponent23, 0x7440 | i)) - 8388736.0f;
  float high = __uint_as_float(__byte_perm(y, kExponent23, 0x7440 | j)) - 8388736.0f;
  return pack(low, high);
}

// Copies a slice of keys to shared memory; `mine` is the row of all pages of key lane % 16.
DEV void copy_slice(unsigned to, const Page* k, const Page* v, const float* k_scale,
                    const float* v_scale, int head, int mine, int lane) {
#pragma unroll
  for (int i = 0; i < kSlice * kRowPieces / 32; ++i) {
    int one = i * 32 + lane, r = one / kRowPieces, piece = one % kRowPieces;
    int row = __shfl_sync(~0u, mine, r);
    long long at = ((long long)(row < 0 ? 0 : row) * kKv + head) * kD + piece * (16 / sizeof(Page));
    unsigned place = kNarrow ? r * kPitch + piece * 16
                             : (piece >> 3) * (kSlice * 128) + r * 128 +
                                   (((piece & 7) ^ (r & 7)) << 4);
    copy16(to + place, k + at, row >= 0);
    copy16(to + kSideBytes + place, v + at, row >= 0);
  }
  if (kNarrow)
    copy4(to + 2 * kSideBytes + lane * 4,
          (lane < 16 ? k_scale : v_scale) + ((long long)(mine < 0 ? 0 : mine) * kKv + head),
          mine >= 0);
}

extern "C" __global__ void __launch_bounds__(128, kBlocksAnSm)
fusec_paged_attention(const unsigned short* __restrict__ q, const Page* __restrict__ k,
                      const Page* __restrict__ v, const int* __restrict__ table,
                      const int* __restrict__ lengths, const int* __restrict__ cu,
                      const float* __restrict__ k_scale, const float* __restrict__ v_scale,
                      float* __restrict__ to, float2* __restrict__ rest, int tokens, int b,
                      int tiles, const unsigned* skip, Status* status, int step) {
  if (stopped(skip)) return;
  extern __shared__ __align__(128) unsigned char shared[];  // Q; stages of each warp | sums
  __shared__ Joined joined;
  const Work w = work_of(table, lengths, cu, tokens, b, tiles, status, step);
  if (w.rows <= 0) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = lane & 3, line = lane >> 2;

  // Q, two elements at a time; rows that are not there become zeros.
  for (int i = threadIdx.x; i < kRows * (kD / 2); i += 128) {
    int r = i / (kD / 2), x = i % (kD / 2);
    unsigned two = 0;
    if (r < w.rows) two = *(const unsigned*)(q + w.head_of(r) * kD + 2 * x);
    if (kNarrow) x = (x & ~7) + ((x & 1) << 2) + ((x & 7) >> 1);
    *(unsigned*)(shared + (x >> 5) * (kRows * 128) + r * 128 +
                 ((((x >> 2) & 7) ^ (r & 7)) << 4) + (x & 3) * 4) = two;
  }
  __syncthreads();

  const unsigned q_tile = shared_address(shared);
  unsigned char* stages = shared + kTileBytes<kRows> + warp * (kStages * kStageBytes);
  const unsigned stage_0 = shared_address(stages);

  float sums[kRowTiles][kD / 8][4], top[kRowTiles][2], total[kRowTiles][2];
  int low[kRowTiles][2], high[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kD / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[m][j][e] = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int r = 16 * m + 8 * half + line;
      top[m][half] = -__int_as_float(0x7f800000);
      total[m][half] = 0;
      low[m][half] = w.low(r);
      high[m][half] = w.high(r) < w.end ? w.high(r) : w.end;
    }
  }
  // Keys that every row sees.
  const int all_high = w.high(0) < w.end ? w.high(0) : w.end, all_low = w.low(w.rows - 1);

  const int first = w.first + warp * kSlice, stride = kWarps * kSlice;
  int ahead = first, mine = row_of_key(w, first + (lane & 15), status, step);
  for (int s = 0; s + 1 < kStages; ++s, ahead += stride) {
    if (ahead < w.end) {
      copy_slice(stage_0 + s * kStageBytes, k, v, k_scale, v_scale, w.head, mine, lane);
      mine = row_of_key(w, ahead + stride + (lane & 15), status, step);
    }
    commit_copies();
  }
  int stage = 0, free_stage = kStages - 1;
  for (int key = first; key < w.end; key += stride, ahead += stride) {
    wait_copies<kStages - 2>();
    __syncwarp();  // all lanes' copies are here, and nobody reads the free stage any more
    if (ahead < w.end) {
      copy_slice(stage_0 + free_stage * kStageBytes, k, v, k_scale, v_scale, w.head, mine, lane);
      mine = row_of_key(w, ahead + stride + (lane & 15), status, step);
    }
    commit_copies();
    const Lanes lanes = lanes_of(opaque(lane));
    const unsigned k_now = stage_0 + stage * kStageBytes, v_now = k_now + kSideBytes;
    const unsigned char* bytes = stages + stage * kStageBytes;
    const float* scales = (const float*)(bytes + 2 * kSideBytes);

    float scores[kRowTiles][2][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[m][j][e] = 0;
#pragma unroll
    for (int x = 0; x < kD / 16; ++x) {
      unsigned keys[4];
      if (kNarrow) {
        unsigned near = *(const unsigned*)(bytes + line * kPitch + 16 * x + 4 * column);
        unsigned far = *(const unsigned*)(bytes + (line + 8) * kPitch + 16 * x + 4 * column);
        keys[0] = whole_pair(near, 0, near, 1), keys[1] = whole_pair(near, 2, near, 3);
        keys[2] = whole_pair(far, 0, far, 1), keys[3] = whole_pair(far, 2, far, 3);
      } else {
        ldmatrix(keys, at<kSlice>(k_now + lanes.b, x));
      }
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        unsigned a[4];
        ldmatrix(a, at<kRows>(q_tile + lanes.a, x) + m * 16 * 128);
        mma(scores[m][0], a, keys[0], keys[1]);
        mma(scores[m][1], a, keys[2], keys[3]);
      }
    }

    bool masked = key < all_low || key + kSlice > all_high, grew = false;
    float factor[kRowTiles][2];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float most = top[m][half];
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& s = scores[m][j][2 * half + e];
            int at_key = 8 * j + 2 * column + e;
            if (kNarrow) s *= scales[at_key];
            if (kCap != 0) s = kCap * tanh_fast(s * kCapSlope);
            if (masked && (key + at_key < low[m][half] || key + at_key >= high[m][half]))
              s = -__int_as_float(0x7f800000);
            most = fmaxf(most, s);
          }
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        // A row that has seen no key keeps -inf; exp2 must not see -inf - (-inf).
        float base = fmaxf(most, -1e30f) * kExponent;
        bool same = most == top[m][half];
        factor[m][half] = same ? 1.0f : exp2_fast(top[m][half] * kExponent - base);
        grew = grew || !same;
        float sum = total[m][half] * factor[m][half];
        top[m][half] = most;
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& s = scores[m][j][2 * half + e];
            s = exp2_fast(s * kExponent - base);
            sum += s;
            if (kNarrow) s *= scales[16 + 8 * j + 2 * column + e];
          }
        total[m][half] = sum;
      }
    if (__any_sync(~0u, grew)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int j = 0; j < kD / 8; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[m][j][e] *= factor[m][e / 2];
    }

    // Accumulators of 16 x 16 scores are, packed, operand A of the next product.
    unsigned p[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      p[m][0] = pack(scores[m][0][0], scores[m][0][1]);
      p[m][1] = pack(scores[m][0][2], scores[m][0][3]);
      p[m][2] = pack(scores[m][1][0], scores[m][1][1]);
      p[m][3] = pack(scores[m][1][2], scores[m][1][3]);
    }
    if (kNarrow) {
#pragma unroll
      for (int x = 0; x < kD / 32; ++x) {
        unsigned rows[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          rows[i] = *(const unsigned*)(bytes + kSideBytes + 32 * x + 4 * line +
                                       (2 * column + (i & 1) + 8 * (i >> 1)) * kPitch);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          unsigned near = whole_pair(rows[0], e, rows[1], e);
          unsigned far = whole_pair(rows[2], e, rows[3], e);
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) mma(sums[m][4 * x + e], p[m], near, far);
        }
      }
    } else {
#pragma unroll
      for (int j = 0; j < kD / 16; ++j) {
        unsigned values[4];
        ldmatrix_trans(values, at<kSlice>(v_now + lanes.a, j));
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma(sums[m][2 * j], p[m], values[0], values[1]);
          mma(sums[m][2 * j + 1], p[m], values[2], values[3]);
        }
      }
    }
    stage = stage + 1 == kStages ? 0 : stage + 1;
    free_stage = free_stage + 1 == kStages ? 0 : free_stage + 1;
  }

  wait_copies<0>();
  __syncthreads();  // nobody reads a stage or Q any more
  float* out = (float*)shared;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int r = 16 * m + 8 * half + line;
      float sum = total[m][half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      if (column == 0) {
        joined.top[warp][r] = top[m][half] * kExponent;
        joined.total[warp][r] = sum;
      }
#pragma unroll
      for (int j = 0; j < kD / 8; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          int c = 2 * column + e;
          c = kNarrow ? 32 * (j / 4) + 4 * c + j % 4 : 8 * j + c;
          out[(warp * kRows + r) * kD + c] = sums[m][j][2 * half + e];
        }
    }
  leave(w, joined, out, to, rest, tokens);
}
)cuda";

// Shared memory of a block: Q, and stages of all warps in `budget` bytes beside it.
struct Layout {
  int64_t q, stage, budget;
  Layout(const Paged& p, int64_t rows, const CallTarget& target) {
    int64_t panels = (p.d + 63) / 64;
    int64_t side = p.narrow() ? kSlice * 16 * (p.d / 16 | 1) : kSlice * 128 * panels;
    q = rows * 128 * panels;
    stage = kWarps * (2 * side + (p.narrow() ? kScaleBytes : 0));
    budget = target.shared_per_block - (4 << 10) - q;
  }
};

}  // namespace

int64_t mma_paged_rows(const Paged& p, const CallTarget& target) {
  bool types = p.narrow() ? p.type == bf16 && p.d % 32 == 0 : p.type != f32 && p.d % 16 == 0;
  if (!types || target.major < 8 || p.d > 256 || p.scale <= 0) return 0;
  int64_t rows = p.d <= 128 && (p.at.cu_q || p.group() > 16) ? 32 : 16;
  Layout layout(p, rows, target);
  return layout.budget >= 2 * layout.stage ? rows : 0;
}

CallLaunch mma_paged_attention(const Paged& p, const PagedCut& cut, const CallTarget& target) {
  Layout layout(p, cut.rows, target);
  // As many as leave room for two blocks a multiprocessor of 227 KB, two in any case.
  int64_t budget = std::min<int64_t>(layout.budget, (100 << 10) - layout.q);
  int64_t stages = std::clamp<int64_t>(budget / layout.stage, 2, 5);
  Constants constants = paged_constants(p, cut, kWarps, "call: paged_attention (mma.sync)");
  constants.integer("kStages", stages)
      .integer("kBlocksAnSm", 2)
      // What multiplies a product before tanh, and a (capped) score before exp2.
      .real("kCapSlope", p.softcap == 0 ? 0 : p.scale / p.softcap)
      .real("kExponent", (p.softcap == 0 ? p.scale : 1) * 1.44269504088896341)
      .type("Page", p.narrow() ? "unsigned char" : "unsigned short");
  CallLaunch l;
  l.text = constants.text() + std::string(kPrelude) + std::string(kTensorInstructions) +
           std::string(p.type == bf16 ? kBf16Mma : kF16Mma) + std::string(kTensorTiles) +
           std::string(kTanh) + std::string(kPagedText) + std::string(kKernel);
  l.entry = "fusec_paged_attention";
  l.block[0] = 128;
  // The sums of four warps take the place of both at the end.
  l.dynamic_shared = std::max(layout.q + stages * layout.stage, kWarps * cut.rows * p.d * 4);
  return l;
}

}  // namespace fusec::cuda
