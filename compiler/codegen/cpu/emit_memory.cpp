// Loads, stores and storage formats: bf16 lives in memory as i16 and is converted by integer shifts
// (or the target's own instruction), b8 and f8e4m3 (emit_f8.cpp) as a byte. A load of a
// partial vector reads whole lanes, which the padding of every buffer allows; a store writes only
// lanes that exist.
#include <algorithm>

#include "emit.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"

namespace fusec::codegen_cpu {

namespace LLVM = mlir::LLVM;
namespace arith = mlir::arith;
namespace vector = mlir::vector;
using mlir::Type;
using mlir::Value;

namespace {

int bytes_of(Type element) {
  return std::max(1, static_cast<int>(element.getIntOrFloatBitWidth()) / 8);
}

}  // namespace

Type Emitter::storage_type(DType t) {
  switch (t) {
    case DType::f32: return b_.getF32Type();
    case DType::f64: return b_.getF64Type();
    case DType::bf16: return b_.getI16Type();
    case DType::f16: return b_.getF16Type();
    case DType::i64: return b_.getI64Type();
    case DType::i32: return b_.getI32Type();
    case DType::u8: case DType::b8: case DType::f8e4m3: return b_.getI8Type();
  }
  return {};
}

Value Emitter::gep(Value base, Type element, Value offset) {
  return LLVM::GEPOp::create(b_, loc_, base.getType(), element, base, mlir::ValueRange{offset});
}

Value Emitter::gep(Value base, Type element, int64_t offset) {
  if (offset == 0) return base;
  if (offset == static_cast<int32_t>(offset)) {
    return LLVM::GEPOp::create(b_, loc_, base.getType(), element, base,
                               llvm::ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
  }
  return gep(base, element, i64(offset));
}

Value Emitter::address(int op, const Point& p) {
  const OpFacts& f = facts_.ops[op];
  Value offset;
  for (size_t d = 0; d < f.strides.size(); ++d) {
    if ((unit_dims_ >> d & 1) == 0 && f.strides[d] != 0 &&
        (kernel_.ops[op].kind != KernelOp::Kind::store || f.level == Level::inner)) {
      offset = add(offset, mul(p.index[d], f.strides[d]));
    }
  }
  Type element = storage_type(kernel_.params[kernel_.ops[op].access.param].dtype);
  llvm::APInt known;
  if (offset && mlir::matchPattern(offset, mlir::m_ConstantInt(&known))) {
    return gep(pointers_[op], element, known.getSExtValue());
  }
  return offset ? gep(pointers_[op], element, offset) : pointers_[op];
}

Val Emitter::load(int op, Point& p) {
  const OpFacts& f = facts_.ops[op];
  const KernelParam& param = kernel_.params[kernel_.ops[op].access.param];
  locate(param.name.empty() ? "x" : param.name);
  Type element = storage_type(param.dtype);
  Value pointer = address(op, p), packed;
  int64_t stride = last_stride(f);
  if (!f.varies) {
    packed = LLVM::LoadOp::create(b_, loc_, element, pointer, bytes_of(element));
  } else if (stride == 1) {
    packed = LLVM::LoadOp::create(b_, loc_, shaped(element, p.width), pointer, bytes_of(element));
  } else if (stride == -1 && p.valid == p.width && !p.last_valid) {
    Value first = gep(pointer, element, 1 - p.width);
    Value v = LLVM::LoadOp::create(b_, loc_, shaped(element, p.width), first, bytes_of(element));
    std::vector<int64_t> reversed;
    for (int i = p.width; i-- > 0;) reversed.push_back(i);
    packed = vector::ShuffleOp::create(b_, loc_, v, v, reversed);
  } else {
    packed = load_lanes(pointer, element, stride, p);
  }
  return {f.wide ? widen(packed, param.dtype) : Value(), packed};
}

Value Emitter::load_lanes(Value pointer, Type element, int64_t stride, const Point& p) {
  Type type = shaped(element, p.width);
  mlir::TypedAttr zero = b_.getZeroAttr(type);
  Value v = constant(type, zero);
  for (int lane = 0; lane < p.valid; ++lane) {
    Value at;
    if (p.last_valid) {
      Value safe = arith::MinSIOp::create(b_, loc_, i64(lane), p.last_valid);
      at = gep(pointer, element, mul(safe, stride));
    } else {
      at = gep(pointer, element, lane * stride);
    }
    Value x = LLVM::LoadOp::create(b_, loc_, element, at, bytes_of(element));
    v = vector::InsertOp::create(b_, loc_, x, v, llvm::ArrayRef<int64_t>{lane});
  }
  return v;
}

Value Emitter::stored_value(int op, Point& p) {
  const KernelOp& store = kernel_.ops[op];
  const int from = store.args[0];
  if (facts_.ops[from].varies && !facts_.ops[op].varies) {
    fail_kernel(kernel_, "op " + std::to_string(op) + " stores a vector to one element");
  }
  const bool vector = last_stride(facts_.ops[op]) != 0;
  const DType type = kernel_.ops[from].type;
  Val v = eval(from, p);
  Value packed = type == store.type ? v.packed : Value();
  if (!packed) {
    if (type != store.type && compute_type(type) != compute_type(store.type)) {
      fail_kernel(kernel_, "op " + std::to_string(op) + " stores " + std::string(name_of(type)) +
                               " as " + std::string(name_of(store.type)) + " without a cast");
    }
    locate("stored");
    packed = narrow(operand(from, p, vector), store.type);
  }
  bool is_vector = mlir::isa<mlir::VectorType>(packed.getType());
  return vector && !is_vector ? splat(packed, p.width) : packed;
}

void Emitter::store(int op, Value packed, const Point& p) {
  const KernelParam& param = kernel_.params[kernel_.ops[op].access.param];
  Type element = storage_type(param.dtype);
  int align = bytes_of(element);
  int64_t stride = last_stride(facts_.ops[op]);
  locate(param.name + "_at");
  Value pointer = address(op, p);
  bool vector = mlir::isa<mlir::VectorType>(packed.getType());
  if (vector && stride == 1 && p.valid == p.width && streams(op, packed)) {
    int bytes = p.width * bytes_of(element);
    auto made = LLVM::StoreOp::create(b_, loc_, packed, pointer, std::min(bytes, 64));
    made.setNontemporal(true);
  } else if (!vector || (stride == 1 && p.valid == p.width)) {
    LLVM::StoreOp::create(b_, loc_, packed, pointer, align);
  } else if (stride == 1) {
    LLVM::MaskedStoreOp::create(b_, loc_, packed, pointer, lane_mask(p.width, p.valid), align);
  } else {
    store_lanes(pointer, packed, stride, p);
  }
}

// Whether a store of whole vectors may go past the caches: every one of them is aligned. A vector
// of a work unit starts at a multiple of its own length, so the rest of the address decides.
bool Emitter::streams(int op, Value packed) const {
  if (!kernel_.schedule.stream) return false;
  auto type = mlir::cast<mlir::VectorType>(packed.getType());
  const KernelOp& store = kernel_.ops[op];
  int64_t size = bytes_of(type.getElementType()), bytes = size * type.getNumElements();
  if (bytes < 16 || store.access.offset * size % 64 != 0) return false;
  const std::vector<int64_t>& strides = facts_.ops[op].strides;
  for (size_t d = 0; d + 1 < strides.size(); ++d)
    if (strides[d] * size % 64 != 0) return false;
  return true;
}

void Emitter::store_lanes(Value pointer, Value v, int64_t stride, const Point& p) {
  Type element = mlir::cast<mlir::VectorType>(v.getType()).getElementType();
  for (int lane = 0; lane < p.valid; ++lane) {
    Value x = vector::ExtractOp::create(b_, loc_, v, llvm::ArrayRef<int64_t>{lane});
    LLVM::StoreOp::create(b_, loc_, x, gep(pointer, element, lane * stride), bytes_of(element));
  }
}

Value Emitter::lane_mask(int width, int valid) {
  llvm::SmallVector<bool> lanes(width, false);
  std::fill(lanes.begin(), lanes.begin() + valid, true);
  auto type = mlir::VectorType::get({width}, b_.getI1Type());
  return constant(type, mlir::DenseElementsAttr::get(type, llvm::ArrayRef<bool>(lanes)));
}

Value Emitter::widen(Value packed, DType t) {
  switch (t) {
    case DType::f32: case DType::f64: case DType::i32: case DType::i64: case DType::u8:
      return packed;
    case DType::f16:
      return arith::ExtFOp::create(b_, loc_, shaped_like(b_.getF32Type(), packed), packed);
    case DType::b8:
      return arith::CmpIOp::create(b_, loc_, arith::CmpIPredicate::ne, packed,
                                   int_constant(packed, 0));
    case DType::f8e4m3: return widen_f8e4m3(packed);
    case DType::bf16: break;
  }
  Value bits = arith::ExtUIOp::create(b_, loc_, shaped_like(b_.getI32Type(), packed), packed);
  bits = arith::ShLIOp::create(b_, loc_, bits, int_constant(bits, 16));
  return arith::BitcastOp::create(b_, loc_, shaped_like(b_.getF32Type(), packed), bits);
}

Value Emitter::narrow(Value value, DType t) {
  switch (t) {
    case DType::f32: case DType::f64: case DType::i32: case DType::i64: case DType::u8:
      return value;
    case DType::f16:
      return arith::TruncFOp::create(b_, loc_, shaped_like(b_.getF16Type(), value), value);
    case DType::b8:
      return arith::ExtUIOp::create(b_, loc_, shaped_like(b_.getI8Type(), value), value);
    case DType::f8e4m3: return narrow_f8e4m3(value);
    case DType::bf16: break;
  }
  auto vector = mlir::dyn_cast<mlir::VectorType>(value.getType());
  Type packed_type = shaped_like(b_.getI16Type(), value);
  if (native_bf16_ && vector && vector.getNumElements() >= 8) {
    Value half = arith::TruncFOp::create(b_, loc_, shaped_like(b_.getBF16Type(), value), value);
    return arith::BitcastOp::create(b_, loc_, packed_type, half);
  }
  // Round to nearest even on the bits; a NaN keeps its upper half with the quiet bit set.
  Value bits = arith::BitcastOp::create(b_, loc_, shaped_like(b_.getI32Type(), value), value);
  Value c16 = int_constant(bits, 16);
  Value upper = arith::ShRUIOp::create(b_, loc_, bits, c16);
  Value odd = arith::AndIOp::create(b_, loc_, upper, int_constant(bits, 1));
  Value bias = arith::AddIOp::create(b_, loc_, odd, int_constant(bits, 0x7fff));
  Value rounded = arith::AddIOp::create(b_, loc_, bits, bias);
  rounded = arith::ShRUIOp::create(b_, loc_, rounded, c16);
  Value quiet = arith::OrIOp::create(b_, loc_, upper, int_constant(bits, 0x40));
  Value nan = arith::CmpFOp::create(b_, loc_, arith::CmpFPredicate::UNO, value, value);
  rounded = arith::SelectOp::create(b_, loc_, nan, quiet, rounded);
  return arith::TruncIOp::create(b_, loc_, packed_type, rounded);
}

void Emitter::make_row_buffers() {
  const int64_t lanes = facts_.lanes;
  const int64_t padded = (kernel_.extents.back() + lanes - 1) / lanes * lanes;
  for (size_t i = 0; i < kernel_.ops.size(); ++i) {
    if (!facts_.ops[i].buffered) continue;
    buffers_.resize(kernel_.ops.size());
    locate("row_buffer");
    Type pointer = LLVM::LLVMPointerType::get(b_.getContext());
    Type element = storage_type(compute_type(kernel_.ops[i].type));
    buffers_[i] = LLVM::AllocaOp::create(b_, loc_, pointer, element,
                                         i64(facts_.inner_rows * padded), 64);
  }
}

Value Emitter::read_row_buffer(int op, const Point& p) {
  locate("kept");
  Type element = storage_type(compute_type(kernel_.ops[op].type));
  Value at = gep(buffers_[op], element, p.buffer_index);
  Value v = LLVM::LoadOp::create(b_, loc_, shaped(element, p.width), at, bytes_of(element));
  return kernel_.ops[op].type == DType::b8 ? widen(v, DType::b8) : v;
}

void Emitter::write_row_buffer(int op, Point& p) {
  Value v = operand(op, p, true);
  if (kernel_.ops[op].type == DType::b8) v = narrow(v, DType::b8);
  Type element = storage_type(compute_type(kernel_.ops[op].type));
  LLVM::StoreOp::create(b_, loc_, v, gep(buffers_[op], element, p.buffer_index),
                        bytes_of(element));
}

}  // namespace fusec::codegen_cpu
