// Element types and the scalar conversions that every floor must agree on.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec {

// Storage types. b8 is one byte holding 0 or 1. f8e4m3 is a byte of sign, 4 bits of exponent and 3
// of mantissa (OCP E4M3FN: up to 448, no infinities, one NaN of either sign). Names are those of
// the IR: "f32", "bf16", "b8"...
enum class DType : uint8_t { f32, f64, bf16, f16, i64, i32, u8, b8, f8e4m3 };

inline constexpr DType f32 = DType::f32;
inline constexpr DType f64 = DType::f64;
inline constexpr DType bf16 = DType::bf16;
inline constexpr DType f16 = DType::f16;
inline constexpr DType i64 = DType::i64;
inline constexpr DType i32 = DType::i32;
inline constexpr DType u8 = DType::u8;
inline constexpr DType b8 = DType::b8;
inline constexpr DType f8e4m3 = DType::f8e4m3;

constexpr int64_t size_of(DType t) {
  switch (t) {
    case DType::f64:
    case DType::i64: return 8;
    case DType::f32:
    case DType::i32: return 4;
    case DType::bf16:
    case DType::f16: return 2;
    case DType::u8:
    case DType::b8:
    case DType::f8e4m3: return 1;
  }
  return 0;
}

// Types of float arithmetic. f8e4m3 is none: it is stored, moved and cast, never computed with.
constexpr bool is_float(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::bf16 || t == DType::f16;
}
// Whether values of `t` round what they cannot hold.
constexpr bool holds_floats(DType t) { return is_float(t) || t == DType::f8e4m3; }
constexpr bool is_integer(DType t) { return t == DType::i64 || t == DType::i32 || t == DType::u8; }

FUSEC_API std::string_view name_of(DType t);
// Empty when the name is not one of the nine.
FUSEC_API std::optional<DType> parse_dtype(std::string_view name);

// The type that loaded values of `t` are held in and computed with: f32 for floats narrower than
// that, else `t`.
constexpr DType compute_type(DType t) {
  return t == DType::bf16 || t == DType::f16 || t == DType::f8e4m3 ? DType::f32 : t;
}
// A float that is held as f32 and rounded when it is stored.
constexpr bool is_narrow_float(DType t) { return compute_type(t) != t; }

// Round to nearest even; NaN stays NaN.
inline uint16_t bf16_from_float(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16);
}
inline float float_from_bf16(uint16_t x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}
FUSEC_API uint16_t f16_from_float(float x);
FUSEC_API float float_from_f16(uint16_t x);
// Rounds to nearest even and saturates: beyond 448, infinities included, is +-448. NaN stays NaN.
FUSEC_API uint8_t f8e4m3_from_float(float x);
FUSEC_API float float_from_f8e4m3(uint8_t x);

// Reads / writes element `i` of an array of `t`, converting through double (integers exactly up
// to 2^53). For tests, the oracle and printing; not for hot loops.
FUSEC_API double load_as_double(const void* data, DType t, int64_t i);
FUSEC_API void store_from_double(void* data, DType t, int64_t i, double value);

}  // namespace fusec
