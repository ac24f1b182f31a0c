// Text that several kernels begin with. Nothing here includes a vendor header: the few
// instructions that C++ cannot say are inline assembly, in the parts named "..._instructions".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fusec/base/dtype.h"

namespace fusec::cuda {

// DEV, Status, stopped(skip), report(status, error, step, index, bound).
extern const std::string_view kPrelude;

// half_bits(float) and half_value(bits) for bf16 and for f16.
extern const std::string_view kBf16Instructions;
extern const std::string_view kF16Instructions;

// Stored, Sum, widen(Stored) -> Sum, narrow(Sum) -> Stored: how an element type is read, summed (in
// f32 for bf16 and f16; integers without a sign, so they wrap) and written. Needs kPrelude.
std::string element_text(DType t);

// The type of `bytes` bytes (1, 2, 4, 8, 16) that one access moves.
std::string_view unit_type(int64_t bytes);
// "int" or "long long", of i32 or i64.
std::string_view index_type(DType t);

// Tensor-core instructions of sm_80 and later on bf16 and f16: opaque, shared_address, ldmatrix,
// ldmatrix_trans, mma, copy16, copy4, commit_copies, wait_copies<N>, exp2_fast, reciprocal_fast;
// and pack(float, float), which is of the type.
extern const std::string_view kTensorInstructions;
extern const std::string_view kBf16Mma;
extern const std::string_view kF16Mma;

// add_accumulators, added_accumulators: f32 sums in memory of what mma leaves in blocks that add in
// any order. Needs kPrelude.
extern const std::string_view kSumInstructions;

// Pairs of f16: subtract_halves, multiply_halves, and halves_of_e4m3 from sm_89 on.
extern const std::string_view kHalfPairs;

// Tiles of 16-bit rows in shared memory and products of them, built on the above: kTileBytes,
// Lanes, load_tile, product, and so on. Needs kD.
extern const std::string_view kTensorTiles;

// tanh_fast, to some 1e-7, for softcap. Needs kTensorInstructions and kLog2e.
extern const std::string_view kTanh;

// Instructions of sm_90a: TensorMap, barriers, copies of boxes, wgmma's fences, stores of matrices.
// Needs kPrelude and kTensorInstructions.
extern const std::string_view kHopperInstructions;
// Operands of wgmma, tiles of heads by boxes, store_accumulators, built on the above and on pack().
// Needs kD.
extern const std::string_view kHopperTiles;

// One instruction of wgmma as a function: c (64 rows by n columns, n / 2 numbers a thread) = a * b,
// added to c if `add`, over 16 summed columns.
//   columns  multiply(c, a, b, add): b is [n][summed], as a is
//   by_rows  multiply_by_rows(c, a, b, add): b is [summed][n]
//   weights  multiply_weights(c, a, b, add): the same, a are 4 registers, packed accumulators
enum class WgmmaForm : uint8_t { columns, by_rows, weights };
std::string wgmma_text(WgmmaForm form, int n, DType type);

}  // namespace fusec::cuda
