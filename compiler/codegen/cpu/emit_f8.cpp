// f8e4m3 <-> f32 in vectors, as integer arithmetic on the bits: this processor has no instruction
// for either. Both agree bit for bit with fusec/base/dtype.h, except for the sign of a NaN.
#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
using mlir::Type;
using mlir::Value;

namespace {
constexpr int64_t kBias = 120;               // between the exponents of f32 and f8e4m3
constexpr int64_t kInfinity = 0x7f800000;    // as f32, as the following
constexpr int64_t kLargest = 0x43e00000;     // 448
constexpr int64_t kLeastNormal = 121 << 23;  // 2^-6
constexpr double kLeastNormalValue = 0x1p-6;
constexpr double kUnitOfSubnormals = 0x1p14;  // its last place is theirs, 2^-9
constexpr int64_t kUnitBits = int64_t{141} << 23;
constexpr int64_t kNan = 0x7fc00000;
}  // namespace

// Of a subnormal m 2^-9, 2^-6 (1 + m / 8) is made and 2^-6 taken away: nothing rounds.
Value Emitter::widen_f8e4m3(Value packed) {
  Value bits = arith::ExtUIOp::create(b_, loc_, shaped_like(b_.getI32Type(), packed), packed);
  auto whole = [&](int64_t v) { return int_constant(bits, v); };
  Value magnitude = arith::AndIOp::create(b_, loc_, bits, whole(0x7f));
  Value sign = arith::ShLIOp::create(b_, loc_, arith::AndIOp::create(b_, loc_, bits, whole(0x80)),
                                     whole(24));
  Value small = arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ult, magnitude, whole(8));
  Value nan = arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::eq, magnitude, whole(0x7f));
  Value bias = arith::SelectOp::create(b_, loc_, small, whole(kLeastNormal), whole(kBias << 23));
  Value moved =
      arith::AddIOp::create(b_, loc_, arith::ShLIOp::create(b_, loc_, magnitude, whole(20)), bias);
  Type real = shaped_like(b_.getF32Type(), packed);
  Value value = arith::BitcastOp::create(b_, loc_, real, moved);
  Value excess = arith::SelectOp::create(b_, loc_, small, float_constant(value, kLeastNormalValue),
                                         float_constant(value, 0));
  value = arith::SubFOp::create(b_, loc_, value, excess);
  moved = arith::BitcastOp::create(b_, loc_, moved.getType(), value);
  moved = arith::SelectOp::create(b_, loc_, nan, whole(kNan), moved);
  return arith::BitcastOp::create(b_, loc_, real, arith::OrIOp::create(b_, loc_, moved, sign));
}

// To nearest even on the bits; below 2^-6 the addition of 2^14 rounds.
Value Emitter::narrow_f8e4m3(Value value) {
  Value bits = arith::BitcastOp::create(b_, loc_, shaped_like(b_.getI32Type(), value), value);
  auto whole = [&](int64_t v) { return int_constant(bits, v); };
  Value magnitude = arith::AndIOp::create(b_, loc_, bits, whole(0x7fffffff));
  Value sign = arith::AndIOp::create(b_, loc_, arith::ShRUIOp::create(b_, loc_, bits, whole(24)),
                                     whole(0x80));
  Value most = arith::MinUIOp::create(b_, loc_, magnitude, whole(kLargest));
  Value odd =
      arith::AndIOp::create(b_, loc_, arith::ShRUIOp::create(b_, loc_, most, whole(20)), whole(1));
  Value bias = arith::AddIOp::create(b_, loc_, odd, whole(0x7ffff - (kBias << 23)));
  Value normal =
      arith::ShRUIOp::create(b_, loc_, arith::AddIOp::create(b_, loc_, most, bias), whole(20));
  Value positive = arith::BitcastOp::create(b_, loc_, value.getType(), most);
  Value shifted =
      arith::AddFOp::create(b_, loc_, positive, float_constant(positive, kUnitOfSubnormals));
  Value units = arith::SubIOp::create(
      b_, loc_, arith::BitcastOp::create(b_, loc_, bits.getType(), shifted), whole(kUnitBits));
  Value small =
      arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ult, magnitude, whole(kLeastNormal));
  Value nan =
      arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ugt, magnitude, whole(kInfinity));
  Value rounded = arith::SelectOp::create(b_, loc_, small, units, normal);
  rounded = arith::SelectOp::create(b_, loc_, nan, whole(0x7f), rounded);
  rounded = arith::OrIOp::create(b_, loc_, rounded, sign);
  return arith::TruncIOp::create(b_, loc_, shaped_like(b_.getI8Type(), value), rounded);
}

}  // namespace fusec::codegen_cpu
