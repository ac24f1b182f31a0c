// One KernelOp -> arith and math ops on scalars or vectors, whichever it is: an op that does not
// vary along the last dimension stays a scalar until a vector needs it.
#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

namespace fusec::codegen_cpu {

namespace LLVM = mlir::LLVM;
namespace arith = mlir::arith;
namespace math = mlir::math;
namespace vector = mlir::vector;
using mlir::Type;
using mlir::Value;
using Kind = KernelOp::Kind;

Type Emitter::value_type(DType t) {
  if (t == DType::b8) return b_.getI1Type();
  return storage_type(compute_type(t));
}

Type Emitter::shaped(Type element, int width) { return mlir::VectorType::get({width}, element); }

Type Emitter::shaped_like(Type element, Value like) {
  auto v = mlir::dyn_cast<mlir::VectorType>(like.getType());
  return v ? mlir::VectorType::get(v.getShape(), element) : element;
}

Value Emitter::splat(Value scalar, int width) {
  Type type = shaped(scalar.getType(), width);
  mlir::TypedAttr attr;
  if (mlir::matchPattern(scalar, mlir::m_Constant(&attr))) {
    return constant(type, mlir::SplatElementsAttr::get(mlir::cast<mlir::VectorType>(type),
                                                       mlir::Attribute(attr)));
  }
  return vector::BroadcastOp::create(b_, loc_, type, scalar);
}

Value Emitter::float_constant(Value like, double v) {
  Type element = mlir::getElementTypeOrSelf(like.getType());
  Value c = constant(element, b_.getFloatAttr(element, v));
  auto shape = mlir::dyn_cast<mlir::VectorType>(like.getType());
  return shape ? splat(c, static_cast<int>(shape.getNumElements())) : c;
}

Value Emitter::int_constant(Value like, int64_t v) {
  Type element = mlir::getElementTypeOrSelf(like.getType());
  Value c = constant(element, b_.getIntegerAttr(element, v));
  auto shape = mlir::dyn_cast<mlir::VectorType>(like.getType());
  return shape ? splat(c, static_cast<int>(shape.getNumElements())) : c;
}

Val Emitter::eval(int id, Point& p) {
  for (const Scope* s = p.scope; s; s = s->parent) {
    if (auto it = s->values.find(id); it != s->values.end()) return it->second;
  }
  const KernelOp& op = kernel_.ops[id];
  const OpFacts& f = facts_.ops[id];
  Val v;
  if (f.buffered && !buffers_.empty() && p.pass > f.first_pass && f.level == Level::inner) {
    v.value = read_row_buffer(id, p);
    p.scope->values[id] = v;
    return v;
  }
  switch (op.kind) {
    case Kind::load: v = load(id, p); break;
    case Kind::constant: {
      Type type = value_type(op.type);
      v.value = holds_floats(op.type)
                    ? constant(type, b_.getFloatAttr(type, op.imm))
                    : constant(type, b_.getIntegerAttr(type, static_cast<int64_t>(op.imm)));
      break;
    }
    case Kind::index: v.value = index_value(id, p); break;
    case Kind::prim: {
      Values args;
      for (int arg : op.args) args.push_back(operand(arg, p, f.varies));
      locate(std::string(name_of(op.prim)));
      v.value = prim(op, kernel_.ops[op.args.back()].type, args);
      break;
    }
    case Kind::cast: {
      Value arg = operand(op.args[0], p, f.varies);
      locate(std::string(name_of(op.type)));
      v = cast(op, f, arg, kernel_.ops[op.args[0]].type);
      break;
    }
    case Kind::reduce: fail_kernel(kernel_, "op " + std::to_string(id) +
                                                ": a reduction is used before its loop ends");
    case Kind::store: fail_kernel(kernel_, "op " + std::to_string(id) + ": a store has no value");
  }
  p.scope->values[id] = v;
  return v;
}

Value Emitter::operand(int id, Point& p, bool vector) {
  Val v = eval(id, p);
  Value value = v.value ? v.value : widen(v.packed, kernel_.ops[id].type);
  bool is_vector = mlir::isa<mlir::VectorType>(value.getType());
  return vector && !is_vector ? splat(value, p.width) : value;
}

Value Emitter::index_value(int id, Point& p) {
  const KernelOp& op = kernel_.ops[id];
  const OpFacts& f = facts_.ops[id];
  if (!is_integer(op.type)) fail_kernel(kernel_, "an index of a type that is no integer");
  locate("id");
  Value base = op.access.offset != 0 ? i64(op.access.offset) : Value();
  for (size_t d = 0; d < f.strides.size(); ++d) {
    if (f.strides[d] != 0) base = add(base, mul(p.index[d], f.strides[d]));
  }
  if (!base) base = i64(0);
  Type element = value_type(op.type);
  if (element != base.getType()) base = arith::TruncIOp::create(b_, loc_, element, base);
  if (!f.varies) return base;
  llvm::SmallVector<mlir::Attribute> lanes;
  for (int i = 0; i < p.width; ++i) {
    lanes.push_back(b_.getIntegerAttr(element, i * last_stride(f)));
  }
  auto type = mlir::cast<mlir::VectorType>(shaped(element, p.width));
  Value ids = constant(type, mlir::DenseElementsAttr::get(type, lanes));
  return arith::AddIOp::create(b_, loc_, splat(base, p.width), ids);
}

// Word 0 of Philox4x32-10 (base/philox.h), each 32-bit word in a lane of 64 bits.
Value Emitter::philox(Value key, Value counter) {
  auto word = [&](uint64_t v) { return int_constant(counter, static_cast<int64_t>(v)); };
  Value low = word(0xffffffffu), half = word(32);
  auto lower = [&](Value v) -> Value { return arith::AndIOp::create(b_, loc_, v, low); };
  auto upper = [&](Value v) -> Value { return arith::ShRUIOp::create(b_, loc_, v, half); };
  auto mix = [&](Value a, Value b) -> Value { return arith::XOrIOp::create(b_, loc_, a, b); };
  auto times = [&](Value a, uint64_t m) -> Value {
    return arith::MulIOp::create(b_, loc_, a, word(m));
  };
  auto plus = [&](Value a, uint64_t m) -> Value {
    return lower(arith::AddIOp::create(b_, loc_, a, word(m)));
  };
  Value k0 = lower(key), k1 = upper(key), zero = word(0);
  Value c0 = lower(counter), c1 = upper(counter), c2 = zero, c3 = zero;
  for (int round = 0; round < 10; ++round) {
    Value p0 = times(c0, 0xD2511F53u), p1 = times(c2, 0xCD9E8D57u);
    c0 = mix(mix(upper(p1), c1), k0);
    c1 = lower(p1);
    c2 = mix(mix(upper(p0), c3), k1);
    c3 = lower(p0);
    k0 = plus(k0, 0x9E3779B9u);
    k1 = plus(k1, 0xBB67AE85u);
  }
  return c0;
}

Value Emitter::per_lane_call(const char* function, Value arg) {
  Type element = mlir::getElementTypeOrSelf(arg.getType());
  if (!module_.lookupSymbol(function)) {
    mlir::OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPointToStart(module_.getBody());
    LLVM::LLVMFuncOp::create(b_, b_.getUnknownLoc(), function,
                             LLVM::LLVMFunctionType::get(element, {element}));
  }
  auto call = [&](Value x) -> Value {
    return LLVM::CallOp::create(b_, loc_, mlir::TypeRange{element}, function, mlir::ValueRange{x})
        .getResult();
  };
  auto type = mlir::dyn_cast<mlir::VectorType>(arg.getType());
  if (!type) return call(arg);
  Value result = arg;
  for (int64_t i = 0; i < type.getNumElements(); ++i) {
    Value x = vector::ExtractOp::create(b_, loc_, arg, llvm::ArrayRef<int64_t>{i});
    result = vector::InsertOp::create(b_, loc_, call(x), result, llvm::ArrayRef<int64_t>{i});
  }
  return result;
}

Value Emitter::prim(const KernelOp& op, DType type, const Values& args) {
  constexpr auto contract = arith::FastMathFlags::contract;
  const bool real = is_float(type), truth = type == DType::b8;
  Value a = args[0], b = args.size() > 1 ? args[1] : Value();
  auto refuse = [&]() {
    fail_kernel(kernel_, std::string(name_of(op.prim)) + " on " + std::string(name_of(type)));
  };
  if (type == DType::u8 && op.prim != Prim::select) refuse();
  auto compare = [&](arith::CmpFPredicate f, arith::CmpIPredicate i, arith::CmpIPredicate u) {
    if (real) return Value(arith::CmpFOp::create(b_, loc_, f, a, b));
    return Value(arith::CmpIOp::create(b_, loc_, truth ? u : i, a, b));
  };
  auto function = [&](auto make, const char* name) {
    if (!real) refuse();
    return type == DType::f64 ? per_lane_call(name, a) : make();
  };
  using F = arith::CmpFPredicate;
  using I = arith::CmpIPredicate;
  switch (op.prim) {
    case Prim::add:
      if (truth) return arith::OrIOp::create(b_, loc_, a, b);
      if (real) return arith::AddFOp::create(b_, loc_, a, b, contract);
      return arith::AddIOp::create(b_, loc_, a, b);
    case Prim::sub:
      if (truth) refuse();
      if (real) return arith::SubFOp::create(b_, loc_, a, b, contract);
      return arith::SubIOp::create(b_, loc_, a, b);
    case Prim::mul:
      if (truth) return arith::AndIOp::create(b_, loc_, a, b);
      if (real) return arith::MulFOp::create(b_, loc_, a, b, contract);
      return arith::MulIOp::create(b_, loc_, a, b);
    case Prim::div: {
      if (truth) refuse();
      if (real) return arith::DivFOp::create(b_, loc_, a, b);
      // Lanes that do not exist hold anything: neither x / 0 nor min / -1 may trap there.
      Value zero = int_constant(b, 0), one = int_constant(b, 1), minus = int_constant(b, -1);
      Value flips = arith::CmpIOp::create(b_, loc_, I::eq, b, minus);
      Value absent = arith::CmpIOp::create(b_, loc_, I::eq, b, zero);
      Value unsafe = arith::OrIOp::create(b_, loc_, flips, absent);
      Value by = arith::SelectOp::create(b_, loc_, unsafe, one, b);
      Value q = arith::DivSIOp::create(b_, loc_, a, by);
      Value negative = arith::SubIOp::create(b_, loc_, zero, q);
      return arith::SelectOp::create(b_, loc_, flips, negative, q);
    }
    case Prim::neg:
      if (truth) refuse();
      if (real) return arith::NegFOp::create(b_, loc_, a);
      return arith::SubIOp::create(b_, loc_, int_constant(a, 0), a);
    case Prim::abs:
      if (truth) refuse();
      if (real) return math::AbsFOp::create(b_, loc_, a);
      return math::AbsIOp::create(b_, loc_, a);
    case Prim::min:
      if (truth) refuse();
      if (real) return arith::MinimumFOp::create(b_, loc_, a, b, arith::FastMathFlags::nsz);
      return arith::MinSIOp::create(b_, loc_, a, b);
    case Prim::max:
      if (truth) refuse();
      if (real) return arith::MaximumFOp::create(b_, loc_, a, b, arith::FastMathFlags::nsz);
      return arith::MaxSIOp::create(b_, loc_, a, b);
    case Prim::sqrt:
      if (!real) refuse();
      return math::SqrtOp::create(b_, loc_, a);
    case Prim::exp: return function([&] { return Value(math::ExpOp::create(b_, loc_, a)); }, "exp");
    case Prim::exp2:
      return function([&] { return Value(math::Exp2Op::create(b_, loc_, a)); }, "exp2");
    case Prim::log1p:
      return function([&] { return Value(math::Log1pOp::create(b_, loc_, a)); }, "log1p");
    case Prim::pow:
      if (!real) refuse();
      return math::PowFOp::create(b_, loc_, a, b);  // a call of libm for each lane
    case Prim::floor:
      if (!real) refuse();
      return math::FloorOp::create(b_, loc_, a);
    case Prim::round:
      if (!real) refuse();
      return math::RoundEvenOp::create(b_, loc_, a);
    case Prim::philox:
      if (type != DType::i64) refuse();
      return philox(a, b);
    case Prim::log: return function([&] { return Value(math::LogOp::create(b_, loc_, a)); }, "log");
    case Prim::sin: return function([&] { return Value(math::SinOp::create(b_, loc_, a)); }, "sin");
    case Prim::cos: return function([&] { return Value(math::CosOp::create(b_, loc_, a)); }, "cos");
    case Prim::tanh:
      return function([&] { return Value(math::TanhOp::create(b_, loc_, a)); }, "tanh");
    case Prim::erf: return function([&] { return Value(math::ErfOp::create(b_, loc_, a)); }, "erf");
    case Prim::eq: return compare(F::OEQ, I::eq, I::eq);
    case Prim::ne: return compare(F::UNE, I::ne, I::ne);
    case Prim::lt: return compare(F::OLT, I::slt, I::ult);
    case Prim::le: return compare(F::OLE, I::sle, I::ule);
    case Prim::gt: return compare(F::OGT, I::sgt, I::ugt);
    case Prim::ge: return compare(F::OGE, I::sge, I::uge);
    case Prim::select: return arith::SelectOp::create(b_, loc_, a, b, args[2]);
  }
  return {};
}

Val Emitter::cast(const KernelOp& op, const OpFacts& f, Value a, DType from) {
  const DType to = op.type;
  Type i32_type = shaped_like(b_.getI32Type(), a);
  Type type = shaped_like(value_type(to), a);
  if (is_narrow_float(to)) {
    KernelOp as_float;
    as_float.type = DType::f32;
    Value wide = cast(as_float, f, a, from).value;
    if (from == to) return {wide, {}};
    Value packed = narrow(wide, to);
    return {f.wide ? widen(packed, to) : Value(), packed};
  }
  const DType source = compute_type(from);
  if (source == to) return {a, {}};
  if (to == DType::b8) {
    if (is_float(source)) {
      return {arith::CmpFOp::create(b_, loc_, arith::CmpFPredicate::UNE, a, float_constant(a, 0)),
              {}};
    }
    return {arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ne, a, int_constant(a, 0)), {}};
  }
  if (is_float(source)) {
    if (to == DType::f64) return {arith::ExtFOp::create(b_, loc_, type, a), {}};
    if (to == DType::f32) return {arith::TruncFOp::create(b_, loc_, type, a), {}};
    if (to != DType::u8) return {arith::FPToSIOp::create(b_, loc_, type, a), {}};
    Value whole = arith::FPToSIOp::create(b_, loc_, i32_type, a);
    return {arith::TruncIOp::create(b_, loc_, type, whole), {}};
  }
  // Integers and truth values; u8 and b8 have no sign.
  const bool no_sign = source == DType::u8 || source == DType::b8;
  if (is_float(to)) {
    if (no_sign) a = arith::ExtUIOp::create(b_, loc_, i32_type, a);
    return {arith::SIToFPOp::create(b_, loc_, type, a), {}};
  }
  unsigned have = mlir::getElementTypeOrSelf(a.getType()).getIntOrFloatBitWidth();
  unsigned want = value_type(to).getIntOrFloatBitWidth();
  if (want < have) return {arith::TruncIOp::create(b_, loc_, type, a), {}};
  if (no_sign) return {arith::ExtUIOp::create(b_, loc_, type, a), {}};
  return {arith::ExtSIOp::create(b_, loc_, type, a), {}};
}

}  // namespace fusec::codegen_cpu
