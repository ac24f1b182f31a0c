// draw_normal: the numbers of fill_normal() (core/normal_fill.h), with its bits. Every sum and
// product is one instruction in that function's order: none is contracted. Not a step of plans:
// the program calls it for first values.
#include <algorithm>
#include <bit>

#include "calls.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int kThreads = 256, kBlocksAnSm = 8;

constexpr std::string_view kNormal = R"cuda(
DEV float mul(float a, float b) { return __fmul_rn(a, b); }
DEV float add(float a, float b) { return __fadd_rn(a, b); }
DEV float sub(float a, float b) { return __fsub_rn(a, b); }

// Philox4x32-10.
DEV uint4 philox(unsigned long long key, unsigned long long counter, unsigned long long stream) {
  unsigned k0 = (unsigned)key, k1 = (unsigned)(key >> 32);
  uint4 c = {(unsigned)counter, (unsigned)(counter >> 32), (unsigned)stream,
             (unsigned)(stream >> 32)};
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    unsigned long long p0 = 0xD2511F53ull * c.x, p1 = 0xCD9E8D57ull * c.z;
    c = {(unsigned)(p1 >> 32) ^ c.y ^ k0, (unsigned)p1, (unsigned)(p0 >> 32) ^ c.w ^ k1,
         (unsigned)p0};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

DEV float log_of(float u) {
  unsigned shifted = __float_as_uint(u) - 0x3F3504F3u;
  float e = (float)((int)shifted >> 23);
  float m = __uint_as_float((shifted & 0x7FFFFFu) + 0x3F3504F3u);
  float x = sub(m, 1), z = mul(x, x), p = 7.0376836292e-2f;
  p = sub(mul(p, x), 1.1514610310e-1f);
  p = add(mul(p, x), 1.1676998740e-1f);
  p = sub(mul(p, x), 1.2420140846e-1f);
  p = add(mul(p, x), 1.4249322787e-1f);
  p = sub(mul(p, x), 1.6668057665e-1f);
  p = add(mul(p, x), 2.0000714765e-1f);
  p = sub(mul(p, x), 2.4999993993e-1f);
  p = add(mul(p, x), 3.3333331174e-1f);
  float y = mul(mul(x, z), p);
  y = add(y, mul(e, -2.12194440e-4f));
  y = sub(y, mul(z, 0.5f));
  return add(add(x, y), mul(e, 0.693359375f));
}

DEV float2 normals(unsigned radius, unsigned angle, float deviation) {
  float u = mul((float)((int)(radius >> 8) + 1), 5.9604644775390625e-8f);
  float r = mul(deviation, __fsqrt_rn(mul(-2.0f, log_of(u))));
  unsigned quadrant = angle >> 30;
  float within = sub(mul((float)(int)((angle & 0x3FFFFFFFu) >> 6), 5.9604644775390625e-8f), 0.5f);
  float t = mul(within, 1.57079632679f), z = mul(t, t);
  float sine = add(mul(-1.9515295891e-4f, z), 8.3321608736e-3f);
  sine = add(mul(mul(sub(mul(sine, z), 1.6666654611e-1f), z), t), t);
  float cosine = sub(mul(2.443315711809948e-5f, z), 1.388731625493765e-3f);
  cosine = mul(mul(add(mul(cosine, z), 4.166664568298827e-2f), z), z);
  cosine = add(sub(cosine, mul(0.5f, z)), 1.0f);
  bool swap = quadrant & 1;
  unsigned x = __float_as_uint(swap ? sine : cosine) ^ (((quadrant ^ (quadrant >> 1)) & 1) << 31);
  unsigned y = __float_as_uint(swap ? cosine : sine) ^ ((quadrant >> 1) << 31);
  return {mul(r, __uint_as_float(x)), mul(r, __uint_as_float(y))};
}

extern "C" __global__ void __launch_bounds__(256)
fusec_draw_normal(float* __restrict__ out, long long count, int deviation_bits,
                  unsigned long long key, unsigned long long stream) {
  float deviation = __int_as_float(deviation_bits);
  long long first = blockIdx.x * 256ll + threadIdx.x, stride = gridDim.x * 256ll;
  for (long long block = first; 4 * block < count; block += stride) {
    uint4 w = philox(key, (unsigned long long)block, stream);
    float2 a = normals(w.x, w.y, deviation), b = normals(w.z, w.w, deviation);
    float v[4] = {a.x, a.y, b.x, b.y};
    if (4 * block + 4 <= count) {
      *(float4*)(out + 4 * block) = {v[0], v[1], v[2], v[3]};
    } else {
      for (int i = 0; 4 * block + i < count; ++i) out[4 * block + i] = v[i];
    }
  }
}
)cuda";

}  // namespace

CallPlan plan_draw_normal(const LibraryCall& call, const CallTarget& target) {
  int64_t count = call.integer("count");
  require(call, count >= 0, "count must not be negative");
  require(call, common_unit(call, {0}, 16) == 16, "x must begin at a multiple of 16 bytes");
  if (count == 0) return {};
  CallLaunch l;
  l.text = Constants("call: draw_normal").text() + std::string(kPrelude) + std::string(kNormal);
  l.entry = "fusec_draw_normal";
  int64_t most = static_cast<int64_t>(target.sm_count) * kBlocksAnSm;
  int64_t blocks = ((count + 3) / 4 + kThreads - 1) / kThreads;
  l.grid[0] = static_cast<unsigned>(std::clamp<int64_t>(blocks, 1, most));
  l.block[0] = kThreads;
  const auto deviation = static_cast<float>(call.number("deviation"));
  l.args = {argument(0), i64_value(count), i32_value(std::bit_cast<int32_t>(deviation)),
            i64_value(call.integer("key")), i64_value(call.integer("stream"))};
  return {{l}, 0};
}

}  // namespace fusec::cuda
