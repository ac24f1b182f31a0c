// Writes KernelPrograms by hand: one short call for each op, types inferred.
#pragma once

#include <string>
#include <vector>

#include "fusec/plan/kernel_program.h"

namespace fusec::test {

using Strides = std::vector<int64_t>;

struct Build {
  KernelProgram k;

  Build(std::string name, ScheduleKind kind, std::vector<int64_t> extents, int row_dims) {
    k.name = std::move(name);
    k.origins = {"map.test (test.cpp:1)"};
    k.extents = std::move(extents);
    k.row_dims = row_dims;
    k.schedule.kind = kind;
  }

  int in(std::string name, DType t) { return param(std::move(name), t, true, false); }
  int out(std::string name, DType t) { return param(std::move(name), t, false, true); }
  int in_out(std::string name, DType t) { return param(std::move(name), t, true, true); }

  int load(int param, Strides strides, int64_t offset = 0) {
    KernelOp op{.kind = KernelOp::Kind::load, .type = k.params[param].dtype};
    op.access = {param, offset, std::move(strides)};
    return push(op);
  }
  int c(double v, DType t = f32) {
    return push({.kind = KernelOp::Kind::constant, .type = t, .imm = v});
  }
  int index(Strides strides, DType t, int64_t offset = 0) {
    KernelOp op{.kind = KernelOp::Kind::index, .type = t};
    op.access = {-1, offset, std::move(strides)};
    return push(op);
  }
  int prim(Prim p, std::vector<int> args) {
    DType t = k.ops[args[0]].type;
    if (p == Prim::select) t = k.ops[args[1]].type;
    if (p >= Prim::eq && p <= Prim::ge) t = b8;
    return push({.kind = KernelOp::Kind::prim, .type = t, .prim = p, .args = std::move(args)});
  }
  int cast(int arg, DType t) {
    return push({.kind = KernelOp::Kind::cast, .type = t, .args = {arg}});
  }
  int reduce(ReduceKind r, int arg) {
    return push(
        {.kind = KernelOp::Kind::reduce, .type = k.ops[arg].type, .reduce = r, .args = {arg}});
  }
  int over_rows(ReduceKind r, int arg) {
    int op = reduce(r, arg);
    k.ops[op].over_rows = true;
    return op;
  }
  void store(int param, int value, Strides strides, int64_t offset = 0) {
    KernelOp op{.kind = KernelOp::Kind::store, .type = k.params[param].dtype, .args = {value}};
    op.access = {param, offset, std::move(strides)};
    push(op);
  }

 private:
  int param(std::string name, DType t, bool read, bool written) {
    k.params.push_back({std::move(name), t, read, written});
    return static_cast<int>(k.params.size()) - 1;
  }
  int push(KernelOp op) {
    k.ops.push_back(std::move(op));
    return static_cast<int>(k.ops.size()) - 1;
  }
};

}  // namespace fusec::test
