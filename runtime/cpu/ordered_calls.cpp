// cumsum and top_k: calls whose result depends on the order of elements along one axis. Every row
// (or column) is computed by one thread from one end to the other, so its bits are fixed.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "library.h"

namespace fusec::cpu {
namespace {

constexpr int64_t kElementsPerTask = 32 << 10;
constexpr int64_t kColumns = 64;  // of cumsum along an outer axis, summed side by side

// How an element type is read, summed and written.
template <class T>
struct Plain {
  using Storage = T;
  using Sum = T;
  static Sum load(Storage x) { return x; }
  static Storage store(Sum x) { return x; }
};
// Integers wrap, so they are summed without a sign.
template <class T>
struct Wrapping {
  using Storage = T;
  using Sum = std::make_unsigned_t<T>;
  static Sum load(Storage x) { return static_cast<Sum>(x); }
  static Storage store(Sum x) { return static_cast<Storage>(x); }
};
struct Bf16 {
  using Storage = uint16_t;
  using Sum = float;
  static Sum load(Storage x) { return float_from_bf16(x); }
  static Storage store(Sum x) { return bf16_from_float(x); }
};
struct F16 {
  using Storage = uint16_t;
  using Sum = float;
  static Sum load(Storage x) { return float_from_f16(x); }
  static Storage store(Sum x) { return f16_from_float(x); }
};

// Calls f with one of the above; an internal Error for types that infer_types refuses.
template <class F>
Action dispatch(const BoundCall& c, F f) {
  switch (c.type("type")) {
    case DType::f32: return f(Plain<float>{});
    case DType::f64: return f(Plain<double>{});
    case DType::i32: return f(Wrapping<int32_t>{});
    case DType::i64: return f(Wrapping<int64_t>{});
    case DType::bf16: return f(Bf16{});
    case DType::f16: return f(F16{});
    case DType::u8:
    case DType::b8:
    case DType::f8e4m3: break;
  }
  fail_internal(c.call.name + " does not run on " + c.call.text("type"));
}

struct Scan {
  int64_t outer, n, inner;
  bool reverse;
};

// Columns [lo, hi) of slice `o`, row by row.
template <class Type>
void scan_columns(const Scan& s, const typename Type::Storage* in, typename Type::Storage* out,
                  int64_t o, int64_t lo, int64_t hi) {
  typename Type::Sum sums[kColumns] = {};
  for (int64_t step = 0; step < s.n; ++step) {
    int64_t row = s.reverse ? s.n - 1 - step : step, at = (o * s.n + row) * s.inner;
    for (int64_t c = lo; c < hi; ++c) {
      sums[c - lo] += Type::load(in[at + c]);
      out[at + c] = Type::store(sums[c - lo]);
    }
  }
}

template <class Type>
Action cumsum_of(const Scan& s, const BoundCall& c) {
  int64_t blocks = (s.inner + kColumns - 1) / kColumns;
  int64_t work = std::max<int64_t>(1, s.n * std::min(s.inner, kColumns));
  int64_t grain = std::max<int64_t>(1, kElementsPerTask / work);
  auto* in = c.arg<const typename Type::Storage>(0);
  auto* out = c.arg<typename Type::Storage>(1);
  return [=, &pool = c.pool] {
    pool.parallel(s.outer * blocks, grain, [&](int64_t first, int64_t last) {
      for (int64_t task = first; task < last; ++task) {
        int64_t lo = task % blocks * kColumns;
        scan_columns<Type>(s, in, out, task / blocks, lo, std::min(s.inner, lo + kColumns));
      }
    });
  };
}

struct Selection {
  int64_t rows, n, k;
};

// As numbers that compare: integers with their sign.
template <class Type>
auto value_of(typename Type::Storage x) {
  if constexpr (std::is_integral_v<typename Type::Sum>)
    return x;
  else
    return Type::load(x);
}

template <class Type>
Action top_k_of(const Selection& s, const BoundCall& c) {
  using Storage = typename Type::Storage;
  auto* in = c.arg<const Storage>(0);
  auto* values = c.arg<Storage>(1);
  auto* places = c.arg<int32_t>(2);
  int64_t grain = std::max<int64_t>(1, kElementsPerTask / std::max<int64_t>(1, s.n));
  return [=, &pool = c.pool] {
    pool.parallel(s.rows, grain, [&](int64_t lo, int64_t hi) {
      std::vector<int32_t> order(s.n);
      for (int64_t row = lo; row < hi; ++row) {
        const Storage* x = in + row * s.n;
        std::iota(order.begin(), order.end(), 0);
        auto before = [&](int32_t a, int32_t b) {
          auto u = value_of<Type>(x[a]), v = value_of<Type>(x[b]);
          bool nan_u = u != u, nan_v = v != v;
          if (nan_u || nan_v) return nan_u == nan_v ? a < b : nan_u;
          return u != v ? u > v : a < b;
        };
        std::partial_sort(order.begin(), order.begin() + s.k, order.end(), before);
        for (int64_t i = 0; i < s.k; ++i) {
          values[row * s.k + i] = x[order[i]];
          places[row * s.k + i] = order[i];
        }
      }
    });
  };
}

}  // namespace

Action prepare_cumsum(const BoundCall& c) {
  c.require(c.args.size() == 2, "takes (in, out)");
  Scan s{c.call.integer("outer"), c.call.integer("n"), c.call.integer("inner"),
         c.call.integer("reverse") != 0};
  c.require(s.outer >= 0 && s.n >= 0 && s.inner >= 0, "sizes must not be negative");
  return dispatch(c, [&](auto type) { return cumsum_of<decltype(type)>(s, c); });
}

Action prepare_top_k(const BoundCall& c) {
  c.require(c.args.size() == 3, "takes (in, values, indices)");
  Selection s{c.call.integer("rows"), c.call.integer("n"), c.call.integer("k")};
  c.require(s.rows >= 0 && s.k >= 0 && s.k <= s.n, "expected 0 <= k <= n");
  return dispatch(c, [&](auto type) { return top_k_of<decltype(type)>(s, c); });
}

}  // namespace fusec::cpu
