// flat: every primitive, type and cast; lengths that are no multiple of a vector.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "build.h"
#include "harness.h"

using namespace fusec;
using namespace fusec::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

KernelProgram unary(Prim p, DType t) {
  Build b("unary_" + std::string(name_of(p)), ScheduleKind::flat, {0}, 0);
  int x = b.in("x", t), y = b.out("y", t);
  b.store(y, b.prim(p, {b.load(x, {1})}), {1});
  return b.k;
}

}  // namespace

TEST_CASE("flat: unary primitives on f32 and f64") {
  struct Row {
    Prim prim;
    double lo, hi, relative;  // the polynomial's error: a few f32 ulp (6e-8)
  };
  for (Row r : {Row{Prim::neg, -5, 5, 0}, Row{Prim::abs, -5, 5, 0}, Row{Prim::sqrt, 0.1, 9, 1e-7},
                Row{Prim::exp, -80, 80, 3e-7}, Row{Prim::exp2, -120, 120, 3e-7},
                Row{Prim::log1p, -0.9, 50, 4e-7}, Row{Prim::floor, -9, 9, 0},
                Row{Prim::round, -9, 9, 0}, Row{Prim::log, 1e-3, 100, 3e-7},
                Row{Prim::sin, -3000, 3000, 3e-7}, Row{Prim::cos, -3000, 3000, 3e-7},
                Row{Prim::tanh, -12, 12, 6e-7}, Row{Prim::erf, -5, 5, 6e-7}}) {
    compare(unary(r.prim, f32), {300, 300}, 300,
            {.lo = r.lo, .hi = r.hi, .relative = r.relative, .scale = 1e-3});
    compare(unary(r.prim, f64), {77, 77}, 77,
            {.lo = r.lo, .hi = r.hi, .relative = 1e-15, .scale = 1e-3});
  }
  compare(unary(Prim::exp, f32), {8, 8}, 8,
          {.relative = 3e-7, .scale = 1e-30,
           .values = {{0, {kInf, -kInf, kNan, 0, 88.5, 89.5, -86, -104}}}});
  compare(unary(Prim::exp2, f32), {8, 8}, 8,
          {.relative = 3e-7, .scale = 1e-30,
           .values = {{0, {kInf, -kInf, kNan, 0, 127.9, 128.0, -125, -160}}}});
  compare(unary(Prim::log1p, f32), {6, 6}, 6,
          {.relative = 3e-7, .scale = 1e-30, .values = {{0, {kInf, -1, kNan, 0, 1e-12, -1e-9}}}});
  compare(unary(Prim::round, f32), {6, 6}, 6,
          {.relative = 0, .values = {{0, {0.5, 1.5, 2.5, -0.5, kNan, 1e20}}}});
  compare(unary(Prim::neg, i32), {90, 90}, 90, {.lo = -9, .hi = 9});
  compare(unary(Prim::abs, i64), {90, 90}, 90, {.lo = -9, .hi = 9});
}

TEST_CASE("flat: binary primitives on all arithmetic types") {
  for (DType t : {f32, f64, i32, i64}) {
    for (Prim p : {Prim::add, Prim::sub, Prim::mul, Prim::div, Prim::min, Prim::max}) {
      Build b("binary_" + std::string(name_of(p)), ScheduleKind::flat, {0}, 0);
      int x = b.in("a", t), w = b.in("b", t), y = b.out("y", t);
      b.store(y, b.prim(p, {b.load(x, {1}), b.load(w, {1})}), {1});
      compare(b.k, {133, 133, 133}, 133, {.lo = 1, .hi = 40, .relative = 1e-7});
    }
  }
}

TEST_CASE("flat: pow, as the C library has it") {
  for (DType t : {f32, f64}) {
    Build b("pow", ScheduleKind::flat, {0}, 0);
    int x = b.in("a", t), w = b.in("b", t), y = b.out("y", t);
    b.store(y, b.prim(Prim::pow, {b.load(x, {1}), b.load(w, {1})}), {1});
    compare(b.k, {77, 77, 77}, 77,
            {.lo = 0.1, .hi = 6, .relative = t == f32 ? 1e-7 : 1e-15,
             .values = {{0, {-2, 0, 2, kNan}}, {1, {3, 0, -1.5, 0}}}});
  }
}

TEST_CASE("flat: philox words are those of base/philox.h") {
  Build b("philox", ScheduleKind::flat, {0}, 0);
  int key = b.in("key", i64), at = b.in("at", i64), y = b.out("y", i64);
  b.store(y, b.prim(Prim::philox, {b.load(key, {0}), b.load(at, {1})}), {1});
  for (double k : {0.0, 7.0, 123456789012345.0})
    compare(b.k, {1, 67, 67}, 67,
            {.lo = 0, .hi = 9e15, .relative = 0, .values = {{0, {k}}, {1, {0, 1, 4294967296.0}}}});
}

TEST_CASE("flat: select moves values of every type") {
  for (DType t : {f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3}) {
    Build b("select_" + std::string(name_of(t)), ScheduleKind::flat, {0}, 0);
    int m = b.in("m", b8), x = b.in("x", t), w = b.in("w", t), y = b.out("y", t);
    b.store(y, b.prim(Prim::select, {b.load(m, {1}), b.load(x, {1}), b.load(w, {1})}), {1});
    compare(b.k, {130, 130, 130, 130}, 130, {.lo = 0, .hi = 100, .relative = 0});
  }
}

TEST_CASE("flat: NaN wins min and max; integer division by zero does not trap") {
  for (Prim p : {Prim::min, Prim::max}) {
    Build b("nan_" + std::string(name_of(p)), ScheduleKind::flat, {0}, 0);
    int x = b.in("a", f32), w = b.in("b", f32), y = b.out("y", f32);
    b.store(y, b.prim(p, {b.load(x, {1}), b.load(w, {1})}), {1});
    compare(b.k, {5, 5, 5}, 5,
            {.values = {{0, {kNan, 1, kNan, kInf, -kInf}}, {1, {1, kNan, kNan, 2, 2}}}});
  }
  Build b("idiv", ScheduleKind::flat, {0}, 0);
  int x = b.in("a", i32), w = b.in("b", i32), y = b.out("y", i32);
  int guarded = b.prim(Prim::ne, {b.load(w, {1}), b.c(0, i32)});
  int q = b.prim(Prim::div, {b.load(x, {1}), b.load(w, {1})});
  b.store(y, b.prim(Prim::select, {guarded, q, b.c(-7, i32)}), {1});
  // The reference divides by zero in double, which select drops too.
  compare(b.k, {6, 6, 6}, 6, {.values = {{0, {7, -7, 7, 5, 9, -9}}, {1, {2, 2, -2, 0, -1, 4}}}});
}

TEST_CASE("flat: comparisons, truth values and select") {
  for (DType t : {f32, f64, i32, i64}) {
    for (Prim p : {Prim::eq, Prim::ne, Prim::lt, Prim::le, Prim::gt, Prim::ge}) {
      Build b("compare_" + std::string(name_of(p)), ScheduleKind::flat, {0}, 0);
      int x = b.in("a", t), w = b.in("b", t), m = b.in("m", b8);
      int y = b.out("y", t), z = b.out("z", b8);
      int a = b.load(x, {1}), c = b.load(w, {1}), k = b.load(m, {1});
      int r = b.prim(p, {a, c});
      b.store(y, b.prim(Prim::select, {b.prim(Prim::mul, {r, k}), a, c}), {1});
      b.store(z, b.prim(Prim::add, {r, k}), {1});
      Check check{.lo = -2, .hi = 3};
      if (t == f32 || t == f64) check.values = {{0, {kNan, 1, 2}}, {1, {1, kNan, 2}}};
      compare(b.k, {100, 100, 100, 100, 100}, 100, check);
    }
  }
}

TEST_CASE("flat: casts between all types round as they must") {
  const DType all[] = {f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3};
  for (DType from : all) {
    for (DType to : all) {
      Build b(std::string(name_of(from)) + "_to_" + std::string(name_of(to)), ScheduleKind::flat,
              {0}, 0);
      int x = b.in("x", from), y = b.out("y", to);
      b.store(y, b.cast(b.load(x, {1}), to), {1});
      compare(b.k, {201, 201}, 201, {.lo = 0, .hi = 200, .relative = 0});
    }
  }
}

TEST_CASE("flat: bf16 rounds to nearest even, keeps infinities and NaN") {
  Build b("round_bf16", ScheduleKind::flat, {0}, 0);
  int x = b.in("x", f32), y = b.out("y", bf16), z = b.out("z", f32);
  int r = b.cast(b.load(x, {1}), bf16);
  b.store(y, r, {1});
  b.store(z, b.prim(Prim::mul, {b.cast(r, f32), b.c(3)}), {1});
  compare(b.k, {20, 20, 20}, 20,
          {.relative = 0,
           .values = {{0, {1 + 0x1p-8, 1 + 0x3p-8, 1 + 0x1p-8 + 0x1p-20, -1 - 0x1p-8, kInf, -kInf,
                           kNan, 3.4e38, 0.0, 1e-30}}}});
}

TEST_CASE("flat: bf16 arithmetic, scalars, in-place update, any length") {
  Build b("update", ScheduleKind::flat, {0}, 0);
  int p = b.in_out("p", f32), g = b.in("g", bf16), lr = b.in("lr", f32), w = b.out("w", bf16);
  int step = b.prim(Prim::mul, {b.load(lr, {0}), b.cast(b.load(g, {1}), f32)});
  int next = b.prim(Prim::sub, {b.load(p, {1}), step});
  b.store(p, next, {1});
  b.store(w, b.cast(next, bf16), {1});
  for (int64_t n : {1, 15, 64, 65, 1000}) {
    // One bf16 ulp: the f32 before rounding may differ in its last bit (fused multiply-add).
    compare(b.k, {n, n, 1, n}, n, {.relative = 0x1p-8});
  }
}

TEST_CASE("flat: index") {
  Build b("index", ScheduleKind::flat, {0}, 0);
  int x = b.in("x", i64), y = b.out("y", i64), z = b.out("z", i32);
  b.store(y, b.prim(Prim::add, {b.load(x, {1}), b.index({1}, i64, 5)}), {1});
  b.store(z, b.index({1}, i32), {1});
  compare(b.k, {200, 200, 200}, 200);
}
