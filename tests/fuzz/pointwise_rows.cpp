// Rows of the op table from pointwise.def: a new row there is generated here with no edit. What an
// op makes of operands from its lo..hi is sampled from its own formula; an op that stays finite and
// small on all of [-2, 2] is fed from there too, as relu and abs should be.
#include <algorithm>
#include <cmath>

#include "builder.h"
#include "fusec/ops/formula.h"

namespace fusec::fuzz {
namespace {

struct Range {
  double lo = 0, hi = 0;
  bool sane() const { return lo >= -100 && hi <= 100; }
};

// Values of `op` for operands in [lo, hi], on a grid.
Range sampled(Pointwise op, int arity, double lo, double hi) {
  Range out{1e300, -1e300};
  constexpr int n = 17;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < (arity > 1 ? n : 1); ++j) {
      formula::Real args[3] = {lo + (hi - lo) * i / (n - 1), lo + (hi - lo) * j / (n - 1), lo};
      double y = apply_formula(op, args).v;
      if (!std::isfinite(y)) return {-1e300, 1e300};
      out.lo = std::min(out.lo, y), out.hi = std::max(out.hi, y);
    }
  double margin = 0.1 * (out.hi - out.lo) + 1e-3;
  return {out.lo - margin, out.hi + margin};
}

enum class Kind { plain, compare, choose };

OpRow row(Pointwise op, int arity, Kind kind, double lo, double hi) {
  Range narrow = sampled(op, arity, lo, hi), wide = sampled(op, arity, -2, 2);
  auto make = [=](Builder& b) -> std::optional<Item> {
    bool integer = arity == 2 && b.dice.chance(6);
    Item x = integer ? b.any_integer() : b.any_float();
    if (x.t.dtype() == b8) return {};
    bool outside = wide.sane() && b.dice.chance(2);
    double from = outside ? -2 : lo, to = outside ? 2 : hi;
    if (kind == Kind::choose) {
      Tensor a = b.fit(x), c = b.fit(b.partner({a}));
      Tensor condition = b.dice.chance(2) ? a > c : a == c;
      if (b.dice.chance(3)) condition = b.input(a.shape(), b8);
      return Item{select(condition, a, c)};
    }
    if (integer) {
      // Divisors stay away from 0, where the result is unspecified; the rest wraps alike.
      Item y = b.partner(x);
      double low = lo > 0 ? 1 : x.t.dtype() == u8 ? 0 : -1000;
      Tensor p = b.fit(x, x.t.dtype() == u8 ? 0 : -1000, x.t.dtype() == u8 ? 15 : 1000);
      Tensor q = b.fit(y, low, x.t.dtype() == u8 ? 15 : 1000);
      Tensor z = pointwise(op, {p, q}, SourceLoc());
      if (z.dtype() == b8) return Item{z, 0, 1};
      return Item{z, -1e7, 1e7};
    }
    Tensor a = b.fit(x, from, to);
    std::vector<Tensor> operands = {a};
    if (arity == 2) operands.push_back(b.fit(b.partner({a, from, to}), from, to));
    if (arity == 2 && b.dice.chance(4)) std::swap(operands[0], operands[1]);
    Tensor y = pointwise(op, operands, SourceLoc(std::source_location::current()));
    if (kind == Kind::compare) return Item{y, 0, 1};
    return Item{y, outside ? wide.lo : narrow.lo, outside ? wide.hi : narrow.hi};
  };
  return {std::string(name_of(op)), 4, make};
}

// i64 to i64, all bits.
OpRow bits(Pointwise op) {
  auto make = [=](Builder& b) -> std::optional<Item> {
    Tensor x = b.any_integer().t;
    if (x.dtype() == b8) return {};
    Tensor y = pointwise(op, {cast(x, i64), b.graph.constant(7, {}, i64)}, SourceLoc());
    return Item{y, 0, 0x1p32};
  };
  return {std::string(name_of(op)), 3, make};
}

}  // namespace

std::vector<OpRow> pointwise_rows() {
  return {
// clang-format off
#define FUSEC_UNARY(name, doc, value, gx, cost, lo, hi) row(Pointwise::name, 1, Kind::plain, lo, hi),
#define FUSEC_BINARY(name, doc, value, ga, gb, cost, lo, hi) row(Pointwise::name, 2, Kind::plain, lo, hi),
#define FUSEC_COMPARE(name, doc, value, cost, lo, hi) row(Pointwise::name, 2, Kind::compare, lo, hi),
#define FUSEC_BITS(name, doc, value, cost) bits(Pointwise::name),
#define FUSEC_TERNARY(name, doc, value, ga, gb, gc, cost, lo, hi) row(Pointwise::name, 3, Kind::choose, lo, hi),
// clang-format on
#include "fusec/ops/pointwise.def"
  };
}

}  // namespace fusec::fuzz
