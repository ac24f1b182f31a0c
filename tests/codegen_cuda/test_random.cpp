// Random kernels from fixed seeds: random pointwise graphs around random reductions, under random
// schedules, run on the host.
#include <doctest/doctest.h>

#include "build.h"
#include "fusec/base/philox.h"
#include "fusec/base/shape.h"
#include "host_run.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Dice {
  uint64_t seed, at = 0;
  int operator()(int sides) { return static_cast<int>(philox(seed, at++)[0] % sides); }
};

struct Random {
  Dice dice;
  Build b;
  HostCase c;
  std::vector<int> pool;

  explicit Random(uint64_t seed)
      : dice{seed}, b("random" + std::to_string(seed), static_cast<ScheduleKind>(dice(4)), {0}, 0) {
    c.seed = seed;
    c.relative = 2e-4;  // up to 20 f32 operations in sequence; sqrt and sin may amplify a few times
    shape();
    schedule();
    for (int i = 0; i < 3; ++i) pool.push_back(input(i));
    grow(3 + dice(6));
    finish();
    c.kernel = b.k;
  }

 private:
  bool sized() const {
    return b.k.schedule.kind == ScheduleKind::rows || b.k.schedule.kind == ScheduleKind::columns;
  }

  void shape() {
    c.n = 1 + dice(3000);
    c.form = dice(4) == 0 ? codegen_cuda::LaunchForm::table : codegen_cuda::LaunchForm::single;
    if (!sized()) return;
    const bool columns = b.k.schedule.kind == ScheduleKind::columns;
    const int rank = 2 + dice(3);
    const int lasts[] = {1 + dice(300), 8 * (1 + dice(40)), 16 << dice(6), 1};
    b.k.extents.clear();
    for (int d = 0; d + 1 < rank; ++d) b.k.extents.push_back(1 + dice(columns ? 9 : 5));
    b.k.extents.push_back(lasts[dice(8) == 0 ? 3 : dice(3)]);
    b.k.row_dims = dice(rank - (columns ? 1 : 0));
    if (!columns && b.k.row_dims > 0 && dice(3) > 0) {
      b.k.walk_dims = 1 + dice(b.k.row_dims);
      b.k.extents[b.k.row_dims - 1] += dice(12);
    }
  }

  void schedule() {
    KernelSchedule& s = b.k.schedule;
    const int blocks[] = {32, 64, 128, 256, 96, 384};
    s.block = blocks[dice(6)];
    s.vector = 1 << dice(s.kind == ScheduleKind::columns ? 6 : 5);
    s.stream = dice(2) == 0;
    s.chunk = dice(2) ? 1 + dice(900) : 256 << dice(4);
    s.team = 1;
    if (s.kind == ScheduleKind::flat_reduce) s.team = s.block;
    if (!sized()) return;
    do s.team = 1 << dice(9);
    while (s.block % s.team != 0);
    if (dice(4) == 0) s.team = s.block;
  }

  // Dense, broadcast, with a gap, reversed or transposed.
  int input(int i) {
    const DType types[] = {f32, f32, bf16, f16, f64, i32};
    const DType t = types[dice(6)];
    const int p = b.in("x" + std::to_string(i), t);
    Strides s = {1};
    int64_t start = 0, count = c.n + 4;
    if (!sized()) {
      if (i > 0 && dice(4) == 0) s = {0};
      if (dice(4) == 0) start = dice(5);
    } else {
      s = row_major_strides(b.k.extents);
      count = numel(b.k.extents) + 8;
      switch (dice(i == 0 ? 5 : 7)) {
        case 0: start = dice(9); break;
        case 1:
          for (int64_t& v : s) v *= 2;
          count *= 2;
          break;
        case 2: {
          const size_t d = dice(static_cast<int>(s.size()));
          start = s[d] * (b.k.extents[d] - 1), s[d] = -s[d];
          break;
        }
        case 3: {
          std::vector<int64_t> turned(b.k.extents.rbegin(), b.k.extents.rend());
          Strides r = row_major_strides(turned);
          s.assign(r.rbegin(), r.rend());
          break;
        }
        case 5: case 6:
          for (int64_t& v : s) v = dice(2) ? 0 : v;
          break;
        default: break;
      }
    }
    c.counts.push_back(count);
    int v = b.load(p, s, start);
    if (t == i32) v = b.prim(Prim::add, {v, b.index(s, i32, start)});
    v = b.cast(v, f32);
    return t == i32 ? b.prim(Prim::mul, {v, b.c(1.0 / static_cast<double>(count))}) : v;
  }

  void grow(int times) {
    for (int i = 0; i < times; ++i) {
      const int size = static_cast<int>(pool.size());
      int x = pool[dice(size)], y = pool[dice(size)];
      int above_one = b.prim(Prim::add, {b.prim(Prim::abs, {y}), b.c(1)});
      switch (dice(10)) {
        case 0: x = b.prim(Prim::add, {x, y}); break;
        case 1: x = b.prim(Prim::sub, {x, y}); break;
        case 2: x = b.prim(Prim::tanh, {b.prim(Prim::mul, {x, y})}); break;
        case 3: x = b.prim(Prim::max, {x, y}); break;
        case 4: x = b.prim(Prim::tanh, {x}); break;
        case 5: x = b.prim(Prim::sin, {x}); break;
        case 6: x = b.prim(Prim::div, {x, above_one}); break;
        case 7: x = b.prim(Prim::exp, {b.prim(Prim::neg, {b.prim(Prim::abs, {x})})}); break;
        case 8: x = b.prim(Prim::sqrt, {above_one}); break;
        case 9: x = b.cast(b.cast(x, f64), f32); break;
      }
      pool.push_back(x);
    }
  }

  // One or two results over the walked rows, and arithmetic with them.
  void sums_over_rows(auto store) {
    Strides once = row_major_strides(b.k.extents);
    const int first = b.k.row_dims - b.k.walk_dims;
    double rows = 1;
    for (int d = first; d < b.k.row_dims; ++d) once[d] = 0, rows *= double(b.k.extents[d]);
    for (int i = 0; i < 1 + dice(2); ++i) {
      const int x = pool[dice(static_cast<int>(pool.size()))];
      const auto reduction = static_cast<ReduceKind>(dice(3));
      int v = b.over_rows(reduction, dice(5) == 0 ? b.cast(x, f64) : x);
      v = b.cast(v, f32);
      if (reduction == ReduceKind::sum) v = b.prim(Prim::mul, {v, b.c(1 / rows)});
      if (dice(2)) {  // the same for all rows
        const int p = b.in("w" + std::to_string(i), f32);
        c.counts.push_back(numel(b.k.extents));
        v = b.prim(Prim::add, {v, b.load(p, once)});
      }
      const DType types[] = {f32, f32, bf16, f64};
      store(i == 0 ? "s" : "t", types[dice(4)], v, once);
    }
  }

  void finish() {
    const ScheduleKind kind = b.k.schedule.kind;
    const bool joins = kind == ScheduleKind::columns || kind == ScheduleKind::flat_reduce;
    const double inner = sized() ? static_cast<double>(numel(b.k.extents))
                                 : static_cast<double>(b.k.schedule.chunk);
    std::vector<int> reduced;
    int times =
        kind == ScheduleKind::flat ? 0 : 1 + dice(kind == ScheduleKind::flat_reduce ? 2 : 3);
    if (kind == ScheduleKind::rows && dice(4) == 0) times = 0;
    for (int i = 0; i < times; ++i) {
      int arg = kind == ScheduleKind::flat_reduce ? pool[3 + dice(3)] : pool.back();
      auto reduction = static_cast<ReduceKind>(dice(3));
      const bool wide = dice(5) == 0;
      int v = b.reduce(reduction, wide ? b.cast(arg, f64) : arg);
      if (wide) v = b.cast(v, f32);
      if (reduction == ReduceKind::sum) v = b.prim(Prim::mul, {v, b.c(1.0 / inner)});
      reduced.push_back(v);
      if (kind == ScheduleKind::flat_reduce) continue;
      pool.push_back(v);
      grow(2 + dice(3));
    }
    Strides all = sized() ? row_major_strides(b.k.extents) : Strides{1}, few = all;
    int64_t count = sized() ? numel(b.k.extents) : c.n;
    if (kind == ScheduleKind::flat_reduce) count = b.k.units(c.n);
    const size_t end = few.size() - (kind == ScheduleKind::columns ? 1 : 0);
    for (size_t d = b.k.row_dims; sized() && d < end; ++d) few[d] = 0;
    auto store = [&](const char* name, DType t, int value, const Strides& s) {
      int p = b.out(name, t);
      b.store(p, t == f32 ? value : b.cast(value, t), s);
      c.counts.push_back(count);
      if (t == bf16) c.relative = 0x1p-7;
    };
    const DType types[] = {f32, f32, f32, bf16, f64};
    if (joins) {
      for (int v : reduced) store("r", types[dice(5)], v, few);
      return;
    }
    store("y", types[dice(5)], pool.back(), all);
    if (dice(2)) store("b", b8, b.prim(Prim::gt, {pool.back(), pool[0]}), all);
    if (!reduced.empty()) store("r", types[dice(5)], reduced.back(), few);
    if (b.k.walk_dims > 0) sums_over_rows(store);
  }
};

}  // namespace

TEST_CASE("random kernels under random schedules agree with the reference") {
  for (int batch = 0; batch < 3; ++batch) {
    std::vector<HostCase> cases;
    for (int i = 0; i < 40; ++i) cases.push_back(Random(1 + batch * 40 + i).c);
    run_on_host("random" + std::to_string(batch), cases);
  }
}
