// A matrix product as a plan of one call.
#pragma once

#include "cuda_plan.h"

namespace fusec::test {

struct Case {
  int64_t m, n, k, batch = 1;
  bool trans_a = false, trans_b = false;
  DType ab = f32, c = f32;
  double alpha = 1, beta = 0;
  int64_t pad = 0;     // elements beyond a row, in every matrix
  int64_t offset = 0;  // elements before A
  DType b = f32;       // type of B where it differs
  bool mixed = false;
  bool tf32 = false;
  std::string epilogue = "none";
  bool in_place = false;  // the addend is C
};

// Values in [-1, 1] that every type holds exactly enough to be compared after rounding.
inline std::string values(DType t, int64_t count, uint64_t seed) {
  std::string out(static_cast<size_t>(count * size_of(t)), '\0');
  for (int64_t i = 0; i < count; ++i) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    store_from_double(out.data(), t, i, static_cast<double>(seed >> 40) / (1 << 23) - 1);
  }
  return out;
}

// The product as a plan of one call, and how its matrices lie.
struct GemmPlan : PlanBuilder {
  DType type_b;
  int64_t lda, ldb, ldc, stride_a, stride_b, stride_c, size_a;
  int a, b, c, aux = -1, sums = -1, addend = -1, bias = -1, pre = -1;
  GemmEpilogue epilogue;

  explicit GemmPlan(const Case& x, BufferClass out = BufferClass::output)
      : type_b(x.mixed ? x.b : x.ab) {
    lda = (x.trans_a ? x.m : x.k) + x.pad, ldb = (x.trans_b ? x.k : x.n) + x.pad;
    ldc = x.n + x.pad;
    stride_a = (x.trans_a ? x.k : x.m) * lda, stride_b = (x.trans_b ? x.n : x.k) * ldb;
    stride_c = x.m * ldc;
    size_a = x.offset + x.batch * stride_a;
    a = buffer("a", BufferClass::input, {{size_a}, x.ab});
    b = buffer("b", BufferClass::input, {{x.batch * stride_b}, type_b});
    c = buffer("c", out, {{x.batch * stride_c}, x.c});
    auto type = [](DType t) { return std::string(name_of(t)); };
    std::vector<int> args = {a, b, c};
    LibraryCall named;
    named.attrs["epilogue"] = x.epilogue;
    epilogue = epilogue_of(named);
    auto also = [&](const char* name, BufferClass cls, int64_t count) {
      args.push_back(buffer(name, cls, {{count}, x.c}));
      return args.back();
    };
    if (epilogue.aux) aux = also("aux", BufferClass::output, x.batch * stride_c);
    if (epilogue.sums()) sums = also("sums", BufferClass::output, epilogue.bgrada ? x.m : x.n);
    if (epilogue.add && x.in_place) args.push_back(addend = c);
    if (epilogue.add && !x.in_place)
      addend = also("addend", BufferClass::input, x.batch * stride_c);
    if (epilogue.bias) bias = also("bias", BufferClass::input, x.n);
    if (epilogue.dgelu) pre = also("pre", BufferClass::input, x.batch * stride_c);
    PlanStep& step = call("gemm", args,
                          {{"m", x.m},
                           {"n", x.n},
                           {"k", x.k},
                           {"batch", x.batch},
                           {"lda", lda},
                           {"ldb", ldb},
                           {"ldc", ldc},
                           {"stride_a", stride_a},
                           {"stride_b", stride_b},
                           {"stride_c", stride_c},
                           {"trans_a", int64_t{x.trans_a}},
                           {"trans_b", int64_t{x.trans_b}},
                           {"type_a", type(x.ab)},
                           {"type_b", type(type_b)},
                           {"type_c", type(x.c)},
                           {"epilogue", x.epilogue},
                           {"alpha", x.alpha},
                           {"beta", x.beta}});
    step.call.args[0].byte_offset = x.offset * size_of(x.ab);
  }
};

}  // namespace fusec::test
