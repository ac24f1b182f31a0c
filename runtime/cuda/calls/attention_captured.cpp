// Gradients of attention's sinks and of the tensors that its hook captured. The latter are sums of
// d score * (d score / d element) over all scores that read the element, in an order that no grid
// keeps; so they are sums of integers, which need none:
//
//   1. scores are computed again, and for each element its largest term is found (atomicMax)
//   2. and again, and each term, as a multiple of a power of two below that largest term, is added
//      to 64 bits (atomicAdd); there is room for as many terms as there are scores
//   3. the sums become f32
//
// A term is thus rounded to 2^-(61 - log2 of the number of terms) of the largest one, 2^-29 for
// 2^32 scores. In f32 arithmetic on the tiles of the general form: simple, and not fast.
#include <bit>
#include <sstream>

#include "attention.h"
#include "fusec/base/error.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr std::string_view kSinkGradient = R"cuda(
// A block a head: the sum over all rows of the sink's weight times (0 - delta), in a fixed order.
extern "C" __global__ void __launch_bounds__(128)
fusec_attention_dsinks(const float* sinks, const float* lse, const float* delta, float* d_sinks,
                       int items, int t, const unsigned* skip) {
  if (stopped(skip)) return;
  __shared__ float parts[128];
  int head = blockIdx.x;
  float total = 0;
  for (int item = 0; item < items; ++item)
    for (int i = threadIdx.x; i < t; i += 128) {
      long long row = ((long long)item * kH + head) * t + i;
      bool any = lse[row] > -__int_as_float(0x7f800000);
      total -= any ? expf(sinks[head] - lse[row]) * delta[row] : 0.0f;
    }
  parts[threadIdx.x] = total;
  __syncthreads();
  for (int d = 64; d > 0; d /= 2) {
    if (threadIdx.x < d) parts[threadIdx.x] += parts[threadIdx.x + d];
    __syncthreads();
  }
  if (threadIdx.x == 0) d_sinks[head] = parts[0];
}
)cuda";

constexpr std::string_view kCaptured = R"cuda(
// Terms that go to one element after the other: those of a thread to the same are joined first.
struct Largest {
  unsigned* most;
  long long at = -1;
  unsigned value = 0;
  DEV void add(long long element, float term) {
    if (element != at) flush(), at = element, value = 0;
    unsigned bits = __float_as_uint(fabsf(term));
    value = bits > value ? bits : value;
  }
  DEV void flush() {
    if (value) atomicMax(most + at, value);
  }
};
struct Total {
  const unsigned* most;
  unsigned long long* sums;
  long long at = -1, value = 0;
  double unit = 0;  // terms are multiples of 1 / unit
  DEV void add(long long element, float term) {
    if (element != at) {
      flush(), at = element, value = 0;
      unit = __longlong_as_double((long long)(1023 + kBits - 1 - exponent(most[at])) << 52);
    }
    if (most[at] < 0x7f800000u) value += __double2ll_rn((double)term * unit);
  }
  DEV void flush() {
    if (value) atomicAdd(sums + at, (unsigned long long)value);
  }
  // That of a float's bits: 2^exponent is not above it.
  DEV static int exponent(unsigned bits) {
    int e = (int)(bits >> 23);
    return (e > 0 ? e : 1) - 127;
  }
};

template <class To>
DEV void each_term(Tiles& s, To (&to)[kLoads], const Stored* d_o, const Stored* q, const Stored* k,
                   const Stored* v, const float* lse, const float* delta, int t, int s_length,
                   const int* cu, int docs, const int* prefix, int tiles,
                   const hook::Captured& captured) {
  int head = blockIdx.x / tiles % kH, item = blockIdx.x / tiles / kH;
  int row = blockIdx.x % tiles * kRows, count = t - row < kRows ? t - row : kRows;
  constexpr long long q_stride = (long long)kH * kD, k_stride = (long long)kKv * kD;
  long long q_at = head_offset(item, t, kH, head) + row * q_stride;
  long long k_at = head_offset(item, s_length, kKv, head / (kH / kKv));
  long long lse_at = ((long long)item * kH + head) * t + row;
  Range all = keys_hull(s, row, item, t, s_length, cu, docs, prefix);
  for (int key = all.low; key < all.high; key += kColumns) {
    int keys = all.high - key < kColumns ? all.high - key : kColumns;
    float qk[2][4], dp[2][4];
    products(s, q + q_at, q_stride, count, k + k_at + key * k_stride, k_stride, keys, qk);
    products(s, d_o + q_at, q_stride, count, v + k_at + key * k_stride, k_stride, keys, dp);
    for (int i = 0; i < 2; ++i)
      for (int j = 0; j < 4; ++j) {
        int r = row_at(i), at = key + column_at(j);
        bool visible = r < count && sees(s, r, at);
        if (!visible) continue;
        hook::Place place = {item, head, row + r, at};
        Pair g = gradient(true, qk[i][j], dp[i][j], lse[lse_at + r], delta[lse_at + r], captured,
                          place);
        if (g.d_score == 0) continue;
        long long element[kLoads];
        elements(place, element);
#pragma unroll
        for (int l = 0; l < kLoads; ++l) to[l].add(element[l], g.d_score * g.slopes.by_load[l]);
      }
  }
#pragma unroll
  for (int l = 0; l < kLoads; ++l) to[l].flush();
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_captured_most(const Stored* d_o, const Stored* q, const Stored* k, const Stored* v,
                              const float* lse, const float* delta, unsigned* most, int t,
                              int s_length, const int* cu, int docs, const int* prefix, int tiles,
                              const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  __shared__ Tiles s;
  const hook::Captured captured = HOOK_CAPTURED;
  Largest to[kLoads];
  for (int l = 0; l < kLoads; ++l) to[l].most = most;
  each_term(s, to, d_o, q, k, v, lse, delta, t, s_length, cu, docs, prefix, tiles, captured);
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_captured_sum(const Stored* d_o, const Stored* q, const Stored* k, const Stored* v,
                             const float* lse, const float* delta, const unsigned* most,
                             unsigned long long* sums, int t, int s_length, const int* cu, int docs,
                             const int* prefix, int tiles, const unsigned* skip HOOK_PARAMETERS) {
  if (stopped(skip)) return;
  __shared__ Tiles s;
  const hook::Captured captured = HOOK_CAPTURED;
  Total to[kLoads];
  for (int l = 0; l < kLoads; ++l) to[l].most = most, to[l].sums = sums;
  each_term(s, to, d_o, q, k, v, lse, delta, t, s_length, cu, docs, prefix, tiles, captured);
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_captured_clear(unsigned* most, unsigned long long* sums, long long n,
                               const unsigned* skip) {
  if (stopped(skip)) return;
  long long i = blockIdx.x * 128ll + threadIdx.x;
  if (i < n) most[i] = 0, sums[i] = 0;
}

extern "C" __global__ void __launch_bounds__(128)
fusec_attention_captured_write(const unsigned* most, const long long* sums, float* out,
                               long long first, long long n, const unsigned* skip) {
  if (stopped(skip)) return;
  long long i = blockIdx.x * 128ll + threadIdx.x;
  if (i >= n) return;
  unsigned top = most[first + i];
  double unit =
      __longlong_as_double((long long)(1023 - kBits + 1 + Total::exponent(top)) << 52);
  // A term that was not finite makes the sum NaN.
  out[i] = top < 0x7f800000u ? (float)((double)sums[first + i] * unit)
                             : __int_as_float(0x7fc00000);
}
)cuda";

struct Load {
  size_t captured;
  int64_t offset, step[4];  // elements
};

// Of loads that have a gradient, in the order of by_load.
std::vector<Load> wanted_loads(const LibraryCall& call) {
  std::vector<Load> out;
  std::istringstream text(call.text("hook_loads"));
  for (std::string one; std::getline(text, one, ';');) {
    std::istringstream numbers(one);
    Load l{};
    int64_t wanted = 0;
    numbers >> l.captured >> l.offset;
    for (int64_t& s : l.step) numbers >> s;
    numbers >> wanted;
    if (numbers.fail()) fail_internal("hook_loads does not read: " + one);
    l.offset /= 4;
    for (int64_t& s : l.step) s /= 4;
    if (wanted) out.push_back(l);
  }
  return out;
}

// elements(place, e): where each load's element lies among those of all wanted tensors.
std::string elements_text(const std::vector<Load>& loads, const std::vector<int64_t>& first) {
  constexpr const char* kAxes[] = {"item", "head", "query", "key"};
  std::string out = "DEV void elements(const hook::Place& at, long long (&e)[kLoads]) {\n";
  for (size_t i = 0; i < loads.size(); ++i) {
    out += "  e[" + std::to_string(i) +
           "] = " + std::to_string(first[loads[i].captured] + loads[i].offset) + "ll";
    for (int a = 0; a < 4; ++a)
      if (loads[i].step[a] != 0)
        out += std::string(" + at.") + kAxes[a] + " * (" + std::to_string(loads[i].step[a]) + "ll)";
    out += ";\n";
  }
  return out + "}\n";
}

}  // namespace

void append_sink_gradient(const Attention& a, const LibraryCall& call, const LaunchArg& delta,
                          CallPlan& plan) {
  if (!a.sinks) return;  // its gradient is the first result after dv
  CallLaunch l;
  l.text = attention_constants(a, "call: attention_grad, sinks").text() + std::string(kPrelude) +
           std::string(kSinkGradient);
  l.entry = "fusec_attention_dsinks";
  l.grid[0] = blocks_for(call, a.h, 1);
  l.block[0] = 128;
  l.args = {argument(a.sinks), argument(5),    delta, argument(9),
            i32_value(a.b),    i32_value(a.t), skip()};
  plan.launches.push_back(std::move(l));
}

void append_captured_gradients(const Attention& a, const LibraryCall& call, const LaunchArg& delta,
                               CallPlan& plan) {
  if (!a.captured_grads) return;
  std::vector<TensorType> types = captured_types(call);
  std::vector<int64_t> first(types.size());  // of each wanted tensor among all
  int64_t total = 0;
  for (size_t i = 0; i < types.size(); ++i)
    if (a.captured_grads >> i & 1) first[i] = total, total += numel(types[i].shape);
  if (total == 0) return;
  const std::vector<Load> loads = wanted_loads(call);
  const auto count = static_cast<int64_t>(std::max<size_t>(1, loads.size()));

  const auto scores = static_cast<uint64_t>(a.b * a.h * a.t * a.s * count);
  const int bits = 62 - static_cast<int>(std::bit_width(scores));
  LaunchArg most = workspace(take(plan.workspace, total * 4));
  LaunchArg sums = workspace(take(plan.workspace, total * 8));
  Constants constants = attention_constants(a, "call: attention_grad, captured tensors");
  constants.integer("kLoads", count).integer("kBits", bits);
  std::string text = constants.text() + std::string(kPrelude) + element_text(a.type) +
                     std::string(kRangeText) + hook_text(a) + std::string(kAnyTiles) +
                     std::string(kAnyGradient) + elements_text(loads, first) +
                     std::string(kCaptured);
  auto launch = [&](const char* entry, int64_t blocks, std::vector<LaunchArg> args) {
    if (blocks == 0) return;
    plan.launches.push_back(
        {text, entry, {blocks_for(call, blocks, 1), 1, 1}, {128, 1, 1}, 0, std::move(args)});
  };
  launch("fusec_attention_captured_clear", (total + 127) / 128,
         {most, sums, i64_value(total), skip()});
  const int64_t tiles = (a.t + 15) / 16, blocks = loads.empty() ? 0 : a.b * a.h * tiles;
  for (bool sum : {false, true}) {
    std::vector<LaunchArg> args = {argument(0), argument(1), argument(2), argument(3),
                                   argument(5), delta,       most};
    if (sum) args.push_back(sums);
    for (const LaunchArg& x : mask_arguments(a, a.cu_seqlens)) args.push_back(x);
    for (const LaunchArg& x : {argument(a.prefix), i32_value(tiles), skip()}) args.push_back(x);
    append_captured(a, args);
    launch(sum ? "fusec_attention_captured_sum" : "fusec_attention_captured_most",
           a.s == 0 ? 0 : blocks, std::move(args));
  }
  size_t result = 9 + (a.sinks > 0);
  for (size_t i = 0; i < types.size(); ++i) {
    if (!(a.captured_grads >> i & 1)) continue;
    int64_t n = numel(types[i].shape);
    launch("fusec_attention_captured_write", (n + 127) / 128,
           {most, sums, argument(result++), i64_value(first[i]), i64_value(n), skip()});
  }
}

}  // namespace fusec::cuda
