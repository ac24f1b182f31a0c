// paged_attention for every type and head size up to 512, in f32 arithmetic without tensor cores.
// 8 lanes take a key, a block of 128 threads 16 keys at a time; each lane holds every eighth
// element of a head of up to 4 query rows, and each group of lanes runs an online softmax of its
// own. Keys and values of a step are loaded before either is used.
#include <algorithm>

#include "fusec/base/error.h"
#include "paged_attention.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kGroups = 16, kLanes = 8, kMostElements = 64;

constexpr std::string_view kKernel = R"cuda(
constexpr int kEach = (kD + 7) / 8;  // elements of a lane

template <class T>
DEV void load(float (&x)[kEach], const T* from, int lane, bool valid) {
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    int c = lane + 8 * i;
    x[i] = valid && c < kD ? element(from[c]) : 0.0f;
  }
}

extern "C" __global__ void __launch_bounds__(128)
fusec_paged_attention(const Stored* __restrict__ q, const Page* __restrict__ k,
                      const Page* __restrict__ v, const int* __restrict__ table,
                      const int* __restrict__ lengths, const int* __restrict__ cu,
                      const float* __restrict__ k_scale, const float* __restrict__ v_scale,
                      float* to, float2* rest, Out* o, unsigned* counters, int tokens, int b,
                      int tiles, const unsigned* skip, Status* status, int step) {
  if (stopped(skip)) return;
  extern __shared__ __align__(16) float shared[];  // sums of the groups
  __shared__ Joined joined;
  check_ranges(lengths, cu, tokens, b, status, step);
  clear_rest(o, cu, tokens, b);
  const Work w = work_of(table, lengths, cu, tokens, b, tiles);
  if (w.rows <= 0) return;
  const int group = threadIdx.x / 8, lane = threadIdx.x % 8;
  float query[kRows][kEach], sums[kRows][kEach], top[kRows], total[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    bool valid = r < w.rows;
    const Stored* from = q + (valid ? w.head_of(r) * kD : 0);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int c = lane + 8 * i;
      query[r][i] = valid && c < kD ? widen(from[c]) : 0.0f;
      sums[r][i] = 0;
    }
    top[r] = -__int_as_float(0x7f800000);
    total[r] = 0;
  }
  for (int key = w.first; key < w.end; key += 16) {
    int j = key + group, row = row_in_page(w, page_of_key(w, j), j, status, step);
    long long at = (long long)(row < 0 ? 0 : row) * kKv + w.head;
    float keys[kEach], values[kEach];
    load(keys, k + at * kD, lane, row >= 0);
    load(values, v + at * kD, lane, row >= 0);
    float by_key = kNarrow && row >= 0 ? k_scale[at] : 1.0f;
    float by_value = kNarrow && row >= 0 ? v_scale[at] : 1.0f;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float score = 0;
#pragma unroll
      for (int i = 0; i < kEach; ++i) score += query[r][i] * keys[i];
      for (int d = 1; d < 8; d *= 2) score += __shfl_xor_sync(~0u, score, d);
      score *= by_key * kScale;
      if (kCap != 0) score = kCap * tanhf(score * (1 / kCap));
      score *= kLog2e;
      bool seen = row >= 0 && j >= w.low(r) && j < w.high(r);
      float most = seen && score > top[r] ? score : top[r];
      // Of a row that has seen no key top is -inf; exp2 must not see -inf - (-inf).
      float base = most == -__int_as_float(0x7f800000) ? 0.0f : most;
      float factor = exp2f(top[r] - base), p = seen ? exp2f(score - base) : 0.0f;
      top[r] = most;
      total[r] = total[r] * factor + p;
      p *= by_value;
#pragma unroll
      for (int i = 0; i < kEach; ++i) sums[r][i] = sums[r][i] * factor + p * values[i];
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (lane + 8 * i < kD) shared[(group * kRows + r) * kD + lane + 8 * i] = sums[r][i];
    if (lane == 0) joined.top[group][r] = top[r], joined.total[group][r] = total[r];
  }
  leave(w, joined, shared, to, rest, o, counters, tokens, tiles);
}
)cuda";

constexpr std::string_view kE4m3 = R"cuda(
using Page = unsigned char;
// Of a subnormal m 2^-9, 2^-6 (1 + m / 8) is made and 2^-6 taken away.
DEV float element(Page x) {
  const unsigned magnitude = x & 0x7f;
  const bool small = magnitude < 8;
  float v = __uint_as_float((magnitude << 20) + (small ? 0x3c800000u : 0x3c000000u));
  v -= small ? 0.015625f : 0.0f;
  if (magnitude == 0x7f) v = __uint_as_float(0x7fc00000u);
  return x & 0x80 ? -v : v;
}
)cuda";

// element(Page) -> float, and out_of() of kPagedText.
std::string page_text(const Paged& p) {
  const std::string out = "using Out = Stored;\nDEV Out out_of(float x) { return narrow(x); }\n";
  if (p.page_type == f8e4m3) return out + std::string(kE4m3);
  if (p.page_type == u8)
    return out +
           "using Page = unsigned char;\n"
           "DEV float element(Page x) { return (float)x - 128.0f; }\n";
  return out + "using Page = Stored;\nDEV float element(Page x) { return widen(x); }\n";
}

}  // namespace

int64_t any_paged_rows(const Paged& p) {
  int64_t each = (p.d + kLanes - 1) / kLanes;
  if (each > kMostElements)
    fail_unsupported("paged_attention with heads of " + std::to_string(p.d) +
                     " elements: the CUDA device takes " + std::to_string(kMostElements * kLanes) +
                     " at most");
  int64_t rows = p.at.cu_q || p.group() >= 4 ? 4 : p.group() >= 2 ? 2 : 1;
  // Queries and sums of all rows, a key and a value: within the registers of a thread.
  while (rows > 1 && 2 * (rows + 1) * each > 200) rows /= 2;
  return rows;
}

CallLaunch any_paged_attention(const Paged& p, const PagedCut& cut) {
  CallLaunch l;
  l.text = paged_constants(p, cut, kGroups, "call: paged_attention in any form").text() +
           std::string(kPrelude) + element_text(p.type) + page_text(p) + std::string(kPagedText) +
           std::string(kKernel);
  l.entry = "fusec_paged_attention";
  l.block[0] = 128;
  l.dynamic_shared = std::max(kGroups * cut.rows * p.d * 4, cut.share_bytes());
  return l;
}

}  // namespace fusec::cuda
