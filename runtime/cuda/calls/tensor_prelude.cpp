// Tensor-core parts of the prelude. The layouts are those of the PTX ISA, "Matrix fragments for
// mma.m16n8k16 with floating point type" and "ldmatrix".
#include "prelude.h"

namespace fusec::cuda {

const std::string_view kTensorInstructions = R"cuda(
// The same number, of which the compiler knows nothing: what is cheap to compute from it is then
// computed where it is used, not kept in registers through a loop.
DEV int opaque(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

DEV unsigned shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

// Four 8 x 8 matrices of 16-bit elements; lane l gives the address of row l % 8 of matrix l / 8 and
// receives elements 2 * (l % 4), + 1 of row l / 4 of each.
DEV void ldmatrix(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// The same, each matrix transposed.
DEV void ldmatrix_trans(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// 16 bytes from global to shared memory, or zeros; complete after wait_copies.
DEV void copy16(unsigned to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :: "r"(to), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
DEV void copy4(unsigned to, const void* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :: "r"(to), "l"(from), "r"(valid ? 4 : 0)
               : "memory");
}
DEV void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits for all but the N newest groups of this thread.
template <int N>
DEV void wait_copies() {
  asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
}

// 2^x and 1/x with relative errors of about 2^-22; 2^-inf is 0.
DEV float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
DEV float reciprocal_fast(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}
)cuda";

const std::string_view kBf16Mma = R"cuda(
// c += a * b: 16 x 16 times 16 x 8.
DEV void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Two numbers in one word, `low` in its low half.
DEV unsigned pack(float low, float high) {
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
)cuda";

const std::string_view kF16Mma = R"cuda(
// c += a * b: 16 x 16 times 16 x 8.
DEV void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, "
               "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Two numbers in one word, `low` in its low half.
DEV unsigned pack(float low, float high) {
  unsigned r;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
)cuda";

const std::string_view kSumInstructions = R"cuda(
// to[0, 128) += what the lanes of a warp hold of a product by mma, in any order with others. The
// order of elements is that of added_accumulators: what an instruction adds is adjacent.
DEV void add_accumulators(float* to, const float (&c)[4], int lane) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
               :: "l"(to + 4 * lane), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3])
               : "memory");
#else
#pragma unroll
  for (int e = 0; e < 4; ++e)
    asm volatile("red.relaxed.gpu.global.add.f32 [%0], %1;"
                 :: "l"(to + 32 * e + lane), "f"(c[e])
                 : "memory");
#endif
}
// A lane's share of them, after the kernel that added.
DEV float4 added_accumulators(const float* from, int lane) {
#if __CUDA_ARCH__ >= 900
  return *(const float4*)(from + 4 * lane);
#else
  return {from[lane], from[32 + lane], from[64 + lane], from[96 + lane]};
#endif
}
)cuda";

const std::string_view kHalfPairs = R"cuda(
// Of two pairs of f16.
DEV unsigned subtract_halves(unsigned x, unsigned y) {
  unsigned r;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
  return r;
}
DEV unsigned multiply_halves(unsigned x, unsigned y) {
  unsigned r;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(r) : "r"(x), "r"(y));
  return r;
}
#if __CUDA_ARCH__ >= 890
// Two f8e4m3, the first in the low byte, as f16.
DEV unsigned halves_of_e4m3(unsigned short x) {
  unsigned r;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"(x));
  return r;
}
#endif
)cuda";

const std::string_view kTensorTiles = R"cuda(
// A tile of ROWS rows of kD elements lies in panels of 64 columns: [panel][row][128 bytes], the
// 16-byte pieces of a row swapped by the row (piece ^ row % 8), so that neither copies nor ldmatrix
// meet a bank twice.
constexpr int kPanels = (kD + 63) / 64, kPieces = kD / 8;
template <int ROWS>
constexpr int kTileBytes = ROWS * 128 * kPanels;

// Byte of a lane's row in the first 16 columns of a tile; at<ROWS>(base, k) moves to columns 16 k.
// `a`: for operand A, and for B of [k][n] rows by ldmatrix_trans; `b`: for B of [n][k] rows.
struct Lanes {
  unsigned a, b;
};
DEV Lanes lanes_of(int lane) {
  int row_a = lane & 15, half_a = lane >> 4;
  int row_b = (lane & 7) + ((lane >> 4) << 3), half_b = (lane >> 3) & 1;
  return {(unsigned)(row_a * 128 + ((half_a ^ (row_a & 7)) << 4)),
          (unsigned)(row_b * 128 + ((half_b ^ (row_b & 7)) << 4))};
}
template <int ROWS>
DEV unsigned at(unsigned base, int k) {
  return (base ^ ((k & 3) << 5)) + (k >> 2) * (ROWS * 128);
}

// Rows [first, first + ROWS) of a tensor to shared memory; rows at or past `end` become zeros
// (their addresses are formed and never read).
template <int ROWS, int THREADS>
DEV void load_tile(unsigned to, const unsigned short* from, int stride, int first, int end) {
  if (THREADS % (8 * kPieces) == 0 && ROWS % (THREADS / kPieces) == 0) {
    // All rows of a thread are alike mod 8, so it moves by constants.
    int thread = opaque(threadIdx.x), row = thread / kPieces, piece = thread % kPieces;
    const unsigned short* p = from + (long long)first * stride + (row * stride + piece * 8);
    to += (piece >> 3) * (ROWS * 128) + row * 128 + (((piece & 7) ^ (row & 7)) << 4);
#pragma unroll
    for (int i = 0; i < ROWS; i += THREADS / kPieces)
      copy16(to + i * 128, p + (long long)i * stride, first + i < end - row);
    return;
  }
#pragma unroll
  for (int i = 0; i < (ROWS * kPieces + THREADS - 1) / THREADS; ++i) {
    int one = i * THREADS + threadIdx.x, row = one / kPieces, piece = one % kPieces;
    if (one >= ROWS * kPieces) break;
    copy16(to + (piece >> 3) * (ROWS * 128) + row * 128 + (((piece & 7) ^ (row & 7)) << 4),
           from + (long long)(first + row) * stride + piece * 8, first + row < end);
  }
}

// Writes 16 rows of accumulators, times scale[0] (rows 0 to 7) and scale[1], through the warp's own
// 16 rows at `shared` of a tile of ROWS; rows past `count` are left out.
template <int ROWS>
DEV void write_tile(unsigned char* tile, int warp_row, float (&c)[kD / 8][4], float low_scale,
                    float high_scale, unsigned short* to, long long stride, int count) {
  int lane = threadIdx.x % 32, row = lane / 4;
  __syncwarp();
#pragma unroll
  for (int j = 0; j < kD / 8; ++j) {
    unsigned char* p = tile + (j >> 3) * (ROWS * 128) + (warp_row + row) * 128 +
                       (((j & 7) ^ row) << 4) + (lane & 3) * 4;
    *(unsigned*)p = pack(c[j][0] * low_scale, c[j][1] * low_scale);
    *(unsigned*)(p + 8 * 128) = pack(c[j][2] * high_scale, c[j][3] * high_scale);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < (16 * kPieces + 31) / 32; ++i) {
    int one = i * 32 + lane, r = one / kPieces, piece = one % kPieces;
    if (one >= 16 * kPieces || r >= count) continue;
    *(uint4*)(to + r * stride + piece * 8) =
        *(const uint4*)(tile + (piece >> 3) * (ROWS * 128) + (warp_row + r) * 128 +
                        (((piece & 7) ^ (r & 7)) << 4));
  }
}
)cuda";

const std::string_view kTanh = R"cuda(
DEV float tanh_fast(float x) { return 1 - 2 * reciprocal_fast(exp2_fast(x * (2 * kLog2e)) + 1); }
)cuda";

}  // namespace fusec::cuda
