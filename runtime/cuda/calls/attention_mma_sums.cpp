// The parts of attention_grad on tensor cores (attention_mma_grad.cpp) around sums of dq that
// blocks add to in any order:
//  - delta: rowsum(d_o * o), and zeros for the sums, where there are such.
//  - the product dQ = dS K of a step of the dk, dv kernel, added to the sums.
//  - dq: the sums, scaled, to their type and place.
// Sums are f32, [b, h, tile of kColumns queries][16 queries][8 columns][accumulators of a warp]:
// the order in which a warp holds them, so that what it adds at once is adjacent.
#include "attention.h"
#include "prelude.h"

namespace fusec::cuda {

const std::string_view kMmaDelta = R"cuda(
// delta [b, h, t] of [b, t, h] rows, kTeam threads a row, 16 bytes a thread; `rows` counts those of
// tiles, of `padded` queries a head.
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_delta(const uint4* __restrict__ d_o, const uint4* __restrict__ o,
                      float* __restrict__ delta, float4* __restrict__ sums, long long rows, int t,
                      int padded, const unsigned* skip) {
  if (stopped(skip)) return;
  const long long row = (blockIdx.x * 128ll + threadIdx.x) / kTeam;
  const long long head = row % kH, token = row / kH % padded, item = row / kH / padded;
  const int piece = threadIdx.x % kTeam;
  const bool real = row < rows && token < t;
  float total = 0;
  if (real && piece < kD / 8) {
    const long long at = ((item * t + token) * kH + head) * (kD / 8) + piece;
    uint4 x = d_o[at], y = o[at];
    unsigned a[4] = {x.x, x.y, x.z, x.w}, b[4] = {y.x, y.y, y.z, y.w};
#pragma unroll
    for (int e = 0; e < 4; ++e)
      total += half_value(a[e] & 0xffff) * half_value(b[e] & 0xffff) +
               half_value(a[e] >> 16) * half_value(b[e] >> 16);
  }
#pragma unroll
  for (int d = kTeam / 2; d > 0; d /= 2) total += __shfl_xor_sync(~0u, total, d);
  if (real && piece == 0) delta[(item * kH + head) * t + token] = total;
  if (kSums && row < rows && piece < kD / 8) {
    const float4 zero = {0, 0, 0, 0};
    sums[row * (kD / 4) + 2 * piece] = zero;
    sums[row * (kD / 4) + 2 * piece + 1] = zero;
  }
}
)cuda";

const std::string_view kMmaSums = R"cuda(
constexpr int kSumsTile = kColumns * kD;  // floats
// Score gradients of a step, [key][query] in rows of 128 bytes, swapped as tiles are.
constexpr int kGradientBytes = kRows * 128;
// Of a tile of dq, a warp computes 16 * kSumRows queries by 16 * kSumPieces columns.
constexpr int kRowGroups = kColumns == 64 ? 2 : 1, kColumnGroups = kWarps / kRowGroups;
constexpr int kSumRows = kColumns / 16 / kRowGroups;
constexpr int kSumPieces = (kD / 16 + kColumnGroups - 1) / kColumnGroups;

// The warp's 16 keys of them, as accumulators.
DEV void store_gradients(unsigned char* to, const float (&ds)[kColumns / 8][4], int warp,
                         int lane) {
  const int row = lane / 4;
  to += (warp * 16 + row) * 128 + (lane & 3) * 4;
#pragma unroll
  for (int j = 0; j < kColumns / 8; ++j) {
    *(unsigned*)(to + ((j ^ row) << 4)) = pack(ds[j][0], ds[j][1]);
    *(unsigned*)(to + 8 * 128 + ((j ^ row) << 4)) = pack(ds[j][2], ds[j][3]);
  }
}

// sums += the warp's part of dS K.
DEV void add_query_sums(float* sums, unsigned gradients, unsigned keys, Lanes lanes, int warp,
                        int lane) {
  const int rows = warp % kRowGroups * kSumRows, pieces = warp / kRowGroups * kSumPieces;
  float dq[kSumRows][2 * kSumPieces][4];
#pragma unroll
  for (int m = 0; m < kSumRows; ++m)
#pragma unroll
    for (int j = 0; j < 2 * kSumPieces; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) dq[m][j][e] = 0;
#pragma unroll
  for (int x = 0; x < kRows / 16; ++x) {
    unsigned left[kSumRows][4];
#pragma unroll
    for (int m = 0; m < kSumRows; ++m)
      ldmatrix_trans(left[m], at<kRows>(gradients + lanes.b, rows + m) + x * 16 * 128);
#pragma unroll
    for (int j = 0; j < kSumPieces; ++j) {
      if (kD / 16 % kColumnGroups != 0 && pieces + j >= kD / 16) break;
      unsigned right[4];
      ldmatrix_trans(right, at<kRows>(keys + lanes.a, pieces + j) + x * 16 * 128);
#pragma unroll
      for (int m = 0; m < kSumRows; ++m) {
        mma(dq[m][2 * j], left[m], right[0], right[1]);
        mma(dq[m][2 * j + 1], left[m], right[2], right[3]);
      }
    }
  }
#pragma unroll
  for (int m = 0; m < kSumRows; ++m)
#pragma unroll
    for (int j = 0; j < 2 * kSumPieces; ++j) {
      if (kD / 16 % kColumnGroups != 0 && pieces + j / 2 >= kD / 16) break;
      add_accumulators(sums + ((rows + m) * (kD / 8) + 2 * pieces + j) * 128, dq[m][j], lane);
    }
}
)cuda";

const std::string_view kMmaRound = R"cuda(
// A block makes rows of dq of a tile of sums.
extern "C" __global__ void __launch_bounds__(256)
fusec_attention_dq(const float* __restrict__ sums, unsigned short* __restrict__ dq, int t,
                   int tiles, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ __align__(16) unsigned tile[kColumns][kD / 2 + 4];
  const int m = blockIdx.x % tiles, head = blockIdx.x / tiles % kH;
  const long long item = blockIdx.x / tiles / kH;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const float* from = sums + (long long)blockIdx.x * (kColumns * kD);
#pragma unroll 4
  for (int i = warp; i < kColumns / 16 * (kD / 8); i += 8) {
    const float4 x = added_accumulators(from + i * 128, lane);
    const int row = i / (kD / 8) * 16 + lane / 4, word = i % (kD / 8) * 4 + (lane & 3);
    tile[row][word] = pack(x.x * kScale, x.y * kScale);
    tile[row + 8][word] = pack(x.z * kScale, x.w * kScale);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < kColumns * (kD / 8); i += 256) {
    const int row = i / (kD / 8), piece = i % (kD / 8), token = m * kColumns + row;
    if (token < t)
      *(uint4*)(dq + ((item * t + token) * kH + head) * kD + piece * 8) =
          *(const uint4*)&tile[row][piece * 4];
  }
}
)cuda";

}  // namespace fusec::cuda
