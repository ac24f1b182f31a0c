// gather, scatter, cumsum, top_k and the calls that move bytes: the CUDA texts, run on the host
// thread by thread, against the CPU device. Where both add in the same order, bit by bit.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "fusec/base/error.h"
#include "fusec/base/philox.h"
#include "fusec/core/normal_fill.h"
#include "operands.h"

using namespace fusec;
using namespace fusec::test;

namespace {

constexpr DType kAll[] = {f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3};

// Numbers that every type can hold.
Values small_integers(int64_t n, uint64_t key, int below) {
  Values v(n);
  for (int64_t i = 0; i < n; ++i) v[i] = static_cast<double>(philox(key, i)[0] % below);
  return v;
}
Values any_values(int64_t n, uint64_t key, DType t) {
  return is_float(t) ? random_values(n, key) : small_integers(n, key, t == b8 ? 2 : 100);
}

// Indices in [-1, rows).
Values indices(int64_t n, uint64_t key, int64_t rows) {
  Values v = small_integers(n, key, static_cast<int>(rows + 1));
  for (double& x : v) x -= 1;
  return v;
}

}  // namespace

TEST_CASE("gather") {
  Checks checks;
  for (DType type : kAll)  // of a type, only the bytes of a row matter
    for (int64_t width :
         type == f32 ? std::vector<int64_t>{1, 3, 8, 33} : std::vector<int64_t>{3}) {
      DType index = width % 2 ? i32 : i64;
      LibraryCall call = gather_call(20, 50, width, type, index);
      checks.add({{call}}, [=] {
        INFO(std::string(name_of(type)) << " width " << width);
        std::vector<Operand> in = {{any_values(20 * width, 1, type), type},
                                   {indices(50, 2, 20), index},
                                   {Values(50 * width, 1), type}};
        check_equal(run_text(call, in)[2], run_cpu(call, in)[2], "out");
      });
    }
  checks.run();
  CHECK(cuda::launches_of(gather_call(20, 0, 3, f32, i32), {}).empty());
}

TEST_CASE("gather and scatter report an index past the end") {
  for (int64_t count : {5, 3000}) {
    Values index(count, 1);
    index[4] = 9;
    cuda::Status status;
    std::vector<Values> out =
        run_text(gather_call(9, count, 2, f32, i32),
                 {{Values(18, 3), f32}, {index, i32}, {Values(count * 2, 7), f32}}, &status);
    CHECK(status.error == 1);
    CHECK(status.step == 7);
    CHECK(status.index == 9);
    CHECK(status.bound == 9);
    CHECK(out[2][8] == 0);  // the row itself is zeros
    CHECK(out[2][0] == 3);

    status = {};
    out = run_text(scatter_call(9, count, 2, f32, i32, "add"),
                   {{Values(18, 3), f32}, {index, i32}, {Values(count * 2, 1), f32}}, &status);
    CHECK(status.error == 1);
    CHECK(status.index == 9);
    // One launch adds all others; the later ones of a long scatter stop after the error.
    CHECK(out[0][2] == (count == 5 ? 3 + static_cast<double>(count - 1) : 3));
  }
}

TEST_CASE("scatter adds in index order, as the CPU does") {
  struct Shape {
    int64_t rows, count, width;
  };
  Checks checks;
  for (auto [rows, count, width] : {Shape{20, 50, 1}, {7, 300, 5}, {50, 3000, 8}, {70000, 5000, 3}})
    for (DType type : {f32, f64, i32, i64, u8}) {
      if (type != f32 && width % 5 != 0 && width != 3) continue;
      DType index = width % 2 ? i32 : i64;
      LibraryCall call = scatter_call(rows, count, width, type, index, "add");
      checks.add({{call}}, [=, rows = rows, count = count, width = width] {
        INFO(std::string(name_of(type)) << " rows " << rows << " count " << count);
        std::vector<Operand> in = {{any_values(rows * width, 1, type), type},
                                   {indices(count, 2, rows), index},
                                   {any_values(count * width, 3, type), type}};
        check_equal(run_text(call, in)[0], run_cpu(call, in)[0], "out");
      });
    }
  checks.run();
}

TEST_CASE("scatter of bf16 and f16 sums in f32 and rounds once") {
  for (DType type : {bf16, f16})
    for (int64_t count : {300, 2500}) {
      int64_t rows = 9, width = 4;
      Values base = random_values(rows * width, 1), update = random_values(count * width, 3);
      Values index = indices(count, 2, rows), exact = base, size(base.size()), bound = base;
      for (size_t i = 0; i < base.size(); ++i) size[i] = std::fabs(base[i]);
      for (int64_t i = 0; i < count; ++i)
        for (int64_t c = 0; c < width && index[i] >= 0; ++c) {
          int64_t at = static_cast<int64_t>(index[i]) * width + c;
          exact[at] += update[i * width + c];
          size[at] += std::fabs(update[i * width + c]);
        }
      double u = type == bf16 ? 0x1p-8 : 0x1p-11;
      for (size_t i = 0; i < bound.size(); ++i)
        bound[i] =
            static_cast<double>(count) * 0x1p-24 * size[i] * (1 + u) + u * std::fabs(exact[i]);
      LibraryCall call = scatter_call(rows, count, width, type, i32, "add");
      check_within(run_text(call, {{base, type}, {index, i32}, {update, type}})[0], exact, bound,
                   "out");
    }
}

TEST_CASE("scatter sets; of several, the last stays") {
  for (DType type : {f32, bf16, i64, b8})
    for (int64_t count : {40, 2100}) {
      LibraryCall call = scatter_call(30, count, 3, type, i64, "set");
      std::vector<Operand> in = {{any_values(90, 1, type), type},
                                 {indices(count, 2, 30), i64},
                                 {any_values(count * 3, 3, type), type}};
      check_equal(run_text(call, in)[0], run_cpu(call, in)[0], "out");
    }
  CHECK_THROWS_AS(cuda::launches_of(scatter_call(3, 3, 3, b8, i32, "add"), {}), Error);
}

TEST_CASE("cumsum") {
  struct Shape {
    int64_t outer, n, inner;
  };
  Checks checks;
  for (auto [outer, n, inner] :
       {Shape{3, 5000, 1}, {2, 70, 3}, {1, 1000, 40}, {2, 1, 33}, {1, 300, 8}, {4, 8, 1}})
    for (bool reverse : {false, true}) {
      int64_t size = outer * n * inner;
      std::string name = "outer " + std::to_string(outer) + " n " + std::to_string(n) + " inner " +
                         std::to_string(inner) + (reverse ? " reverse" : "");
      for (DType type : {i32, i64}) {  // integers wrap: any order has the same bits
        if (inner != 3) continue;
        LibraryCall call = cumsum_call(outer, n, inner, reverse, type);
        checks.add({{call}}, [=] {
          INFO(name);
          std::vector<Operand> in = {{any_values(size, 5, type), type}, {Values(size), type}};
          check_equal(run_text(call, in)[1], run_cpu(call, in)[1], "out");
        });
      }
      for (DType type : {f32, f64, bf16, f16}) {
        if (type != f32 && inner != 3) continue;
        Values x = random_values(size, 6), exact(size), bound(size);
        double sum_u = type == f64 ? 0x1p-52 : 0x1p-24;  // f64: the reference rounds as well
        double u = type == bf16 ? 0x1p-8 : type == f16 ? 0x1p-11 : sum_u;
        for (int64_t c = 0; c < outer * inner; ++c) {
          double sum = 0, most = 0;
          for (int64_t i = 0; i < n; ++i) {
            int64_t row = reverse ? n - 1 - i : i, at = (c / inner * n + row) * inner + c % inner;
            exact[at] = sum += x[at];
            most += std::fabs(x[at]);
            bound[at] = static_cast<double>(i + 1) * sum_u * most * (1 + u) + u * std::fabs(sum);
          }
        }
        LibraryCall call = cumsum_call(outer, n, inner, reverse, type);
        checks.add({{call}}, [=] {
          INFO(name);
          check_within(run_text(call, {{x, type}, {Values(size), type}})[1], exact, bound, "out");
        });
      }
    }
  checks.run();
}

TEST_CASE("top_k: NaN first, ties by index") {
  struct Shape {
    int64_t rows, n, k;
    int sm_count = 132;
  };
  Checks checks;
  const Shape shapes[] = {{5, 8, 2},    {3, 1000, 32},   {1, 1, 1}, {2, 1000, 33},
                          {3, 1500, 7}, {2, 1500, 1500},
                          {5, 40, 40, 2}};  // more rows than blocks
  for (auto [rows, n, k, sm_count] : shapes)
    for (DType type : {f32, f64, bf16, f16, i64, i32}) {
      // Few distinct values, so that ties abound.
      Values x = small_integers(rows * n, 7, 50);
      for (size_t i = 0; i < x.size(); ++i) x[i] = i % 3 ? x[i] - 25 : x[i] * 3 - 70;
      if (is_float(type))
        for (size_t i = 0; i < x.size(); ++i) {
          if (i % 97 == 5) x[i] = i % 2 ? NAN : -NAN;
          if (i % 41 == 3) x[i] = i % 2 ? 0.0 : -0.0;
          if (i % 113 == 7) x[i] = (i % 2 ? 1 : -1) * std::numeric_limits<double>::infinity();
        }
      LibraryCall call = top_k_call(rows, n, k, type);
      cuda::CallTarget target;
      target.sm_count = sm_count;
      checks.add({{call, target}}, [=, rows = rows, n = n, k = k] {
        INFO("rows " << rows << " n " << n << " k " << k << " " << std::string(name_of(type)));
        std::vector<Operand> in = {
            {x, type}, {Values(rows * k), type}, {Values(rows * k, -1), i32}};
        std::vector<Values> got = run_text(call, in, nullptr, false, target);
        std::vector<Values> expected = run_cpu(call, in);
        check_equal(got[1], expected[1], "values");
        check_equal(got[2], expected[2], "indices");
      });
    }
  checks.run();
}

TEST_CASE("copy and fill, at any offset; guard") {
  for (int64_t bytes : {1, 15, 16, 1000, 70001})
    for (int64_t offset : {0, 1, 4, 8}) {
      Values x = small_integers(bytes, 8, 256), y(bytes, 9);
      LibraryCall copy = CallBuilder("copy", 2).attr("bytes", bytes).offset(1, offset);
      check_equal(run_text(copy, {{x, u8}, {y, u8}})[1], x, "copy");
      LibraryCall fill = CallBuilder("fill", 1).attr("bytes", bytes).offset(0, offset);
      check_equal(run_text(fill, {{x, u8}})[0], Values(bytes), "fill");
    }
  for (DType type : {f32, f64})
    for (double x : {1.0, -0.0, 1e38, double{NAN}, HUGE_VAL, -HUGE_VAL}) {
      cuda::Status status;
      run_text(CallBuilder("guard", 1).attr("type", name_of(type)), {{{x}, type}}, &status);
      CHECK((status.skip != 0) == !std::isfinite(x));
    }
}

TEST_CASE("a stopped commit step writes nothing") {
  cuda::Status status;
  auto kept = [&](const LibraryCall& call, const std::vector<Operand>& in, size_t written) {
    check_equal(run_text(call, in, &status, true)[written], in[written].values, call.name);
  };
  Values x = random_values(6000, 1), index = indices(3000, 2, 5);
  kept(CallBuilder("copy", 2).attr("bytes", 100), {{Values(100), u8}, {Values(100, 3), u8}}, 1);
  kept(CallBuilder("fill", 1).attr("bytes", 100), {{Values(100, 3), u8}}, 0);
  kept(gather_call(5, 3000, 1, f32, i32), {{{1, 2, 3, 4, 5}, f32}, {index, i32}, {x, f32}}, 2);
  for (int64_t count : {100, 3000})
    kept(scatter_call(5, count, 1, f32, i32, "add"),
         {{{1, 2, 3, 4, 5}, f32}, {index, i32}, {x, f32}}, 0);
  kept(cumsum_call(1, 6000, 1, false, f32), {{x, f32}, {x, f32}}, 1);
  kept(top_k_call(1, 6000, 2, f32), {{x, f32}, {{1, 2}, f32}, {{3, 4}, i32}}, 2);
}

TEST_CASE("draw_normal has the bits of fill_normal, whatever the size") {
  const int64_t key = 0x123456789abcdef, stream = -77;
  for (int64_t count : {0, 1, 3, 4, 1021, 9000}) {
    INFO("count " << count);
    const double deviation = 0.3f;
    Values want(count);
    std::vector<float> host(count);
    fill_normal(host.data(), 0, count, 0.3f, key, static_cast<uint64_t>(stream));
    for (int64_t i = 0; i < count; ++i) want[i] = host[i];
    LibraryCall call = CallBuilder("draw_normal", 1)
                           .attr("count", count)
                           .attr("deviation", deviation)
                           .attr("key", key)
                           .attr("stream", stream);
    check_equal(run_text(call, {{Values(count, 7), f32}})[0], want, "x");
  }
}
