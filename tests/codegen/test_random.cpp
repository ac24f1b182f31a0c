// Random kernels from fixed seeds: random pointwise graphs around random reductions.
#include <doctest/doctest.h>

#include "build.h"
#include "fusec/base/philox.h"
#include "harness.h"

using namespace fusec;
using namespace fusec::test;

namespace {

struct Dice {
  uint64_t seed, at = 0;
  int operator()(int sides) { return static_cast<int>(philox(seed, at++)[0] % sides); }
};

struct Random {
  KernelProgram k;
  std::vector<int64_t> counts;
  int64_t n = 0;
};

Random make(uint64_t seed) {
  Dice dice{seed};
  const auto kind = static_cast<ScheduleKind>(dice(4));
  std::vector<int64_t> extents = {0};
  int row_dims = 0;
  if (kind == ScheduleKind::rows || kind == ScheduleKind::columns) {
    int rank = 2 + dice(2);
    extents.clear();
    for (int d = 0; d < rank; ++d) extents.push_back(1 + dice(d + 1 == rank ? 150 : 6));
    row_dims = dice(rank - (kind == ScheduleKind::columns ? 1 : 0));
  }
  Random r;
  r.n = 1 + dice(500);
  Build b("random" + std::to_string(seed), kind, extents, row_dims);
  b.k.schedule.chunk = 1 + dice(300);
  b.k.schedule.vector = 16 << dice(3);
  const bool sized = kind == ScheduleKind::rows || kind == ScheduleKind::columns;
  const int64_t total = sized ? numel(extents) : r.n;
  Strides dense = sized ? row_major_strides(extents) : Strides{1};

  std::vector<int> pool;
  for (int i = 0; i < 3; ++i) {
    DType t = dice(3) == 0 ? bf16 : f32;
    int p = b.in("x" + std::to_string(i), t);
    r.counts.push_back(total);
    Strides s = dense;
    for (int64_t& stride : s) stride = i > 0 && dice(3) == 0 ? 0 : stride;
    pool.push_back(b.cast(b.load(p, s), f32));
  }
  auto grow = [&](int times) {
    for (int i = 0; i < times; ++i) {
      const int size = static_cast<int>(pool.size());
      int x = pool[dice(size)], y = pool[dice(size)];
      int above_one = b.prim(Prim::add, {b.prim(Prim::abs, {y}), b.c(1)});
      switch (dice(9)) {
        case 0: x = b.prim(Prim::add, {x, y}); break;
        case 1: x = b.prim(Prim::sub, {x, y}); break;
        case 2: x = b.prim(Prim::tanh, {b.prim(Prim::mul, {x, y})}); break;
        case 3: x = b.prim(Prim::max, {x, y}); break;
        case 4: x = b.prim(Prim::tanh, {x}); break;
        case 5: x = b.prim(Prim::sin, {x}); break;
        case 6: x = b.prim(Prim::div, {x, above_one}); break;
        case 7: x = b.prim(Prim::exp, {b.prim(Prim::neg, {b.prim(Prim::abs, {x})})}); break;
        case 8: x = b.prim(Prim::sqrt, {above_one}); break;
      }
      pool.push_back(x);
    }
  };
  grow(3 + dice(6));
  const int64_t inner = sized ? total : b.k.schedule.chunk;
  std::vector<int> reduced;
  if (kind != ScheduleKind::flat) {
    int times = 1 + dice(kind == ScheduleKind::flat_reduce ? 2 : 3);
    for (int i = 0; i < times; ++i) {
      int arg = kind == ScheduleKind::flat_reduce ? pool[3 + dice(3)] : pool.back();
      auto reduction = static_cast<ReduceKind>(dice(3));
      int v = b.reduce(reduction, arg);
      if (reduction == ReduceKind::sum) v = b.prim(Prim::mul, {v, b.c(1.0 / inner)});
      reduced.push_back(v);
      if (kind == ScheduleKind::flat_reduce) continue;
      pool.push_back(v);
      grow(2 + dice(3));
    }
  }
  Strides s = dense;
  int stored = pool.back();
  if (kind == ScheduleKind::columns || kind == ScheduleKind::flat_reduce) {
    stored = reduced.back();
    for (size_t d = row_dims; d + 1 < s.size(); ++d) s[d] = 0;
  }
  int y = b.out("y", f32);
  b.store(y, stored, s);
  r.counts.push_back(kind == ScheduleKind::flat_reduce ? b.k.units(r.n) : total);
  r.k = b.k;
  return r;
}

}  // namespace

TEST_CASE("random kernels agree with the reference") {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random r = make(seed);
    CAPTURE(seed);
    // Up to 20 f32 operations in sequence; sqrt and sin may amplify the error a few times.
    compare(r.k, r.counts, r.n, {.relative = 2e-4, .seed = seed});
  }
}
