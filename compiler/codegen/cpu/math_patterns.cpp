// math.exp, math.exp2, math.sin, math.cos on f32 -> arithmetic, e.g.
//   %y = math.exp %x : vector<64xf32>   ->   clamp, n = round(x / ln 2), p(x - n ln 2) * 2^n
// Ours rather than MLIR's: exp needs no float-to-integer conversion (which is undefined for NaN),
// and sin, cos reduce their argument in three parts, exact to about |x| < 1e5, where RoPE lives.
// tanh, erf, log and log1p come from MLIR (lower.cpp). Refuses other element types: left as they
// are. Coefficients: S. Moshier, Cephes Mathematical Library (expf, sinf, cosf).
#include "lower.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/TypeUtilities.h"

namespace fusec::codegen_cpu {
namespace {

namespace arith = mlir::arith;
namespace math = mlir::math;
using mlir::Value;

// Arithmetic on values of one shape.
class Calculator {
 public:
  Calculator(mlir::PatternRewriter& b, mlir::Location loc, mlir::Type type)
      : b_(b), loc_(loc), type_(type), int_type_(b.getI32Type()) {
    if (auto v = mlir::dyn_cast<mlir::VectorType>(type)) {
      int_type_ = mlir::VectorType::get(v.getShape(), b.getI32Type());
    }
  }
  Value f(double v) { return constant(type_, b_.getF32FloatAttr(static_cast<float>(v))); }
  Value i(int32_t v) { return constant(int_type_, b_.getI32IntegerAttr(v)); }
  Value fma(Value a, Value b, Value c) { return math::FmaOp::create(b_, loc_, a, b, c); }
  Value add(Value a, Value b) { return arith::AddFOp::create(b_, loc_, a, b); }
  Value sub(Value a, Value b) { return arith::SubFOp::create(b_, loc_, a, b); }
  Value mul(Value a, Value b) { return arith::MulFOp::create(b_, loc_, a, b); }
  Value bits(Value a) { return arith::BitcastOp::create(b_, loc_, int_type_, a); }
  Value real(Value a) { return arith::BitcastOp::create(b_, loc_, type_, a); }
  Value iadd(Value a, Value b) { return arith::AddIOp::create(b_, loc_, a, b); }
  Value iand(Value a, Value b) { return arith::AndIOp::create(b_, loc_, a, b); }
  Value ixor(Value a, Value b) { return arith::XOrIOp::create(b_, loc_, a, b); }
  Value shl(Value a, Value b) { return arith::ShLIOp::create(b_, loc_, a, b); }
  Value nonzero(Value a) {
    return arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ne, a, i(0));
  }
  Value select(Value c, Value a, Value b) { return arith::SelectOp::create(b_, loc_, c, a, b); }
  // A NaN in x passes: the comparison is false.
  Value at_least(Value x, Value low) {
    return select(arith::CmpFOp::create(b_, loc_, arith::CmpFPredicate::OGT, low, x), low, x);
  }
  Value at_most(Value x, Value high) {
    return select(arith::CmpFOp::create(b_, loc_, arith::CmpFPredicate::OLT, high, x), high, x);
  }

 private:
  Value constant(mlir::Type type, mlir::Attribute attr) {
    auto shape = mlir::dyn_cast<mlir::ShapedType>(type);
    mlir::TypedAttr typed = shape ? mlir::TypedAttr(mlir::SplatElementsAttr::get(shape, attr))
                                  : mlir::cast<mlir::TypedAttr>(attr);
    return arith::ConstantOp::create(b_, loc_, typed);
  }

  mlir::PatternRewriter& b_;
  mlir::Location loc_;
  mlir::Type type_, int_type_;
};

// Adding it to |x| < 2^22 rounds x to an integer and leaves that integer in the low bits.
constexpr double kRounder = 12582912.0;  // 1.5 * 2^23

// e^r 2^n for |r| <= ln(2) / 2 and n in the low bits of `shifted`.
Value exp_of_parts(Calculator& c, Value r, Value shifted) {
  Value p = c.f(1.9875691500e-4);
  for (double k : {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
                   5.0000001201e-1}) {
    p = c.fma(p, r, c.f(k));
  }
  Value y = c.add(c.fma(p, c.mul(r, r), r), c.f(1.0));
  // 2^n in two factors, because 2^128 is no f32; 2^(n-1) with n = -126 is 0.
  Value scale = c.real(c.shl(c.iadd(c.bits(shifted), c.i(126)), c.i(23)));
  y = c.mul(y, scale);
  return c.add(y, y);
}

Value exp_of(Calculator& c, Value x) {
  x = c.at_most(c.at_least(x, c.f(-87.6)), c.f(89.0));
  Value shifted = c.fma(x, c.f(1.44269504088896341), c.f(kRounder));
  Value n = c.sub(shifted, c.f(kRounder));
  Value r = c.fma(n, c.f(-0.693359375), x);
  return exp_of_parts(c, c.fma(n, c.f(2.12194440e-4), r), shifted);
}

Value exp2_of(Calculator& c, Value x) {
  x = c.at_most(c.at_least(x, c.f(-126.4)), c.f(128.4));
  Value shifted = c.add(x, c.f(kRounder));
  Value r = c.sub(x, c.sub(shifted, c.f(kRounder)));  // exact
  return exp_of_parts(c, c.mul(r, c.f(0.693147180559945309)), shifted);
}

// sin(x + quarter * pi / 2).
Value sine_of(Calculator& c, Value x, int quarter) {
  Value shifted = c.fma(x, c.f(0.63661977236758134), c.f(kRounder));
  Value n = c.sub(shifted, c.f(kRounder));
  // pi/2 as the sum of three f32.
  Value r = c.fma(n, c.f(-1.57079637050628662109375), x);
  r = c.fma(n, c.f(4.37113900018624283e-8), r);
  r = c.fma(n, c.f(1.71512449760886e-15), r);
  Value s = c.mul(r, r);
  Value sine = c.fma(c.f(-1.9515295891e-4), s, c.f(8.3321608736e-3));
  sine = c.fma(sine, s, c.f(-1.6666654611e-1));
  sine = c.fma(c.mul(sine, s), r, r);
  Value cosine = c.fma(c.f(2.443315711809948e-5), s, c.f(-1.388731625493765e-3));
  cosine = c.fma(cosine, s, c.f(4.166664568298827e-2));
  cosine = c.fma(c.mul(cosine, s), s, c.fma(s, c.f(-0.5), c.f(1.0)));
  Value quadrant = c.iadd(c.bits(shifted), c.i(quarter));
  Value y = c.select(c.nonzero(c.iand(quadrant, c.i(1))), cosine, sine);
  Value sign = c.shl(c.iand(quadrant, c.i(2)), c.i(30));
  return c.real(c.ixor(c.bits(y), sign));
}

template <typename Op>
struct Approximate : mlir::OpRewritePattern<Op> {
  using mlir::OpRewritePattern<Op>::OpRewritePattern;
  mlir::LogicalResult matchAndRewrite(Op op, mlir::PatternRewriter& rewriter) const override {
    if (!mlir::getElementTypeOrSelf(op.getType()).isF32()) return mlir::failure();
    Calculator c(rewriter, op.getLoc(), op.getType());
    if constexpr (std::is_same_v<Op, math::ExpOp>) {
      rewriter.replaceOp(op, exp_of(c, op.getOperand()));
    } else if constexpr (std::is_same_v<Op, math::Exp2Op>) {
      rewriter.replaceOp(op, exp2_of(c, op.getOperand()));
    } else {
      rewriter.replaceOp(op, sine_of(c, op.getOperand(), std::is_same_v<Op, math::CosOp> ? 1 : 0));
    }
    return mlir::success();
  }
};

}  // namespace

void add_math_patterns(mlir::RewritePatternSet& patterns) {
  patterns.add<Approximate<math::ExpOp>, Approximate<math::Exp2Op>, Approximate<math::SinOp>,
               Approximate<math::CosOp>>(patterns.getContext());
}

}  // namespace fusec::codegen_cpu
