// A plan with every kind of buffer, op and step, made without the compiler.
#pragma once

#include "fusec/plan/plan.h"

namespace fusec::fuzz {

inline KernelOp seed_op(KernelOp::Kind kind, DType type, std::vector<int> args,
                        Access access = {}) {
  KernelOp op;
  op.kind = kind;
  op.type = type;
  op.args = std::move(args);
  op.access = std::move(access);
  return op;
}

inline Plan small_plan() {
  using K = KernelOp::Kind;
  KernelProgram flat;
  flat.name = "k00_scale";
  flat.origins = {"map.mul (mlp.cpp:12)", "say \"hi\""};
  flat.params = {{"x", f32, true, false}, {"y", f32, false, true}};
  flat.extents = {12};
  flat.ops = {seed_op(K::load, f32, {}, {0, 0, {1}}), seed_op(K::constant, f32, {}),
              seed_op(K::prim, f32, {0, 1}), seed_op(K::store, f32, {2}, {1, 0, {1}})};
  flat.ops[1].imm = 0.1;
  flat.ops[2].prim = Prim::mul;

  KernelProgram rows;
  rows.name = "k01_sum";
  rows.params = {{"x", f32, true, false}, {"y", bf16, false, true}};
  rows.extents = {3, 4};
  rows.row_dims = 1;
  rows.schedule.kind = ScheduleKind::rows;
  rows.schedule.vector = 4;
  rows.ops = {seed_op(K::load, f32, {}, {0, 11, {-4, -1}}), seed_op(K::reduce, f32, {0}),
              seed_op(K::cast, bf16, {1}), seed_op(K::store, bf16, {2}, {1, 0, {1, 0}})};

  Plan p;
  p.graph = "seed";
  auto buffer = [&](const char* name, BufferClass cls, TensorType type, int first, int last) {
    PlanBuffer b{name, cls, std::move(type), -1, first, last, {}};
    if (!is_persistent(cls)) {
      b.offset = p.arena_bytes;
      p.arena_bytes += reserved_bytes(b.type);
    }
    if (cls == BufferClass::constant) b.data.assign(b.type.bytes(), '\x01');
    p.buffers.push_back(std::move(b));
  };
  buffer("x", BufferClass::input, {{3, 4}, f32}, 0, 2);
  buffer("t0", BufferClass::temporary, {{3, 4}, f32}, 0, 2);
  buffer("y", BufferClass::output, {{3}, bf16}, 1, 2);
  buffer("w", BufferClass::parameter, {{4, 4}, f32}, 0, 2);
  buffer("c0", BufferClass::constant, {{2}, i32}, 0, 2);
  buffer("z", BufferClass::output, {{3, 4}, f32}, 2, 2);
  p.kernels = {flat, rows};
  PlanStep scale, sum, gemm;
  scale.kernel = 0;
  scale.segments = {{{{0, 0}, {1, 0}}, 12}};
  scale.scope = "trunk.0";
  sum.kernel = 1;
  sum.segments = {{{{1, 0}, {2, 0}}, 0}};
  gemm.call.name = "gemm";
  gemm.call.args = {{1, 0}, {3, 0}, {5, 0}};
  for (const char* key : {"m", "n", "k", "batch", "lda", "ldb", "ldc", "stride_a", "stride_b",
                          "stride_c", "trans_a", "trans_b"})
    gemm.call.attrs[key] = int64_t{4};
  gemm.call.attrs["m"] = int64_t{3};
  gemm.call.attrs["batch"] = int64_t{1};
  gemm.call.attrs["trans_a"] = gemm.call.attrs["trans_b"] = int64_t{0};
  for (const char* key : {"type_a", "type_b", "type_c"}) gemm.call.attrs[key] = std::string("f32");
  gemm.call.attrs["alpha"] = 1.0;
  gemm.call.attrs["beta"] = 0.0;
  p.steps = {scale, sum, gemm};
  return p;
}

}  // namespace fusec::fuzz
