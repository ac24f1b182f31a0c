// paged_attention on tensor cores (mma.sync). A block of 4 warps takes 16 or 32 rows, all heads
// that share a key head first, so that keys and values cross the memory once. Each warp walks over
// 16 keys at a time, every fourth such slice, with copies, maxima and sums of its own: no barrier
// of the block until the end, and several slices of each warp under way. Page numbers are looked up
// one slice ahead of the copies that need them, those of the first copies all at once.
//
// 8-bit pages: keys and values become f16 in registers, exactly, in one or two instructions a pair,
// so both products run in f16. Its range is short:
//   q (bf16)   each row is multiplied by a power of two that puts its largest element into
//              [2^15, 2^16), which its scores are divided by again: what is smaller than 2^-29 of
//              the largest keeps an error of 2^-40 of it
//   weights    times the value's scale, divided by the power of two below the largest scale that
//              the warp has met, and times 2^13: an error of at most 2^-38 of that scale (of
//              2^-100, if it is smaller) beside the rounding to 11 bits
// The scale of a key multiplies its scores. A product's summed columns may come in any order if
// both operands agree, and so may the columns of a result: a lane reads 4 bytes at once, and the
// columns of Q are stored as they fall to the lanes.
#include <algorithm>

#include "paged_attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kWarps = 4, kSlice = 16, kScaleBytes = 128;

constexpr std::string_view kKernel = R"cuda(
constexpr int kWarps = 4, kSlice = 16, kRowTiles = kRows / 16;
// Halves of 8 rows of a tile of 16 that may hold any.
constexpr int kHalves = !kCu && kRows == 16 && kGroup <= 8 ? 1 : 2;
constexpr bool kHoldQ = kRowTiles == 1 && kD <= 128;  // in registers
constexpr int kPitch = 16 * ((kD / 16) | 1);  // bytes of a narrow row: 8 rows meet no bank twice
constexpr int kSideBytes = kNarrow ? kSlice * kPitch : kTileBytes<kSlice>;
constexpr int kStageBytes = 2 * kSideBytes + (kNarrow ? 128 : 0);  // K, V, and scales of both
constexpr int kRowPieces = kD * (kNarrow ? 1 : 2) / 16;            // 16 bytes each

constexpr unsigned kLeastUnit = 27u << 23, kLargestUnit = 253u << 23;  // of scales: 2^-100, 2^126

// Where the rows of all pages begin for a lane: its first piece of the block's head.
struct Source {
  const unsigned char *k, *v;
  const float* scale;  // of keys for the first 16 lanes, of values for the others
};

// Rows of keys that there are (all 16 of them if ALL) to shared memory, zeros for the others.
template <bool ALL>
DEV void copy_rows(unsigned to, const Source& from, int row, unsigned present, int lane) {
#pragma unroll
  for (int i = 0; i < kSlice * kRowPieces / 32; ++i) {
    const int one = i * 32 + lane, r = one / kRowPieces, piece = one % kRowPieces;
    const unsigned long long at =
        (unsigned long long)(unsigned)__shfl_sync(~0u, row, r) * (kKv * kD * sizeof(Page)) +
        (piece - lane % kRowPieces) * 16;
    const unsigned place = kNarrow ? r * kPitch + piece * 16
                                   : (piece >> 3) * (kSlice * 128) + r * 128 +
                                         (((piece & 7) ^ (r & 7)) << 4);
    const bool valid = ALL || (present >> r & 1) != 0;
    copy16(to + place, from.k + at, valid);
    copy16(to + kSideBytes + place, from.v + at, valid);
  }
}

// Copies a slice of keys to shared memory; `mine` is the row of all pages of key lane % 16.
DEV void copy_slice(unsigned to, const Source& from, int mine, int lane) {
  const unsigned present = __ballot_sync(~0u, mine >= 0);
  const int row = mine < 0 ? 0 : mine;
  if (present == ~0u)
    copy_rows<true>(to, from, row, present, lane);
  else
    copy_rows<false>(to, from, row, present, lane);
  if (kNarrow)
    copy4(to + 2 * kSideBytes + lane * 4, from.scale + (unsigned long long)(unsigned)row * kKv,
          mine >= 0);
}

extern "C" __global__ void __launch_bounds__(128, kBlocksAnSm)
fusec_paged_attention(const unsigned short* __restrict__ q, const Page* __restrict__ k,
                      const Page* __restrict__ v, const int* __restrict__ table,
                      const int* __restrict__ lengths, const int* __restrict__ cu,
                      const float* __restrict__ k_scale, const float* __restrict__ v_scale,
                      float* to, float2* rest, Out* o, unsigned* counters, int tokens, int b,
                      int tiles, const unsigned* skip, Status* status, int step) {
  // Read beside the lengths and the first entries of the page table, looked at after them.
  const unsigned stop = skip ? *(const volatile unsigned*)skip : 0;
  extern __shared__ __align__(128) unsigned char shared[];  // Q; stages of each warp | sums
  __shared__ Joined joined;
  __shared__ float q_unit[kRows];  // what stored elements of a row are times
  const Work w = work_of(table, lengths, cu, tokens, b, tiles);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, column = lane & 3, line = lane >> 2;
  const int first = (kReadsAhead ? 0 : w.first) + warp * kSlice, stride = kWarps * kSlice;
  int pages[kStages];
#pragma unroll
  for (int s = 0; s < kStages; ++s) pages[s] = page_of_key(w, first + s * stride + (lane & 15));
  if (__syncthreads_or(stop != 0)) return;
  clear_rest(o, cu, tokens, b);
  if (w.rows <= 0) {
    check_ranges(lengths, cu, tokens, b, status, step);
    return;
  }

  const unsigned q_tile = shared_address(shared);
  unsigned char* stages = shared + kTileBytes<kRows> + warp * (kStages * kStageBytes);
  const unsigned stage_0 = shared_address(stages);
  const long long head_bytes = (long long)w.head * kD * sizeof(Page) + lane % kRowPieces * 16;
  const Source from = {(const unsigned char*)k + head_bytes, (const unsigned char*)v + head_bytes,
                       (lane < 16 ? k_scale : v_scale) + w.head};
#pragma unroll
  for (int s = 0; s + 1 < kStages; ++s) {
    const int key = first + s * stride;
    if (key < w.end)
      copy_slice(stage_0 + s * kStageBytes, from,
                 row_in_page(w, pages[s], key + (lane & 15), status, step), lane);
    commit_copies();
  }
  int page = pages[kStages - 1], ahead = first + (kStages - 1) * stride;
  check_ranges(lengths, cu, tokens, b, status, step);

  // Q, two elements at a time; rows that are not there become zeros.
  constexpr int kTwos = (kD / 2 + 31) / 32, kOwnRows = kRows / kWarps;
  unsigned two[kOwnRows][kTwos];
#pragma unroll
  for (int i = 0; i < kOwnRows * kTwos; ++i) {
    const int r = warp + i / kTwos * kWarps, x = i % kTwos * 32 + lane;
    two[i / kTwos][i % kTwos] =
        r < w.rows && x < kD / 2 ? *(const unsigned*)(q + w.head_of(r) * kD + 2 * x) : 0u;
  }
#pragma unroll
  for (int own = 0; own < kOwnRows; ++own) {
    const int r = warp + own * kWarps;
    float by = 1;
    if (kScaledQ) {
      int largest = 0;
#pragma unroll
      for (int i = 0; i < kTwos; ++i) {
        largest = max(largest, (int)(two[own][i] & 0x7fff));
        largest = max(largest, (int)(two[own][i] >> 16 & 0x7fff));
      }
      for (int d = 16; d > 0; d /= 2) largest = max(largest, __shfl_xor_sync(~0u, largest, d));
      const int power = min(142 - (largest >> 7), 120);
      by = __uint_as_float((unsigned)(127 + power) << 23);
      if (lane == 0) q_unit[r] = __uint_as_float((unsigned)(127 - power) << 23);
    }
#pragma unroll
    for (int i = 0; i < kTwos; ++i) {
      int x = i * 32 + lane;
      if (x >= kD / 2) break;
      unsigned stored = two[own][i];
      if (kScaledQ)
        stored = pack(__uint_as_float(stored << 16) * by,
                      __uint_as_float(stored & 0xffff0000u) * by);
      if (kNarrow) x = (x & ~7) + ((x & 1) << 2) + ((x & 7) >> 1);
      *(unsigned*)(shared + (x >> 5) * (kRows * 128) + r * 128 +
                   ((((x >> 2) & 7) ^ (r & 7)) << 4) + (x & 3) * 4) = stored;
    }
  }
  __syncthreads();

  float sums[kRowTiles][kD / 8][4], top[kRowTiles][2], total[kRowTiles][2];
  float unit[kRowTiles][2];      // of scores, in parts of the row's
  unsigned by_unit = kLeastUnit; // of sums, in parts of the values'
  int low[kRowTiles][2], high[kRowTiles][2];
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int j = 0; j < kD / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[m][j][e] = 0;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      int r = 16 * m + 8 * half + line;
      top[m][half] = -__int_as_float(0x7f800000);
      total[m][half] = 0;
      unit[m][half] = kScaledQ ? q_unit[r] : 1.0f;
      low[m][half] = w.low(r);
      high[m][half] = w.high(r) < w.end ? w.high(r) : w.end;
    }
  }
  // Keys that every row sees.
  const int all_high = w.high(0) < w.end ? w.high(0) : w.end, all_low = w.low(w.rows - 1);

  unsigned queries[kHoldQ ? kD / 16 : 1][4];
  if (kHoldQ) {
#pragma unroll
    for (int x = 0; x < kD / 16; ++x) ldmatrix(queries[x], at<kRows>(q_tile + lanes_of(lane).a, x));
  }

  int stage = 0, free_stage = kStages - 1;
  for (int key = first; key < w.end; key += stride, ahead += stride) {
    wait_copies<kStages - 2>();
    __syncwarp();  // all lanes' copies are here, and nobody reads the free stage any more
    if (ahead < w.end) {
      copy_slice(stage_0 + free_stage * kStageBytes, from,
                 row_in_page(w, page, ahead + (lane & 15), status, step), lane);
      page = page_of_key(w, ahead + stride + (lane & 15));
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
        halves_of(keys[0], keys[1], near);
        halves_of(keys[2], keys[3], far);
      } else {
        ldmatrix(keys, at<kSlice>(k_now + lanes.b, x));
      }
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        unsigned a[4];
        if (kHoldQ) {
#pragma unroll
          for (int i = 0; i < 4; ++i) a[i] = queries[x][i];
        } else {
          ldmatrix(a, at<kRows>(q_tile + lanes.a, x) + m * 16 * 128);
        }
        mma(scores[m][0], a, keys[0], keys[1]);
        mma(scores[m][1], a, keys[2], keys[3]);
      }
    }

    bool masked = key < all_low || key + kSlice > all_high, grew = false;
    float factor[kRowTiles][2], by[2][2], shrink = 1;
    if (kNarrow) {
      float largest = 0;
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          by[j][e] = scales[16 + 8 * j + 2 * column + e];
          largest = fmaxf(largest, fabsf(by[j][e]));
        }
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
      const unsigned power = __float_as_uint(largest) & 0x7f800000u;
      if (power > by_unit) {
        const unsigned next = power < kLargestUnit ? power : kLargestUnit;
        shrink = __uint_as_float(by_unit) * __uint_as_float((254u << 23) - next);
        by_unit = next;
        grew = true;
      }
      const float inverse = __uint_as_float((254u << 23) - by_unit);
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) by[j][e] *= inverse;
    }
    if (kNarrow || kCap != 0) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int j = i / 4, half = i / 2 % 2;
          if (half >= kHalves) continue;
          float& s = scores[m][j][i % 4];
          if (kNarrow) s *= scales[8 * j + 2 * column + i % 2];
          if (kCap != 0) s = kCap * tanh_fast(s * (kCapSlope * unit[m][half]));
        }
    }
    if (masked) {
      const int first_key = opaque(key) + 2 * column;  // kept out of slices that all rows see
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          const int half = i / 2 % 2, at_key = first_key + 8 * (i / 4) + i % 2;
          if (half < kHalves && (at_key < low[m][half] || at_key >= high[m][half]))
            scores[m][i / 4][i % 4] = -__int_as_float(0x7f800000);
        }
    }
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        const float exponent = kCap == 0 ? kExponent * unit[m][half] : kExponent;
        float most = top[m][half];
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) most = fmaxf(most, scores[m][j][2 * half + e]);
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
        // A row that has seen no key keeps -inf; exp2 must not see -inf - (-inf).
        const float base = most == -__int_as_float(0x7f800000) ? 0.0f : most * exponent;
        bool same = most == top[m][half];
        factor[m][half] = same ? 1.0f : exp2_fast(top[m][half] * exponent - base);
        grew = grew || !same;
        float sum = total[m][half] * factor[m][half];
        top[m][half] = most;
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& s = scores[m][j][2 * half + e];
            s = s * exponent - (base - kLift);
            if (kNarrow) s = fminf(s, kLift);  // base - kLift rounds where scores are huge
            s = exp2_fast(s);
            sum += s;
            if (kNarrow) s *= by[j][e];
          }
        total[m][half] = sum;
      }
    if (__any_sync(~0u, grew)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int j = 0; j < kD / 8; ++j)
#pragma unroll
          for (int e = 0; e < 2 * kHalves; ++e) sums[m][j][e] *= factor[m][e / 2] * shrink;
    }

    // Accumulators of 16 x 16 scores are, packed, operand A of the next product.
    unsigned p[kRowTiles][4];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      p[m][0] = pack(scores[m][0][0], scores[m][0][1]);
      p[m][1] = kHalves > 1 ? pack(scores[m][0][2], scores[m][0][3]) : 0;
      p[m][2] = pack(scores[m][1][0], scores[m][1][1]);
      p[m][3] = kHalves > 1 ? pack(scores[m][1][2], scores[m][1][3]) : 0;
    }
    if (kNarrow) {
#pragma unroll
      for (int x = 0; x < kD / 32; ++x) {
        unsigned rows[4], near[4], far[4];
#pragma unroll
        for (int i = 0; i < 4; ++i)
          rows[i] = *(const unsigned*)(bytes + kSideBytes + 32 * x + 4 * line +
                                       (2 * column + (i & 1) + 8 * (i >> 1)) * kPitch);
        // Elements 0 and 1 of two keys side by side, then 2 and 3.
        halves_of(near[0], near[1], __byte_perm(rows[0], rows[1], 0x5140));
        halves_of(near[2], near[3], __byte_perm(rows[0], rows[1], 0x7362));
        halves_of(far[0], far[1], __byte_perm(rows[2], rows[3], 0x5140));
        halves_of(far[2], far[3], __byte_perm(rows[2], rows[3], 0x7362));
#pragma unroll
        for (int e = 0; e < 4; ++e)
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) mma(sums[m][4 * x + e], p[m], near[e], far[e]);
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
  const float drop = __uint_as_float((127u - kLift) << 23);
  const float out_unit = kNarrow ? __uint_as_float(by_unit) * drop : 1.0f;
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      int r = 16 * m + 8 * half + line;
      float sum = total[m][half];
      sum += __shfl_xor_sync(~0u, sum, 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      if (column == 0) {
        joined.top[warp][r] = top[m][half] * (kCap == 0 ? kExponent * unit[m][half] : kExponent);
        joined.total[warp][r] = sum * drop;
      }
#pragma unroll
      for (int j = 0; j < kD / 8; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          int c = 2 * column + e;
          c = kNarrow ? 32 * (j / 4) + 4 * c + j % 4 : 8 * j + c;
          out[(warp * kRows + r) * kD + c] = sums[m][j][2 * half + e] * out_unit;
        }
    }
  leave(w, joined, out, to, rest, o, counters, tokens, tiles);
}
)cuda";

// halves_of(low, high, x): bytes 0 and 1, 2 and 3 of x as pairs of f16.
constexpr std::string_view kU8Halves = R"cuda(
// 0x6400 | byte is 1024 + byte; 0x6480 is 1024 + 128.
DEV void halves_of(unsigned& low, unsigned& high, unsigned x) {
  low = subtract_halves(__byte_perm(x, 0x64646464u, 0x4140), 0x64806480u);
  high = subtract_halves(__byte_perm(x, 0x64646464u, 0x4342), 0x64806480u);
}
)cuda";
constexpr std::string_view kE4m3Halves = R"cuda(
DEV void halves_of(unsigned& low, unsigned& high, unsigned x) {
#if __CUDA_ARCH__ >= 890
  low = halves_of_e4m3((unsigned short)x);
  high = halves_of_e4m3((unsigned short)(x >> 16));
#else
  // The exponent of f16 is larger by 8. A NaN, all bits set, would become 480.
  const unsigned first = __byte_perm(x, 0, 0x1404), second = __byte_perm(x, 0, 0x3424);
  const unsigned a = (first & 0x80008000u) | (first >> 1 & 0x3f803f80u);
  const unsigned b = (second & 0x80008000u) | (second >> 1 & 0x3f803f80u);
  low = multiply_halves(a, 0x5c005c00u), high = multiply_halves(b, 0x5c005c00u);
  if (((x & 0x7f7f7f7fu) + 0x01010101u) & 0x80808080u) {
    if ((a & 0x7fffu) == 0x3f80u) low |= 0x7fffu;
    if ((a & 0x7fff0000u) == 0x3f800000u) low |= 0x7fff0000u;
    if ((b & 0x7fffu) == 0x3f80u) high |= 0x7fffu;
    if ((b & 0x7fff0000u) == 0x3f800000u) high |= 0x7fff0000u;
  }
#endif
}
)cuda";

// Elements of o: of the type that pack() is of, or bf16 where products run in f16.
constexpr std::string_view kPackedOut = R"cuda(
using Out = unsigned short;
DEV Out out_of(float x) { return (Out)pack(x, 0); }
)cuda";
constexpr std::string_view kBf16Out = R"cuda(
using Out = unsigned short;
DEV Out out_of(float x) {
  const unsigned bits = __float_as_uint(x);
  if (x != x) return 0x7fff;
  return (Out)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
)cuda";

std::string element_parts(const Paged& p) {
  const bool halves = p.narrow() || p.type == f16;
  std::string text(halves ? kF16Mma : kBf16Mma);
  if (p.narrow()) {
    text += kHalfPairs;
    text += p.page_type == u8 ? kU8Halves : kE4m3Halves;
  } else {
    text += "DEV void halves_of(unsigned&, unsigned&, unsigned) {}\n";
  }
  return text + std::string(halves && p.type == bf16 ? kBf16Out : kPackedOut);
}

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
  bool types = p.type != f32 && p.d % (p.narrow() ? 32 : 16) == 0;
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
      .integer("kScaledQ", p.narrow() && p.type == bf16)
      .integer("kLift", p.narrow() ? 13 : 0)  // weights are at most 2^13
      // What multiplies a product before tanh, and a (capped) score before exp2.
      .real("kCapSlope", p.softcap == 0 ? 0 : p.scale / p.softcap)
      .real("kExponent", (p.softcap == 0 ? p.scale : 1) * 1.44269504088896341)
      .type("Page", p.narrow() ? "unsigned char" : "unsigned short");
  CallLaunch l;
  l.text = constants.text() + std::string(kPrelude) + std::string(kTensorInstructions) +
           element_parts(p) + std::string(kTensorTiles) + std::string(kTanh) +
           std::string(kPagedText) + std::string(kKernel);
  l.entry = "fusec_paged_attention";
  l.block[0] = 128;
  // The sums of four warps take the place of both at the end.
  l.dynamic_shared =
      std::max({layout.q + stages * layout.stage, kWarps * cut.rows * p.d * 4, cut.share_bytes()});
  return l;
}

}  // namespace fusec::cuda
