// Blocks of quantised elements -> f32, one function a format, and the table of all formats.
// A scale is an f16 (of several sub-blocks: times a small integer each), products and sums are
// rounded to f32 one by one and in the order of the formulas, as other readers of the format do.
#include <bit>
#include <cmath>
#include <cstring>

#include "fusec/base/dtype.h"
#include "gguf_parts.h"

namespace fusec::io {
namespace {

using Byte = unsigned char;

template <class T>
T load(const Byte* at) {  // little-endian, as are the machines this runs on
  static_assert(std::endian::native == std::endian::little);
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float half(const Byte* at) { return float_from_f16(load<uint16_t>(at)); }
int8_t signed_byte(Byte byte) { return static_cast<int8_t>(byte); }

// Decode is `void(const Byte* block, float* out)`.
template <int64_t kElements, int64_t kBytes, void (*Decode)(const Byte*, float*)>
void each(const Byte* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) Decode(blocks + i * kBytes, out + i * kElements);
}

void decode_f32(const Byte* in, float* out) { *out = load<float>(in); }
void decode_f64(const Byte* in, float* out) { *out = static_cast<float>(load<double>(in)); }
void decode_f16(const Byte* in, float* out) { *out = half(in); }
void decode_bf16(const Byte* in, float* out) { *out = float_from_bf16(load<uint16_t>(in)); }

// Blocks of 32. A byte holds element j in its low and j + 16 in its high bits.
void decode_q4_0(const Byte* in, float* out) {
  const float d = half(in);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((in[2 + j] & 15) - 8);
    out[j + 16] = d * static_cast<float>((in[2 + j] >> 4) - 8);
  }
}

void decode_q4_1(const Byte* in, float* out) {
  const float d = half(in), m = half(in + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(in[4 + j] & 15) + m;
    out[j + 16] = d * static_cast<float>(in[4 + j] >> 4) + m;
  }
}

// The fifth bit of element j is bit j of a word of 32.
int fifth_bit(uint32_t word, int j) { return static_cast<int>(word >> j & 1) << 4; }

void decode_q5_0(const Byte* in, float* out) {
  const float d = half(in);
  const auto high = load<uint32_t>(in + 2);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>(((in[6 + j] & 15) | fifth_bit(high, j)) - 16);
    out[j + 16] = d * static_cast<float>(((in[6 + j] >> 4) | fifth_bit(high, j + 16)) - 16);
  }
}

void decode_q5_1(const Byte* in, float* out) {
  const float d = half(in), m = half(in + 2);
  const auto high = load<uint32_t>(in + 4);
  for (int j = 0; j < 16; ++j) {
    out[j] = d * static_cast<float>((in[8 + j] & 15) | fifth_bit(high, j)) + m;
    out[j + 16] = d * static_cast<float>((in[8 + j] >> 4) | fifth_bit(high, j + 16)) + m;
  }
}

void decode_q8_0(const Byte* in, float* out) {
  const float d = half(in);
  for (int j = 0; j < 32; ++j) out[j] = d * static_cast<float>(signed_byte(in[2 + j]));
}

// One exponent of 8 bits and elements of sign, two bits of exponent and one of mantissa (OCP MX).
void decode_mxfp4(const Byte* in, float* out) {
  static constexpr float kDoubled[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const int exponent = in[0] - 128;
  for (int j = 0; j < 16; ++j) {
    out[j] = std::ldexp(kDoubled[in[1 + j] & 15], exponent);
    out[j + 16] = std::ldexp(kDoubled[in[1 + j] >> 4], exponent);
  }
}

// Blocks of 256. Sub-blocks of 16 have 4 bits of scale and 4 of offset each; a byte holds elements
// j, j + 32, j + 64 and j + 96 of its half.
void decode_q2_k(const Byte* in, float* out) {
  const float d = half(in + 80), dmin = half(in + 82);
  for (int sub = 0; sub < 16; ++sub) {
    const float scale = d * static_cast<float>(in[sub] & 15);
    const float offset = dmin * static_cast<float>(in[sub] >> 4);
    const Byte* q = in + 16 + 32 * (sub / 8) + 16 * (sub % 2);
    const int shift = 2 * (sub / 2 % 4);
    for (int j = 0; j < 16; ++j) *out++ = scale * static_cast<float>(q[j] >> shift & 3) - offset;
  }
}

// As q2_k, with a third bit in a mask of its own and signed scales of 6 bits, the high two of which
// lie in the last 4 of their 12 bytes.
void decode_q3_k(const Byte* in, float* out) {
  const Byte *mask = in, *scales = in + 96;
  const float d = half(in + 108);
  for (int sub = 0; sub < 16; ++sub) {
    const int low = sub < 8 ? scales[sub] & 15 : scales[sub - 8] >> 4;
    const int high = scales[8 + sub % 4] >> (2 * (sub / 4)) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const Byte* q = in + 32 + 32 * (sub / 8) + 16 * (sub % 2);
    const int shift = 2 * (sub / 2 % 4), bit = sub / 2;
    for (int j = 0; j < 16; ++j) {
      const int third = mask[16 * (sub % 2) + j] >> bit & 1;
      *out++ = scale * static_cast<float>((q[j] >> shift & 3) - (third ? 0 : 4));
    }
  }
}

// q4_k and q5_k: sub-blocks of 32 with 6 bits of scale and 6 of offset, packed in 12 bytes: those
// of the first four in the low bits of bytes 0-3 and 4-7, those of the others in bytes 8-11 and the
// bits that were left.
struct ScaleAndOffset {
  float scale, offset;
};
ScaleAndOffset six_bits(const Byte* in, int sub) {
  const Byte* s = in + 4;
  int scale = s[sub % 4] & 63, offset = s[sub % 4 + 4] & 63;
  if (sub >= 4) {
    scale = (s[sub + 4] & 15) | s[sub - 4] >> 6 << 4;
    offset = s[sub + 4] >> 4 | s[sub] >> 6 << 4;
  }
  return {half(in) * static_cast<float>(scale), half(in + 2) * static_cast<float>(offset)};
}

void decode_q4_k(const Byte* in, float* out) {
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, offset] = six_bits(in, sub);
    const Byte* q = in + 16 + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int j = 0; j < 32; ++j) *out++ = scale * static_cast<float>(q[j] >> shift & 15) - offset;
  }
}

void decode_q5_k(const Byte* in, float* out) {
  const Byte* high = in + 16;
  for (int sub = 0; sub < 8; ++sub) {
    const auto [scale, offset] = six_bits(in, sub);
    const Byte* q = in + 48 + 32 * (sub / 2);
    const int shift = 4 * (sub % 2);
    for (int j = 0; j < 32; ++j) {
      const int value = (q[j] >> shift & 15) | (high[j] >> sub & 1) << 4;
      *out++ = scale * static_cast<float>(value) - offset;
    }
  }
}

// Sub-blocks of 16 with a signed byte of scale. In each half of 128, groups of 32: the low 4 bits
// of groups 0 and 2 share 32 bytes, so do those of 1 and 3, and the high two bits of all four.
void decode_q6_k(const Byte* in, float* out) {
  const Byte* scales = in + 192;
  const float d = half(in + 208);
  for (int group = 0; group < 8; ++group) {
    const Byte* low = in + 64 * (group / 4) + 32 * (group % 2);
    const Byte* high = in + 128 + 32 * (group / 4);
    const int low_shift = 4 * (group / 2 % 2), high_shift = 2 * (group % 4);
    for (int j = 0; j < 32; ++j) {
      const float scale = d * static_cast<float>(signed_byte(scales[2 * group + j / 16]));
      const int value = (low[j] >> low_shift & 15) | (high[j] >> high_shift & 3) << 4;
      *out++ = scale * static_cast<float>(value - 32);
    }
  }
}

// A row of a format that is read; of one that is not: {id, name, elements, bytes, nullptr}.
#define FUSEC_READ(id, name, elements, bytes) \
  { id, #name, elements, bytes, each<elements, bytes, decode_##name> }
constexpr GgufFormat kFormats[] = {
    FUSEC_READ(0, f32, 1, 4),          FUSEC_READ(1, f16, 1, 2),
    FUSEC_READ(30, bf16, 1, 2),        FUSEC_READ(28, f64, 1, 8),
    FUSEC_READ(2, q4_0, 32, 18),       FUSEC_READ(3, q4_1, 32, 20),
    FUSEC_READ(6, q5_0, 32, 22),       FUSEC_READ(7, q5_1, 32, 24),
    FUSEC_READ(8, q8_0, 32, 34),       FUSEC_READ(10, q2_k, 256, 84),
    FUSEC_READ(11, q3_k, 256, 110),    FUSEC_READ(12, q4_k, 256, 144),
    FUSEC_READ(13, q5_k, 256, 176),    FUSEC_READ(14, q6_k, 256, 210),
    FUSEC_READ(39, mxfp4, 32, 17),     {16, "iq2_xxs", 256, 66, nullptr},
    {17, "iq2_xs", 256, 74, nullptr},  {18, "iq3_xxs", 256, 98, nullptr},
    {19, "iq1_s", 256, 50, nullptr},   {20, "iq4_nl", 32, 18, nullptr},
    {21, "iq3_s", 256, 110, nullptr},  {22, "iq2_s", 256, 82, nullptr},
    {23, "iq4_xs", 256, 136, nullptr}, {24, "i8", 1, 1, nullptr},
    {25, "i16", 1, 2, nullptr},        {26, "i32", 1, 4, nullptr},
    {27, "i64", 1, 8, nullptr},        {29, "iq1_m", 256, 56, nullptr},
    {34, "tq1_0", 256, 54, nullptr},   {35, "tq2_0", 256, 66, nullptr},
    {40, "nvfp4", 64, 36, nullptr},
};
#undef FUSEC_READ

}  // namespace

const GgufFormat* gguf_format(uint32_t id) {
  for (const GgufFormat& format : kFormats)
    if (format.id == id) return &format;
  return nullptr;
}

std::string readable_gguf_formats() {
  std::string names;
  for (const GgufFormat& format : kFormats)
    if (format.decode) names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

}  // namespace fusec::io
