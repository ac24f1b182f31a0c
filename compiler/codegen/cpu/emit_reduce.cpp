// Reductions: accumulators in lanes, then a fixed tree of halves. The order depends on the kernel
// and the target only, so equal inputs give equal bits whatever the number of threads.
#include <limits>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace fusec::codegen_cpu {

namespace arith = mlir::arith;
namespace vector = mlir::vector;
using mlir::Value;

Value Emitter::neutral(int reduce, int width) {
  const KernelOp& op = kernel_.ops[reduce];
  mlir::Type type = shaped(value_type(op.type), width);
  mlir::Type element = value_type(op.type);
  mlir::TypedAttr attr;
  if (is_float(op.type)) {
    constexpr double inf = std::numeric_limits<double>::infinity();
    attr = b_.getFloatAttr(element, op.reduce == ReduceKind::sum   ? 0.0
                                    : op.reduce == ReduceKind::max ? -inf
                                                                   : inf);
  } else {
    unsigned bits = element.getIntOrFloatBitWidth();
    attr = b_.getIntegerAttr(element, op.reduce == ReduceKind::sum   ? llvm::APInt(bits, 0)
                                      : op.reduce == ReduceKind::max
                                          ? llvm::APInt::getSignedMinValue(bits)
                                          : llvm::APInt::getSignedMaxValue(bits));
  }
  return constant(type, mlir::DenseElementsAttr::get(mlir::cast<mlir::VectorType>(type),
                                                     mlir::Attribute(attr)));
}

Value Emitter::combine(int reduce, Value a, Value b) {
  const KernelOp& op = kernel_.ops[reduce];
  const bool real = is_float(op.type);
  locate(std::string(name_of(op.reduce)));
  switch (op.reduce) {
    case ReduceKind::sum:
      if (real) return arith::AddFOp::create(b_, loc_, a, b, arith::FastMathFlags::contract);
      return arith::AddIOp::create(b_, loc_, a, b);
    case ReduceKind::max:
      if (real) return arith::MaximumFOp::create(b_, loc_, a, b, arith::FastMathFlags::nsz);
      return arith::MaxSIOp::create(b_, loc_, a, b);
    case ReduceKind::min:
      if (real) return arith::MinimumFOp::create(b_, loc_, a, b, arith::FastMathFlags::nsz);
      return arith::MinSIOp::create(b_, loc_, a, b);
  }
  return {};
}

Value Emitter::reduce_argument(int reduce, Point& p) {
  Value v = operand(kernel_.ops[reduce].args[0], p, true);
  Value mask = p.mask;
  if (!mask && p.valid < p.width) mask = lane_mask(p.width, p.valid);
  if (!mask) return v;
  return arith::SelectOp::create(b_, loc_, mask, v, neutral(reduce, p.width));
}

Value Emitter::across(int reduce, Values vectors) {
  auto width_of = [](Value v) {
    return mlir::cast<mlir::VectorType>(v.getType()).getNumElements();
  };
  if (vectors.empty()) vectors.push_back(neutral(reduce, 1));  // a row without elements
  int64_t width = 1;
  for (Value v : vectors) width = std::max(width, width_of(v));
  Value acc;
  for (;; width /= 2) {
    for (Value v : vectors) {
      if (width_of(v) == width) acc = acc ? combine(reduce, acc, v) : v;
    }
    if (width == 1) break;
    std::vector<int64_t> low, high;
    for (int64_t i = 0; i < width / 2; ++i) {
      low.push_back(i);
      high.push_back(i + width / 2);
    }
    Value a = vector::ShuffleOp::create(b_, loc_, acc, acc, low);
    Value b = vector::ShuffleOp::create(b_, loc_, acc, acc, high);
    acc = combine(reduce, a, b);
  }
  return vector::ExtractOp::create(b_, loc_, acc, llvm::ArrayRef<int64_t>{0});
}

}  // namespace fusec::codegen_cpu
