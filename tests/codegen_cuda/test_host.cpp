// Chosen kernels on the host: special values, in-place updates, extents of 0 and 1, and the golden
// kernels at small sizes.
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>

#include "build.h"
#include "fusec/base/shape.h"
#include "fusec/plan/plan.h"
#include "host_run.h"

using namespace fusec;
using namespace fusec::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Build flat(const char* name, int vector = 4) {
  Build b(name, ScheduleKind::flat, {0}, 0);
  b.k.schedule.vector = vector;
  b.k.schedule.block = 64, b.k.schedule.team = 1;
  return b;
}

Build rows(const char* name, std::vector<int64_t> extents, int row_dims, int block, int team) {
  Build b(name, ScheduleKind::rows, std::move(extents), row_dims);
  b.k.schedule.vector = 4;
  b.k.schedule.block = block, b.k.schedule.team = team;
  return b;
}

// Every pair of two lists.
void add_pairs(HostCase& c, const std::vector<double>& list) {
  std::vector<double> left, right;
  for (double a : list)
    for (double b : list) left.push_back(a), right.push_back(b);
  c.values = {{0, left}, {1, right}};
  c.n = static_cast<int64_t>(left.size());
}

// Of an f32 quotient: exact to the last place but for results that underflow.
HostCase division() {
  Build b = flat("division");
  int x = b.in("x", f32), y = b.in("y", f32), q = b.out("q", f32), r = b.out("r", f32);
  int big = b.out("big", f32), small = b.out("small", f32);
  int a = b.load(x, {1}), d = b.load(y, {1});
  b.store(q, b.prim(Prim::div, {a, d}), {1});
  b.store(r, b.prim(Prim::sqrt, {a}), {1});
  b.store(big, b.prim(Prim::max, {a, d}), {1});
  b.store(small, b.prim(Prim::min, {a, d}), {1});
  HostCase c{.relative = 1.5e-7};
  add_pairs(c, {0.0, 1.0, -1.0, 3.0, 7.0, 0.1, kInf, -kInf, kNaN, 0x1p-140, 0x1p-126, 3e38, -3e38,
                0x1.8p100, 0x1p-100, 1e10, 1.0 / 3, 81.0, 0x1p-70, 65536.0});
  c.kernel = b.k;
  c.counts.assign(6, c.n);
  return c;
}

// 1 / (1 + e^x) divides by what is never tiny, and may be infinite.
HostCase sigmoid() {
  Build b = flat("sigmoid", 8);
  int x = b.in("x", bf16), y = b.out("y", f32), z = b.out("z", bf16);
  int e = b.prim(Prim::add, {b.c(1), b.prim(Prim::exp, {b.cast(b.load(x, {1}), f32)})});
  int s = b.prim(Prim::div, {b.c(1), e});
  b.store(y, s, {1});
  b.store(z, b.cast(s, bf16), {1});
  HostCase c{.n = 999, .lo = -120, .hi = 120, .relative = 4e-7};
  c.values = {{0, {kInf, -kInf, kNaN, 0, 88, 89, -88}}};
  c.kernel = b.k;
  c.counts.assign(3, c.n);
  return c;
}

// tanh(x) / x keeps the relative error of small results in sight: four units of the last place, and
// one of the division.
HostCase hyperbolic() {
  Build b = flat("hyperbolic", 8);
  int x = b.in("x", f32), y = b.out("y", f32), z = b.out("z", f32);
  int v = b.load(x, {1}), t = b.prim(Prim::tanh, {v});
  b.store(y, t, {1});
  b.store(z, b.prim(Prim::div, {t, v}), {1});
  HostCase c{.relative = 5 * 0x1p-23};
  std::vector<double> at = {kInf, -kInf, kNaN, 1e30, -1e30, 0x1p-100, -0x1p-120};
  for (double size = 0x1p-20; size < 100; size *= 1.0007) at.push_back(size), at.push_back(-size);
  c.n = static_cast<int64_t>(at.size());
  c.values = {{0, at}};
  c.kernel = b.k;
  c.counts.assign(3, c.n);
  return c;
}

// A softcap of a long row: warps whose arguments are all small, none, and some of them.
HostCase softcap(int64_t length) {
  Build b = rows("softcap", {3, length}, 1, 64, 64);
  int x = b.in("x", f32), y = b.out("y", f32), sum = b.out("sum", f32);
  int t = b.prim(Prim::tanh, {b.prim(Prim::mul, {b.load(x, {length, 1}), b.c(0.125)})});
  b.store(sum, b.reduce(ReduceKind::sum, b.prim(Prim::mul, {t, b.c(1.0 / 4096)})), {1, 0});
  b.store(y, t, {length, 1});
  HostCase c{.relative = 5 * 0x1p-23};
  std::vector<double> values(3 * length);
  for (int64_t i = 0; i < length; ++i) {
    values[i] = std::sin(static_cast<double>(i)) * 4;
    values[length + i] = std::sin(static_cast<double>(i)) * (i % 97 == 0 ? 60 : 4);
    values[2 * length + i] = std::cos(static_cast<double>(i)) * 90;
  }
  values[8] = -0.0, values[40] = kNaN, values[length + 3] = kInf, values[length + 70] = -kInf;
  c.values = {{0, values}};
  c.kernel = b.k;
  c.counts = {3 * length, 3 * length, 3};
  return c;
}

// Rows too long for registers: the sum of exponentials follows the maximum. Rising values move it
// at each step; -inf, inf and NaN end as they do in two passes; one element of a row is picked.
HostCase long_softmax(int block, int team, int64_t length) {
  Build b = rows("long_softmax", {6, length}, 1, block, team);
  int x = b.in("x", f32), target = b.in("target", i32), top = b.out("top", f32);
  int sum = b.out("sum", f32), one = b.out("one", f32), all = b.out("all", f32);
  int v = b.load(x, {length, 1}), max = b.reduce(ReduceKind::max, v);
  int e = b.prim(Prim::exp, {b.prim(Prim::sub, {v, max})}), total = b.reduce(ReduceKind::sum, e);
  int hit = b.prim(Prim::eq, {b.index({0, 1}, i32), b.load(target, {1, 0})});
  b.store(top, max, {1, 0});
  b.store(sum, total, {1, 0});
  b.store(one, b.reduce(ReduceKind::sum, b.prim(Prim::select, {hit, v, b.c(0)})), {1, 0});
  b.store(all, b.prim(Prim::div, {e, total}), {length, 1});
  HostCase c{.relative = 4e-6};  // up to 300 terms of a thread, and the rescaling of its sum
  std::vector<double> values(6 * length);
  for (int64_t i = 0; i < length; ++i) {
    const double wave = std::sin(static_cast<double>(i)) * 20;
    values[i] = static_cast<double>(i) * 0.01;
    values[length + i] = -kInf;
    values[2 * length + i] = i % 3 == 0 && i > length / 2 ? wave : -kInf;
    values[3 * length + i] = i == 77 ? kInf : wave;
    values[4 * length + i] = i == 99 ? kNaN : wave;
    values[5 * length + i] = -3e38 + wave * 1e36;
  }
  c.values = {{0, values}, {1, {5.0, -1.0, static_cast<double>(length - 1), 78, 2147483647.0, 0}}};
  c.kernel = b.k;
  c.counts = {6 * length, 6, 6, 6, 6, 6 * length};
  return c;
}

// Rounding at halves between numbers of f8e4m3, beyond the largest and of NaN; all 256 of them.
HostCase f8(int vector) {
  Build b = flat("f8", vector);
  int x = b.in("x", f32), e = b.in("e", f8e4m3), y = b.out("y", f8e4m3), z = b.out("z", f32);
  int w = b.out("w", f8e4m3), r = b.out("r", f32), v = b.load(x, {1}), n = b.cast(v, f8e4m3);
  b.store(y, n, {1});
  b.store(r, b.prim(Prim::add, {b.cast(n, f32), b.c(1)}), {1});
  b.store(z, b.cast(b.load(e, {1}), f32), {1});
  b.store(w, b.load(e, {1}), {1});
  HostCase c{.n = 1023, .relative = 0};
  std::vector<double> at = {kInf, -kInf, kNaN, 449, 1e30, -0x1p-10, 0x1p-130, 464, 0x1.8p-9}, all;
  for (int i = 0; i < 0x7e; ++i) {
    float low = float_from_f8e4m3(static_cast<uint8_t>(i));
    float half = (low + float_from_f8e4m3(static_cast<uint8_t>(i + 1))) / 2;
    for (float to : {-1.0f, 1e9f}) at.push_back(std::nextafterf(half, to));
    at.push_back(half), at.push_back(-half), at.push_back(low);
  }
  for (int i = 0; i < 256; ++i) all.push_back(float_from_f8e4m3(static_cast<uint8_t>(i)));
  c.values = {{0, at}, {1, all}};
  c.kernel = b.k;
  c.counts.assign(6, c.n);
  return c;
}

HostCase integers() {
  Build b = flat("integers", 2);
  int x = b.in("x", i64), y = b.in("y", i64), z = b.in("z", i32);
  int q = b.out("q", i64), m = b.out("m", i32), w = b.out("w", u8), p = b.out("p", i64);
  int a = b.load(x, {1}), d = b.load(y, {1}), e = b.load(z, {1});
  int safe = b.prim(Prim::add, {b.prim(Prim::abs, {d}), b.c(1, i64)});
  b.store(q, b.prim(Prim::div, {a, safe}), {1});
  b.store(m, b.prim(Prim::max, {b.cast(a, i32), b.prim(Prim::neg, {e})}), {1});
  b.store(w, b.cast(b.prim(Prim::abs, {e}), u8), {1});
  b.store(p, b.prim(Prim::philox, {a, b.index({1}, i64, 5)}), {1});
  HostCase c{.kernel = b.k, .n = 777, .lo = -1000, .hi = 1000, .relative = 0};
  c.counts.assign(7, c.n);
  return c;
}

// y = y * 0.5 + 1 over the same memory, and a counter that all threads of a row read.
HostCase in_place(int block, int team) {
  Build b = rows("in_place", {1, 300}, 1, block, team);
  int y = b.in_out("y", f32), step = b.in_out("step", f32);
  int s = b.prim(Prim::add, {b.load(step, {0, 0}), b.c(1)});
  int v = b.prim(Prim::add, {b.prim(Prim::mul, {b.load(y, {300, 1}), b.c(0.5)}), s});
  b.store(y, v, {300, 1});
  b.store(step, s, {0, 0});
  return {.kernel = b.k, .counts = {300, 1}};
}

// Reductions over nothing give what reductions start with.
HostCase nothing_to_reduce() {
  Build b = rows("nothing", {5, 0}, 1, 64, 32);
  int x = b.in("x", f32), sum = b.out("sum", f32), top = b.out("top", f32), low = b.out("low", i32);
  int v = b.load(x, {0, 1});
  b.store(sum, b.reduce(ReduceKind::sum, v), {1, 0});
  b.store(top, b.reduce(ReduceKind::max, v), {1, 0});
  b.store(low, b.reduce(ReduceKind::max, b.cast(v, i32)), {1, 0});
  // The interpreter has no point to store at: the results are there beforehand.
  HostCase c{.kernel = b.k, .counts = {8, 5, 5, 5}};
  c.values = {{1, {0, 0, 0, 0, 0}}, {2, std::vector<double>(5, -kInf)},
              {3, std::vector<double>(5, -2147483648.0)}};
  return c;
}

// Tiles [i][j] of tensors that lie [j][i], from an offset that breaks alignment, and flipped along j.
HostCase tiles(DType t, int64_t i, int64_t j, int block, int64_t offset) {
  Build b = rows("tiles", {3, i, j}, 1, block, block);
  b.k.schedule.vector = 8;
  int x = b.in("x", t), back = b.in("back", f32), y = b.out("y", t), z = b.out("z", f32);
  int v = b.load(x, {i * j, 1, i}, offset);
  int w = b.load(back, {i * j, 1, -i}, (j - 1) * i);
  b.store(y, v, {i * j, j, 1});
  b.store(z, b.prim(Prim::sub, {b.cast(v, f32), w}), {i * j, j, 1});
  const int64_t n = 3 * i * j;
  return {.kernel = b.k, .counts = {n + offset, n, n, n}, .lo = 0, .relative = 2e-6};
}

// The golden kernel of a file, its large dimensions cut down.
HostCase small(const std::string& name, std::vector<int64_t> extents, int64_t n) {
  std::ifstream in(std::filesystem::path(FUSEC_TEST_KERNELS) / (name + ".txt"));
  std::stringstream text;
  text << in.rdbuf();
  HostCase c{.kernel = parse_kernel(text.str()), .n = n};
  if (!extents.empty()) c.kernel.extents = std::move(extents);
  c.form = name == "adamw" ? codegen_cuda::LaunchForm::table : codegen_cuda::LaunchForm::single;
  c.relative = 0x1p-7;  // bf16 is rounded after other f32 roundings
  c.lo = 0.01;          // second moments are not negative
  for (size_t p = 0; p < c.kernel.params.size(); ++p) {
    int64_t reach = n;
    for (const KernelOp& op : c.kernel.ops) {
      if (op.access.param != static_cast<int>(p)) continue;
      int64_t end = op.access.offset + 1;
      for (size_t d = 0; d < op.access.strides.size(); ++d)
        end += std::max<int64_t>(op.access.strides[d], 0) * (c.kernel.extents[d] - 1);
      if (c.kernel.schedule.kind != ScheduleKind::flat) reach = std::max(reach, end);
    }
    c.counts.push_back(reach);
  }
  return c;
}

}  // namespace

TEST_CASE("tiles pass through shared memory") {
  run_on_host("tiles", {tiles(bf16, 64, 64, 256, 0), tiles(bf16, 64, 32, 64, 3),
                        tiles(f32, 32, 64, 256, 0), tiles(f32, 20, 24, 96, 1),
                        tiles(f64, 16, 40, 128, 0), tiles(u8, 64, 48, 128, 4),
                        tiles(f16, 44, 7, 32, 2), tiles(i32, 3, 64, 64, 0)});
}

TEST_CASE("special values, integers, in-place updates, empty reductions") {
  run_on_host("special", {division(), sigmoid(), integers(), f8(1), f8(2), f8(16),
                          in_place(128, 128), in_place(64, 16), nothing_to_reduce(), hyperbolic(), softcap(8192),
                          long_softmax(64, 64, 16000),
                          long_softmax(64, 16, 5000), long_softmax(96, 96, 30004),
                          long_softmax(32, 1, 300)});
}

TEST_CASE("golden kernels compute what they say") {
  run_on_host("golden", {small("silu_mul", {}, 5000), small("rms_norm", {3, 2048}, 0),
                         small("rms_norm_backward", {6, 1280}, 0), small("softmax", {3, 1000}, 0),
                         small("cross_entropy", {1, 65536}, 0),
                         small("cross_entropy_backward", {1, 65536}, 0),
                         small("column_sum", {2, 70, 1280}, 0),
                         small("column_variance", {}, 0), small("adamw", {}, 1500),
                         small("rms_norm_panels", {2, 5, 2048}, 0),
                         small("layer_norm_panels", {3, 11, 768}, 0),
                         small("bias_panels", {2, 3, 5120}, 0),
                         small("rope", {2, 3, 5, 2, 64}, 0), small("transpose", {2, 33, 512}, 0),
                         small("transpose_tiles", {2, 2, 3, 64, 64}, 0),
                         small("square_sum", {}, 150000), small("dropout", {}, 3000)});
}
