// columns and flat_reduce.
#include <doctest/doctest.h>

#include "build.h"
#include "harness.h"

using namespace fusec;
using namespace fusec::test;

TEST_CASE("columns: sums over one and two dimensions, odd widths") {
  for (int64_t n : {1, 5, 16, 63, 64, 65, 200, 256, 700}) {
    for (int vector : {16, 64, 128, 512}) {
      Build b("columns", ScheduleKind::columns, {2, 7, 3, n}, 1);
      b.k.schedule.vector = vector;
      int x = b.in("x", bf16), w = b.in("w", f32), y = b.out("y", f32), z = b.out("z", bf16);
      int v = b.prim(Prim::mul, {b.cast(b.load(x, {21 * n, 3 * n, n, 1}), f32),
                                 b.load(w, {0, 3, 1, 0})});
      int s = b.reduce(ReduceKind::sum, v);
      b.store(y, s, {n, 0, 0, 1});
      b.store(z, b.cast(b.prim(Prim::mul, {s, b.c(0.5)}), bf16), {n, 0, 0, 1});
      compare(b.k, {42 * n, 21, 2 * n, 2 * n}, 0, {.relative = 0x1p-8});
    }
  }
}

TEST_CASE("columns: a reduction of a reduction, values of the unit, gathered columns") {
  for (int64_t n : {9, 70}) {
    const int64_t m = 11;
    Build b("variance", ScheduleKind::columns, {m, n}, 0);
    b.k.schedule.vector = 64;
    int x = b.in("x", f32), bias = b.in("bias", f32), t = b.in("transposed", f32);
    int mean = b.out("mean", f32), var = b.out("var", f32), top = b.out("top", f32);
    int count = b.out("count", i64);
    int v = b.prim(Prim::add, {b.load(x, {n, 1}), b.load(bias, {0, 1})});
    v = b.prim(Prim::add, {v, b.load(t, {1, m})});
    int mu = b.prim(Prim::div, {b.reduce(ReduceKind::sum, v), b.c(m)});
    int d = b.prim(Prim::sub, {v, mu});
    b.store(mean, mu, {0, 1});
    b.store(var, b.reduce(ReduceKind::sum, b.prim(Prim::mul, {d, d})), {0, 1});
    b.store(top, b.reduce(ReduceKind::max, v), {0, 1});
    int positive = b.cast(b.prim(Prim::gt, {v, b.c(0)}), i64);
    b.store(count, b.reduce(ReduceKind::sum, positive), {0, 1});
    compare(b.k, {m * n, n, m * n, n, n, n, n}, 0, {.relative = 1e-5});
  }
}

// Equal terms round alike, so that the errors of a plain loop over them add up.
TEST_CASE("columns: long sums of equal numbers lose no more than their blocks do") {
  for (const Strides& rows : {Strides{1, 3364}, {58, 58}, {3, 1000}, {700, 2, 3}})
    for (int64_t n : {5, 64, 700}) {
      for (int vector : {16, 512}) {
        Strides extents = rows, same(rows.size(), 0);
        extents.push_back(n), same.push_back(1);
        Build b("columns", ScheduleKind::columns, extents, 0);
        b.k.schedule.vector = vector;
        int x = b.in("x", f32), y = b.out("y", f32), top = b.out("top", f32);
        int v = b.load(x, same);
        b.store(y, b.reduce(ReduceKind::sum, v), same);
        b.store(top, b.reduce(ReduceKind::max, v), same);
        // At most 256 roundings in a block, and one for each of at most 20 of them.
        compare(b.k, {n, n, n}, 0, {.lo = 0.5, .hi = 1, .relative = 276 * 0x1p-24, .scale = 0});
      }
    }
}

TEST_CASE("f64 reductions in every schedule keep double precision") {
  auto sums = [](ScheduleKind kind, std::vector<int64_t> extents, int row_dims,
                 std::vector<int64_t> in, std::vector<int64_t> out) {
    Build b("f64", kind, std::move(extents), row_dims);
    int x = b.in("x", f64), s = b.out("sum", f64), top = b.out("max", f64);
    int v = b.load(x, in);
    b.store(s, b.reduce(ReduceKind::sum, v), out);
    b.store(top, b.reduce(ReduceKind::max, v), out);
    return b.k;
  };
  Check exact{.relative = 1e-14};
  compare(sums(ScheduleKind::rows, {5, 77}, 1, {77, 1}, {1, 0}), {385, 5, 5}, 0, exact);
  compare(sums(ScheduleKind::columns, {9, 70}, 0, {70, 1}, {0, 1}), {630, 70, 70}, 0, exact);
  KernelProgram k = sums(ScheduleKind::flat_reduce, {0}, 0, {1}, {1});
  k.schedule.chunk = 100;
  compare(k, {450, 5, 5}, 450, exact);
}

TEST_CASE("flat_reduce: several chunks, the last one short") {
  for (int64_t n : {1, 63, 100, 1000, 4096, 5001}) {
    for (int64_t chunk : {100, 1024}) {
      Build b("norm", ScheduleKind::flat_reduce, {0}, 0);
      b.k.schedule.chunk = chunk;
      int x = b.in("x", bf16), scale = b.in("scale", f32);
      int y = b.out("sum", f32), z = b.out("max", f32), c = b.out("count", i32);
      int v = b.prim(Prim::mul, {b.cast(b.load(x, {1}), f32), b.load(scale, {0})});
      int s = b.reduce(ReduceKind::sum, b.prim(Prim::mul, {v, v}));
      b.store(y, b.prim(Prim::sqrt, {s}), {0});
      b.store(z, b.reduce(ReduceKind::max, b.prim(Prim::abs, {v})), {0}, 2);
      int wide = b.cast(b.prim(Prim::lt, {v, b.c(0)}), i32);
      b.store(c, b.reduce(ReduceKind::sum, wide), {1});
      int64_t units = (n + chunk - 1) / chunk;
      compare(b.k, {n, 1, units, units + 2, units}, n, {.relative = 1e-5});
    }
  }
}
