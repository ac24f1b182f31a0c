// rows: broadcasts, transposes, flips, odd extents; softmax and norms with short and long rows.
#include <doctest/doctest.h>

#include "build.h"
#include "harness.h"

using namespace fusec;
using namespace fusec::test;

namespace {

KernelProgram softmax(int64_t n, int64_t rows, DType t) {
  Build b("softmax", ScheduleKind::rows, {rows, n}, 1);
  int p = b.in("x", t), y = b.out("y", t);
  int x = b.cast(b.load(p, {n, 1}), f32);
  int e = b.prim(Prim::exp, {b.prim(Prim::sub, {x, b.reduce(ReduceKind::max, x)})});
  int q = b.prim(Prim::div, {e, b.reduce(ReduceKind::sum, e)});
  b.store(y, b.cast(q, t), {n, 1});
  return b.k;
}

// Layer norm with residual: writes the sum, the normalised row and the row's mean.
KernelProgram layer_norm(int64_t n, int64_t rows) {
  Build b("layer_norm", ScheduleKind::rows, {rows, n}, 1);
  int p = b.in_out("x", f32), r = b.in("residual", f32), w = b.in("w", f32);
  int y = b.out("y", bf16), m = b.out("mean", f32);
  int x = b.prim(Prim::add, {b.load(p, {n, 1}), b.load(r, {n, 1})});
  int scale = b.c(1.0 / n);
  int mean = b.prim(Prim::mul, {b.reduce(ReduceKind::sum, x), scale});
  int d = b.prim(Prim::sub, {x, mean});
  int var = b.prim(Prim::mul, {b.reduce(ReduceKind::sum, b.prim(Prim::mul, {d, d})), scale});
  int inv = b.prim(Prim::div, {b.c(1), b.prim(Prim::sqrt, {b.prim(Prim::add, {var, b.c(1e-5)})})});
  int v = b.prim(Prim::mul, {b.prim(Prim::mul, {d, inv}), b.load(w, {0, 1})});
  b.store(p, x, {n, 1});
  b.store(y, b.cast(v, bf16), {n, 1});
  b.store(m, mean, {1, 0});
  return b.k;
}

}  // namespace

TEST_CASE("rows: softmax of short and long rows") {
  for (int64_t n : {1, 3, 16, 17, 64, 100, 128, 129, 200, 1000, 2048, 20000}) {
    compare(softmax(n, 7, f32), {7 * n, 7 * n}, 0, {.lo = -8, .hi = 8, .scale = 1e-3});
  }
  // One bf16 ulp, where the f32 value lies near the middle of two.
  compare(softmax(77, 5, bf16), {385, 385}, 0, {.relative = 0x1p-8, .scale = 1e-6});
  compare(softmax(777, 5, bf16), {3885, 3885}, 0, {.relative = 0x1p-8, .scale = 1e-6});
}

TEST_CASE("rows: layer norm with residual, in place") {
  for (int64_t n : {5, 40, 128, 300, 1025}) {
    compare(layer_norm(n, 6), {6 * n, 6 * n, n, 6 * n, 6}, 0, {.relative = 0x1p-8});
  }
}

TEST_CASE("rows: pointwise with broadcasts, transposes and flips") {
  const int64_t a = 3, h = 5;
  for (int64_t n : {1, 7, 16, 33, 150}) {
    Build b("views", ScheduleKind::rows, {a, h, n}, 2);
    int x = b.in("x", f32), t = b.in("transposed", f32), f = b.in("flipped", bf16);
    int row = b.in("row", f32), col = b.in("col", f32);
    int y = b.out("y", f32), z = b.out("y_transposed", f32), v = b.out("y_flipped", f32);
    int s = b.prim(Prim::add, {b.load(x, {h * n, n, 1}), b.load(t, {h, 1, h * a})});
    s = b.prim(Prim::add, {s, b.cast(b.load(f, {h * n, n, -1}, n - 1), f32)});
    s = b.prim(Prim::mul, {s, b.load(row, {h, 1, 0})});
    s = b.prim(Prim::add, {s, b.load(col, {0, 0, 1})});
    b.store(y, s, {h * n, n, 1});
    b.store(z, s, {h, 1, h * a});
    b.store(v, s, {h * n, n, -1}, n - 1);
    int64_t all = a * h * n;
    compare(b.k, {all, all, all, a * h, n, all, all, all});
  }
}

TEST_CASE("rows: several inner dimensions, index and integer reductions") {
  for (int64_t n : {3, 24, 70}) {
    for (int64_t m : {2, 9}) {
      Build b("inner2", ScheduleKind::rows, {4, m, n}, 1);
      int x = b.in("x", f32), w = b.in("w", f32), i = b.in("i", i32);
      int y = b.out("y", f32), top = b.out("top", f32), where = b.out("where", i64);
      int count = b.out("count", i32), low = b.out("low", f32);
      int v = b.prim(Prim::mul, {b.load(x, {m * n, n, 1}), b.load(w, {0, 1, 0})});
      int max = b.reduce(ReduceKind::max, v);
      int id = b.index({0, n, 1}, i64);
      int at = b.prim(Prim::select, {b.prim(Prim::eq, {v, max}), id, b.c(1 << 20, i64)});
      b.store(top, max, {1, 0, 0});
      b.store(where, b.reduce(ReduceKind::min, at), {1, 0, 0});
      b.store(count, b.reduce(ReduceKind::sum, b.load(i, {m * n, n, 1})), {1, 0, 0});
      b.store(low, b.reduce(ReduceKind::min, v), {1, 0, 0});
      b.store(y, b.prim(Prim::sub, {b.prim(Prim::exp, {v}), max}), {m * n, n, 1});
      int64_t all = 4 * m * n;
      compare(b.k, {all, m, all, all, 4, 4, 4, 4}, 0, {.lo = -3, .hi = 3});
    }
  }
}

TEST_CASE("rows: costly values are kept for a later pass, over inner dimensions too") {
  const int64_t m = 6, n = 70;
  Build b("kept", ScheduleKind::rows, {3, m, n}, 1);
  int x = b.in("x", f32), y = b.out("y", f32), z = b.out("z", b8);
  int e = b.prim(Prim::tanh, {b.load(x, {m * n, n, 1})});
  int big = b.prim(Prim::gt, {b.prim(Prim::exp, {e}), b.c(1)});
  int s = b.reduce(ReduceKind::sum, b.prim(Prim::select, {big, e, b.c(0)}));
  b.store(y, b.prim(Prim::mul, {e, s}), {m * n, n, 1});
  b.store(z, big, {m * n, n, 1});
  // The sum of 200 terms below 1.
  compare(b.k, {3 * m * n, 3 * m * n, 3 * m * n}, 0, {.relative = 1e-5});
}

TEST_CASE("rows: one row, empty rows, values of a row only") {
  Build b("all", ScheduleKind::rows, {1000}, 0);
  int x = b.in("x", f32), y = b.out("y", f32);
  b.store(y, b.reduce(ReduceKind::sum, b.load(x, {1})), {0});
  compare(b.k, {1000, 1}, 0, {.relative = 1e-6, .scale = 100});

  Build d("dead", ScheduleKind::rows, {9, 30}, 1);
  int p = d.in("x", f32), q = d.out("y", f32);
  d.prim(Prim::exp, {d.load(p, {30, 1})});
  d.store(q, d.c(2), {30, 1});
  compare(d.k, {270, 270});
}
