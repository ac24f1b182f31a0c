// The scalar ops of a kernel under construction: equal ones once, and the value column of
// pointwise.def recorded as primitives.
#pragma once

#include <unordered_map>
#include <vector>

#include "fusec/base/hash.h"
#include "fusec/ops/formula.h"
#include "fusec/plan/kernel_program.h"

namespace fusec::ir {

class ScalarRecorder;

// A scalar of the kernel; apply_formula (formula.h) is instantiated with it. A number becomes a
// constant of the other operand's type.
struct Scalar {
  ScalarRecorder* recorder = nullptr;
  int op = -1;
  double number = 0;
  Scalar() = default;
  Scalar(double v) : number(v) {}  // NOLINT
  Scalar(ScalarRecorder* r, int o) : recorder(r), op(o) {}
};

class ScalarRecorder {
 public:
  int emit(::fusec::KernelOp op) {
    uint64_t h =
        hash_combine(static_cast<uint64_t>(op.kind) * 64 + static_cast<uint64_t>(op.type),
                     static_cast<uint64_t>(op.prim) * 8 + static_cast<uint64_t>(op.reduce) +
                         (op.over_rows ? 4 : 0));
    for (int a : op.args) h = hash_combine(h, a);
    h = hash_combine(h, hash_combine(op.access.param, op.access.offset));
    for (int64_t s : op.access.strides) h = hash_combine(h, s);
    h = hash_combine(h, std::hash<double>()(op.imm));
    for (auto [it, end] = unique_.equal_range(h); it != end; ++it)
      if (program_.ops[it->second] == op) return it->second;
    program_.ops.push_back(std::move(op));
    int id = static_cast<int>(program_.ops.size() - 1);
    unique_.emplace(h, id);
    return id;
  }

  int constant(double v, DType t) {
    ::fusec::KernelOp op;
    op.kind = ::fusec::KernelOp::Kind::constant;
    op.type = t;
    op.imm = v;
    return emit(std::move(op));
  }

  int cast(int value, DType to) {
    if (program_.ops[value].type == to) return value;
    ::fusec::KernelOp op;
    op.kind = ::fusec::KernelOp::Kind::cast;
    op.type = to;
    op.args = {value};
    return emit(std::move(op));
  }

  Scalar prim(Prim p, std::vector<Scalar> args) {
    DType t = DType::f32;
    for (size_t i = p == Prim::select ? 1 : 0; i < args.size(); ++i)
      if (args[i].op >= 0) t = program_.ops[args[i].op].type;
    ::fusec::KernelOp op;
    op.kind = ::fusec::KernelOp::Kind::prim;
    op.prim = p;
    for (const Scalar& a : args) op.args.push_back(a.op >= 0 ? a.op : constant(a.number, t));
    op.type = p >= Prim::eq && p <= Prim::ge ? DType::b8 : t;
    return {this, emit(std::move(op))};
  }

  // A row of pointwise.def.
  int map(Pointwise fn, const std::vector<int>& operands, DType result);

 protected:
  KernelProgram program_;

 private:
  // Bytes and truth values compute as i32; select only moves them.
  static DType arithmetic_type(DType t, Pointwise fn) {
    bool narrow = t == DType::u8 || t == DType::b8;
    return narrow && fn != Pointwise::select ? DType::i32 : compute_type(t);
  }

  std::unordered_multimap<uint64_t, int> unique_;
};

// Spelling of the scalar primitives for apply_formula.
#define FUSEC_SCALAR2(fn, p)                                             \
  inline Scalar fn(Scalar a, Scalar b) {                                 \
    return (a.recorder ? a : b).recorder->prim(Prim::p, {a, b});         \
  }
#define FUSEC_SCALAR1(fn, p) \
  inline Scalar fn(Scalar a) { return a.recorder->prim(Prim::p, {a}); }
FUSEC_SCALAR2(operator+, add)
FUSEC_SCALAR2(operator-, sub)
FUSEC_SCALAR2(operator*, mul)
FUSEC_SCALAR2(operator/, div)
FUSEC_SCALAR2(operator==, eq)
FUSEC_SCALAR2(operator!=, ne)
FUSEC_SCALAR2(operator<, lt)
FUSEC_SCALAR2(operator<=, le)
FUSEC_SCALAR2(operator>, gt)
FUSEC_SCALAR2(operator>=, ge)
FUSEC_SCALAR2(min, min)
FUSEC_SCALAR2(max, max)
FUSEC_SCALAR1(operator-, neg)
FUSEC_SCALAR1(abs, abs)
FUSEC_SCALAR1(sqrt, sqrt)
FUSEC_SCALAR2(pow, pow)
FUSEC_SCALAR2(philox, philox)
FUSEC_SCALAR1(exp, exp)
FUSEC_SCALAR1(exp2, exp2)
FUSEC_SCALAR1(log1p, log1p)
FUSEC_SCALAR1(floor, floor)
FUSEC_SCALAR1(round, round)
FUSEC_SCALAR1(log, log)
FUSEC_SCALAR1(sin, sin)
FUSEC_SCALAR1(cos, cos)
FUSEC_SCALAR1(tanh, tanh)
FUSEC_SCALAR1(erf, erf)
inline Scalar select(Scalar c, Scalar a, Scalar b) {
  return c.recorder->prim(Prim::select, {c, a, b});
}
#undef FUSEC_SCALAR1
#undef FUSEC_SCALAR2

inline int ScalarRecorder::map(Pointwise fn, const std::vector<int>& operands, DType result) {
  std::vector<Scalar> args;
  for (int id : operands)
    args.push_back({this, cast(id, arithmetic_type(program_.ops[id].type, fn))});
  return cast(apply_formula<Scalar>(fn, args.data()).op, result);
}

}  // namespace fusec::ir
