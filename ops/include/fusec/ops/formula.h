// Instantiates the value column of pointwise.def: one formula, many meanings. With Real (below) it
// is arithmetic on doubles, for the oracle; with a recording type it appends scalar primitives to a
// kernel.
//
// A type S must be a class that offers, as friends or in its own namespace (argument-dependent
// lookup finds them there, never the Tensor functions of the same names):
//   implicit construction from double (the literals of the table);
//   + - * / and unary -, two operands of S, where either may come from a double;
//   == != < <= > >= returning S (a truth value);
//   exp, exp2, log, log1p, sin, cos, tanh, erf, sqrt, abs, floor, round (S), max, min, pow, philox
//   (S, S), select (S, S, S).
// Comparisons never return bool and no formula branches, so a recording type can record them.
#pragma once

#include <cmath>
#include <type_traits>

#include "fusec/base/philox.h"
#include "fusec/ops/graph.h"

namespace fusec {

// Value of `op` on args[0 .. arity), in the arithmetic of S.
template <class S>
S apply_formula(Pointwise op, const S* args) {
  static_assert(std::is_class_v<S>, "wrap plain numbers, e.g. in formula::Real");
  switch (op) {
#define FUSEC_UNARY(name, doc, value, ...) \
  case Pointwise::name: {                  \
    const S& x = args[0];                  \
    return value;                          \
  }
#define FUSEC_BINARY(name, doc, value, ...)  \
  case Pointwise::name: {                    \
    const S &a = args[0], &b = args[1];      \
    return value;                            \
  }
#define FUSEC_COMPARE(name, doc, value, ...) FUSEC_BINARY(name, doc, value)
#define FUSEC_BITS(name, doc, value, ...) FUSEC_BINARY(name, doc, value)
#define FUSEC_TERNARY(name, doc, value, ...)               \
  case Pointwise::name: {                                  \
    const S &a = args[0], &b = args[1], &c = args[2];      \
    return value;                                          \
  }
#include "fusec/ops/pointwise.def"
  }
  return args[0];
}

namespace formula {

// A double with the operators above; a truth value is 1.0 or 0.0. min and max pass NaN on.
struct Real {
  double v = 0;
  Real() = default;
  Real(double value) : v(value) {}  // NOLINT: the table's literals convert

  friend Real operator+(Real a, Real b) { return a.v + b.v; }
  friend Real operator-(Real a, Real b) { return a.v - b.v; }
  friend Real operator*(Real a, Real b) { return a.v * b.v; }
  friend Real operator/(Real a, Real b) { return a.v / b.v; }
  friend Real operator-(Real a) { return -a.v; }
  friend Real operator==(Real a, Real b) { return a.v == b.v ? 1.0 : 0.0; }
  friend Real operator!=(Real a, Real b) { return a.v != b.v ? 1.0 : 0.0; }
  friend Real operator<(Real a, Real b) { return a.v < b.v ? 1.0 : 0.0; }
  friend Real operator<=(Real a, Real b) { return a.v <= b.v ? 1.0 : 0.0; }
  friend Real operator>(Real a, Real b) { return a.v > b.v ? 1.0 : 0.0; }
  friend Real operator>=(Real a, Real b) { return a.v >= b.v ? 1.0 : 0.0; }
  friend Real exp(Real a) { return std::exp(a.v); }
  friend Real exp2(Real a) { return std::exp2(a.v); }
  friend Real log(Real a) { return std::log(a.v); }
  friend Real log1p(Real a) { return std::log1p(a.v); }
  friend Real floor(Real a) { return std::floor(a.v); }
  friend Real round(Real a) { return std::nearbyint(a.v); }
  friend Real sin(Real a) { return std::sin(a.v); }
  friend Real cos(Real a) { return std::cos(a.v); }
  friend Real tanh(Real a) { return std::tanh(a.v); }
  friend Real erf(Real a) { return std::erf(a.v); }
  friend Real sqrt(Real a) { return std::sqrt(a.v); }
  friend Real abs(Real a) { return std::fabs(a.v); }
  friend Real max(Real a, Real b) { return a.v > b.v || std::isnan(a.v) ? a : b; }
  friend Real min(Real a, Real b) { return a.v < b.v || std::isnan(a.v) ? a : b; }
  friend Real pow(Real a, Real b) { return std::pow(a.v, b.v); }
  friend Real philox(Real a, Real b) {
    int64_t word = philox_word(static_cast<int64_t>(a.v), static_cast<int64_t>(b.v));
    return static_cast<double>(word);
  }
  friend Real select(Real a, Real b, Real c) { return a.v != 0 ? b : c; }
};

}  // namespace formula

}  // namespace fusec
