#include "fusec/base/dtype.h"

#include <cmath>
#include <cstring>
#include <iterator>

namespace fusec {
namespace {

constexpr std::string_view kNames[] = {"f32", "f64", "bf16", "f16",   "i64",
                                       "i32", "u8",  "b8",   "f8e4m3"};

template <class T>
T load(const void* data, int64_t i) {
  T v;
  std::memcpy(&v, static_cast<const char*>(data) + i * sizeof(T), sizeof(T));
  return v;
}

template <class T>
void store(void* data, int64_t i, T v) {
  std::memcpy(static_cast<char*>(data) + i * sizeof(T), &v, sizeof(T));
}

}  // namespace

std::string_view name_of(DType t) { return kNames[static_cast<int>(t)]; }

std::optional<DType> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (kNames[i] == name) return static_cast<DType>(i);
  return std::nullopt;
}

uint16_t f16_from_float(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  float a = std::fabs(x);
  if (std::isnan(x)) return sign | 0x7e00;
  if (a >= 65520.0f) return sign | 0x7c00;
  if (a < 0x1p-14f)  // subnormal: units of 2^-24, nearbyint rounds to even
    return sign | static_cast<uint16_t>(std::nearbyint(a * 0x1p24f));
  uint32_t mag = bits & 0x7fffffffu;
  mag += 0xfffu + ((mag >> 13) & 1);
  return sign | static_cast<uint16_t>((mag - (112u << 23)) >> 13);
}

float float_from_f16(uint16_t x) {
  uint32_t exponent = (x >> 10) & 31, mantissa = x & 1023;
  float a;
  if (exponent == 0)
    a = static_cast<float>(mantissa) * 0x1p-24f;
  else if (exponent == 31)
    a = mantissa ? NAN : INFINITY;
  else
    a = std::bit_cast<float>(((exponent + 112) << 23) | (mantissa << 13));
  return x & 0x8000 ? -a : a;
}

uint8_t f8e4m3_from_float(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x), mag = bits & 0x7fffffffu;
  auto sign = static_cast<uint8_t>(bits >> 24 & 0x80);
  if (mag > 0x7f800000u) return sign | 0x7f;
  float a = std::fmin(std::fabs(x), 448.0f);
  if (a < 0x1p-6f)  // subnormal: units of 2^-9, nearbyint rounds to even
    return sign | static_cast<uint8_t>(std::nearbyint(a * 0x1p9f));
  mag = std::bit_cast<uint32_t>(a);
  mag += 0x7ffffu + ((mag >> 20) & 1);
  return sign | static_cast<uint8_t>((mag >> 20) - (120u << 3));
}

float float_from_f8e4m3(uint8_t x) {
  uint32_t exponent = (x >> 3) & 15, mantissa = x & 7;
  float a;
  if (exponent == 0)
    a = static_cast<float>(mantissa) * 0x1p-9f;
  else if ((x & 0x7f) == 0x7f)
    a = NAN;
  else
    a = std::bit_cast<float>(((exponent + 120) << 23) | (mantissa << 20));
  return x & 0x80 ? -a : a;
}

double load_as_double(const void* data, DType t, int64_t i) {
  switch (t) {
    case DType::f32: return load<float>(data, i);
    case DType::f64: return load<double>(data, i);
    case DType::bf16: return float_from_bf16(load<uint16_t>(data, i));
    case DType::f16: return float_from_f16(load<uint16_t>(data, i));
    case DType::i64: return static_cast<double>(load<int64_t>(data, i));
    case DType::i32: return load<int32_t>(data, i);
    case DType::u8:
    case DType::b8: return load<uint8_t>(data, i);
    case DType::f8e4m3: return float_from_f8e4m3(load<uint8_t>(data, i));
  }
  return 0;
}

void store_from_double(void* data, DType t, int64_t i, double v) {
  switch (t) {
    case DType::f32: return store(data, i, static_cast<float>(v));
    case DType::f64: return store(data, i, v);
    case DType::bf16: return store(data, i, bf16_from_float(static_cast<float>(v)));
    case DType::f16: return store(data, i, f16_from_float(static_cast<float>(v)));
    case DType::i64: return store(data, i, static_cast<int64_t>(v));
    case DType::i32: return store(data, i, static_cast<int32_t>(v));
    case DType::u8: return store(data, i, static_cast<uint8_t>(v));
    case DType::b8: return store(data, i, static_cast<uint8_t>(v != 0));
    case DType::f8e4m3: return store(data, i, f8e4m3_from_float(static_cast<float>(v)));
  }
}

}  // namespace fusec
