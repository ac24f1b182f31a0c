// The one tolerance model: how far a result that keeps the numerics contract may lie from the exact
// one. Nothing is a tuned constant of a test; every allowance follows from the types, the
// operations and the numbers that actually met, so the same model serves --validate, `fusec check`,
// the random graphs and the hand-written tests.
//
// A value is carried as (v, e): v exact from the operands' own v, e >= |v' - v| for every v' that a
// contract-keeping device may hold (first-order forward error analysis: Higham, "Accuracy and
// Stability of Numerical Algorithms", 2nd ed., ch. 2-4). Inputs that both sides share have e = 0.
//
//   one rounding      u(f32) = 2^-24; bf16 and f16 are stored types, arithmetic on them is f32.
//                     f8e4m3 is only stored; beyond 448 it saturates, which is monotone too.
//                     u(f64) counts twice, since the reference rounds in double too.
//   + - * /           e = (operand errors carried by the exact derivative bound) + u |result|.
//                     Cancellation needs no extra rule: e is absolute, so the sum of two large
//                     numbers keeps the error of its terms however small the sum is.
//   exp log sin ...   the same, with kTranscendentalUlps instead of half an ulp (codegen.h).
//   sum of n terms    sum(e_i) + reduction_growth(n) u sum(|v_i|): any order, any lanes.
//   dot product       sum(|a| e_b + |b| e_a + e_a e_b) + reduction_growth(k) u sum(|a b|)
//   storing           rounding is monotone: v' lies in [round(v - e), round(v + e)]. An exact value
//                     (e = 0) stays exact.
//   exactness         + - * on operands with e = 0 whose result is representable has e = 0, in
//                     every order and with fused multiply-add; so small integers and halves stay
//                     exact through any chain, and ties of max and comparisons are decided.
//   discontinuities   a comparison whose operands are closer than their errors has e = 1 (either
//                     answer is right); select then covers both branches, a cast to an integer
//                     every integer that the interval truncates to, a row picked by an undecided
//                     index nothing at all (e = inf). So ties never raise a false alarm.
//   outside range     division by an interval that holds 0, log and sqrt of one that leaves the
//                     domain, overflow, NaN: e = inf. Elements with e = inf are not compared; who
//                     compares counts them as excluded and reports their share.
//   underflow         results may be flushed: e is at least the smallest normal f32.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "fusec/base/dtype.h"
#include "fusec/base/philox.h"

namespace fusec::tolerance {

inline constexpr double kInf = std::numeric_limits<double>::infinity();
inline constexpr double kSmallestNormal = 0x1p-126;
inline constexpr double kLeastPower = 0x1.6a09e8p-126;  // 2^-125.5
// Error of exp, log, pow, sin, cos, tanh and erf in units of the last place (2u each).
inline constexpr double kTranscendentalUlps = 4;

// Relative error of one rounding of arithmetic on values stored as `t`; 0 for integers.
constexpr double unit_roundoff(DType t) {
  if (!is_float(t)) return 0;
  return t == DType::f64 ? 0x1p-52 : 0x1p-24;
}

// Relative error of one rounding to storage.
constexpr double storage_roundoff(DType t) {
  switch (t) {
    case DType::bf16: return 0x1p-8;
    case DType::f16: return 0x1p-11;
    case DType::f8e4m3: return 0x1p-4;
    default: return unit_roundoff(t);
  }
}

// What one rounding to storage may lose of a number however small: half the distance of the least
// numbers of f16 and f8e4m3. The other types reach kSmallestNormal.
constexpr double storage_underflow(DType t) {
  return t == DType::f16 ? 0x1p-25 : t == DType::f8e4m3 ? 0x1p-10 : kSmallestNormal;
}

// Roundings of a sum of n terms that may add up. n bounds every order of addition; for long sums
// 8 sqrt(n) holds with a probability of failure below 2 n e^-32 (Higham and Mary, "A New Approach
// to Probabilistic Rounding Error Analysis", 2019), and every device sums long ranges in lanes and
// blocks, which divides the number of roundings of one term again.
inline double reduction_growth(double n) {
  return n <= 64 ? std::max(0.0, n) : std::min(n, 8 * std::sqrt(n));
}

// A number with its error, for apply_formula (formula.h). u is the rounding of the type that the
// arithmetic runs in; 0 for integers and truth values, negative for literals, which take the type
// of the other operand.
struct Bounded {
  double v = 0, e = 0, u = -1;
  Bounded() = default;
  Bounded(double literal) : v(literal) {}  // NOLINT: the table's literals convert
  Bounded(double value, double error, double unit) : v(value), e(error), u(unit) {}
};

namespace detail {

inline bool is_f32(double u) { return u == unit_roundoff(DType::f32); }

// A literal in the arithmetic of u: rounded once to that type.
inline Bounded typed(Bounded a, double u) {
  if (a.u >= 0) return a;
  double err = is_f32(u) ? std::fabs(a.v - static_cast<double>(static_cast<float>(a.v))) : 0;
  return {a.v, err, u};
}

inline double unit(const Bounded& a, const Bounded& b) { return std::max(a.u, b.u); }

inline bool representable(double v, double u) {
  return is_f32(u) ? static_cast<double>(static_cast<float>(v)) == v : std::fabs(v) <= 0x1p53;
}

// (v, carried error) after one operation of `roundings` roundings. `exact`: v is what an exact
// operation on exact operands gives.
inline Bounded rounded(double v, double carried, double u, double roundings, bool exact) {
  if (std::isnan(v) || std::isinf(v) || std::isnan(carried)) return {v, kInf, u};
  if (u <= 0) return {v, std::fabs(v) > 0x1p53 ? kInf : carried, u};  // integers: no rounding
  if (exact && carried == 0 && representable(v, u)) return {v, 0, u};
  double e = carried + roundings * u * (std::fabs(v) + carried) + kSmallestNormal;
  // beyond f32's range: one side may overflow
  if (is_f32(u) && std::fabs(v) + e > 3e38) e = kInf;
  return {v, e, u};
}

inline Bounded transcendental(double v, double carried, double u, double scale) {
  if (std::isnan(v) || std::isinf(v) || std::isnan(carried)) return {v, kInf, u};
  return {v, carried + 2 * kTranscendentalUlps * u * scale + kSmallestNormal, u};
}

// A result of exp or exp2. The CPU's are 0 from 2^-125.5 down: half of the power of two that they
// are scaled by is no normal number there.
inline Bounded power(double v, double carried, double u, double scale) {
  Bounded b = transcendental(v, carried, u, scale);
  if (v < 0x1p-125) b.e += kLeastPower;
  return b;
}

// A truth value that is certain, or may be either.
inline Bounded truth(bool v, bool certain) { return {v ? 1.0 : 0.0, certain ? 0.0 : 1.0, 0}; }

inline bool decided(const Bounded& a, const Bounded& b) {
  return std::fabs(a.v - b.v) > a.e + b.e || (a.e == 0 && b.e == 0);
}

}  // namespace detail

inline Bounded operator+(Bounded a, Bounded b) {
  double u = detail::unit(a, b), v;
  a = detail::typed(a, u), b = detail::typed(b, u);
  v = a.v + b.v;
  bool exact = v - a.v == b.v && v - b.v == a.v;
  return detail::rounded(v, a.e + b.e, u, 1, exact);
}
inline Bounded operator-(Bounded a) { return {-a.v, a.e, a.u}; }
inline Bounded operator-(Bounded a, Bounded b) { return a + -b; }
inline Bounded operator*(Bounded a, Bounded b) {
  double u = detail::unit(a, b);
  a = detail::typed(a, u), b = detail::typed(b, u);
  double v = a.v * b.v;
  // 0 times anything finite is 0; 0 * inf would be NaN
  auto carry = [](double x, double e) { return x == 0 || e == 0 ? 0.0 : std::fabs(x) * e; };
  return detail::rounded(v, carry(a.v, b.e) + carry(b.v, a.e) + carry(a.e, b.e), u, 1,
                         std::fma(a.v, b.v, -v) == 0);
}
inline Bounded operator/(Bounded a, Bounded b) {
  double u = detail::unit(a, b);
  a = detail::typed(a, u), b = detail::typed(b, u);
  double v = a.v / b.v;
  if (std::fabs(b.v) <= b.e) return {v, kInf, u};
  if (u <= 0) {  // integers truncate towards zero; a hull of one on each side when operands vary
    v = std::trunc(v);
    if (a.e == 0 && b.e == 0) return detail::rounded(v, 0, u, 0, true);
    return detail::rounded(v, (a.e + std::fabs(v) * b.e) / (std::fabs(b.v) - b.e) + 2, u, 0, false);
  }
  return detail::rounded(v, (a.e + std::fabs(v) * b.e) / (std::fabs(b.v) - b.e), u, 2,
                         std::fma(v, b.v, -a.v) == 0);
}

#define FUSEC_BOUNDED_COMPARE(op)                            \
  inline Bounded operator op(Bounded a, Bounded b) {         \
    double u = detail::unit(a, b);                           \
    a = detail::typed(a, u), b = detail::typed(b, u);        \
    return detail::truth(a.v op b.v, detail::decided(a, b)); \
  }
FUSEC_BOUNDED_COMPARE(==)
FUSEC_BOUNDED_COMPARE(!=)
FUSEC_BOUNDED_COMPARE(<)
FUSEC_BOUNDED_COMPARE(<=)
FUSEC_BOUNDED_COMPARE(>)
FUSEC_BOUNDED_COMPARE(>=)
#undef FUSEC_BOUNDED_COMPARE

inline Bounded exp(Bounded a) {
  double v = std::exp(a.v);
  if (std::fabs(a.v) + a.e > 88) return {v, a.v < 0 && a.e < 1 ? kLeastPower : kInf, a.u};
  return detail::power(v, v * std::expm1(a.e), a.u, v * std::exp(a.e));
}
inline Bounded log(Bounded a) {
  double v = std::log(a.v);
  if (a.v - a.e <= kSmallestNormal) return {v, kInf, a.u};
  return detail::transcendental(v, -std::log1p(-a.e / a.v), a.u, std::max(std::fabs(v), 0x1p-2));
}
inline Bounded exp2(Bounded a) {
  double v = std::exp2(a.v);
  if (std::fabs(a.v) + a.e > 126) return {v, a.v < 0 && a.e < 1 ? kLeastPower : kInf, a.u};
  return detail::power(v, v * (std::exp2(a.e) - 1), a.u, v * std::exp2(a.e));
}
inline Bounded log1p(Bounded a) {
  double v = std::log1p(a.v), inside = 1 + a.v;
  if (inside - a.e <= 0x1p-60) return {v, kInf, a.u};
  return detail::transcendental(v, -std::log1p(-a.e / inside), a.u, std::fabs(v));
}
// a^b = e^(b log a): an error of the exponent is relative to the result. A device may compute it in
// that form, rounding an exponent of size |b log a|.
inline Bounded pow(Bounded a, Bounded b) {
  double u = detail::unit(a, b);
  a = detail::typed(a, u), b = detail::typed(b, u);
  double v = std::pow(a.v, b.v);
  bool exact = a.e == 0 && b.e == 0;
  if (!std::isfinite(v) || (!exact && a.v - a.e <= 0)) return {v, kInf, u};
  double log_a = a.v == 0 ? 0 : std::log(std::fabs(a.v));
  double low = std::log(std::fabs(a.v) - a.e), high = std::log(std::fabs(a.v) + a.e);
  double spread = exact ? 0 : (std::fabs(b.v) + b.e) * (high - low) + b.e * std::fabs(log_a);
  return detail::transcendental(v, std::fabs(v) * std::expm1(spread), u,
                                std::fabs(v) * std::exp(spread) * (1 + std::fabs(b.v * log_a)));
}
inline Bounded floor(Bounded a) {
  double v = std::floor(a.v);
  double e = std::max(std::floor(a.v + a.e) - v, v - std::floor(a.v - a.e));
  return {v, std::isnan(v) || std::isnan(e) ? kInf : e, a.u};
}
inline Bounded round(Bounded a) {
  double v = std::nearbyint(a.v);
  double e = std::max(std::nearbyint(a.v + a.e) - v, v - std::nearbyint(a.v - a.e));
  return {v, std::isnan(v) || std::isnan(e) ? kInf : e, a.u};
}
// Random bits of exact integers; of others, anything.
inline Bounded philox(Bounded a, Bounded b) {
  bool exact = a.e == 0 && b.e == 0;
  if (!exact || std::fabs(a.v) > 0x1p53 || std::fabs(b.v) > 0x1p53) return {0, kInf, 0};
  int64_t word = philox_word(static_cast<int64_t>(a.v), static_cast<int64_t>(b.v));
  return {static_cast<double>(word), 0, 0};
}
inline Bounded sin(Bounded a) {
  return detail::transcendental(std::sin(a.v), std::min(a.e, 2.0), a.u,
                                std::max(1.0, std::fabs(a.v) + a.e));
}
inline Bounded cos(Bounded a) {
  return detail::transcendental(std::cos(a.v), std::min(a.e, 2.0), a.u,
                                std::max(1.0, std::fabs(a.v) + a.e));
}
inline Bounded tanh(Bounded a) {
  double v = std::tanh(a.v), low = std::max(0.0, std::fabs(a.v) - a.e), slope = std::tanh(low);
  return detail::transcendental(v, std::min(a.e * (1 - slope * slope), 2.0), a.u, std::fabs(v));
}
inline Bounded erf(Bounded a) {
  double low = std::max(0.0, std::fabs(a.v) - a.e);
  double carried = std::min(a.e * 1.1283791670955126 * std::exp(-low * low), 2.0);
  double v = std::erf(a.v);
  return detail::transcendental(v, carried, a.u, std::fabs(v));
}
inline Bounded sqrt(Bounded a) {
  double v = std::sqrt(a.v);
  if (!(a.v - a.e >= 0)) return {v, kInf, a.u};
  return detail::rounded(v, v - std::sqrt(a.v - a.e), a.u, 2, std::fma(v, v, -a.v) == 0);
}
inline Bounded abs(Bounded a) { return {std::fabs(a.v), a.e, a.u}; }
inline Bounded max(Bounded a, Bounded b) {
  double u = detail::unit(a, b);
  a = detail::typed(a, u), b = detail::typed(b, u);
  if (std::isnan(a.v) || std::isnan(b.v)) return {std::isnan(a.v) ? a.v : b.v, kInf, u};
  if (detail::decided(a, b)) return a.v > b.v ? a : b;
  return {std::max(a.v, b.v), std::max(a.e, b.e), u};
}
inline Bounded min(Bounded a, Bounded b) { return -max(-a, -b); }
inline Bounded select(Bounded c, Bounded a, Bounded b) {
  double u = detail::unit(a, b);
  a = detail::typed(a, u), b = detail::typed(b, u);
  const Bounded &taken = c.v != 0 ? a : b, &other = c.v != 0 ? b : a;
  if (c.e == 0) return taken;
  return {taken.v, std::max(taken.e, std::fabs(a.v - b.v) + other.e), u};
}

}  // namespace fusec::tolerance
