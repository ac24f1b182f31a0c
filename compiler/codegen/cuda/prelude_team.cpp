// Helpers of threads together: copies beside the arithmetic, and what the threads of a row join, in
// a fixed order.
#include "prelude_helpers.h"

namespace fusec::codegen_cuda {
namespace {

constexpr Helper kHelpers[] = {
    {"copy_ahead", "", R"(
// BYTES bytes of memory to shared memory, in copies of B bytes that go on beside this thread.
template <int B, int BYTES>
$ void copy_ahead(unsigned char* to, const void* from) {
  const unsigned at = (unsigned)__cvta_generic_to_shared(to);
#pragma unroll
  for (int i = 0; i < BYTES; i += B) {
    const char* source = static_cast<const char*>(from) + i;
    if constexpr (B == 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(at + i), "l"(source)
                   : "memory");
    else
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(at + i), "l"(source), "n"(B)
                   : "memory");
  }
}
)"},
    {"end_group", "", R"(
// The copies of this thread since the last group become one.
$ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
)"},
    {"wait_groups", "", R"(
// Waits for the copies of this thread, but for its N last groups.
template <int N>
$ void wait_groups() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }
)"},
    {"Sum", "", R"(
struct Sum {
  template <class T>
  static $ T join(T a, T b) { return a + b; }
};
)"},
    {"Max", "max_nan max_nan_f64 max_int", R"(
struct Max {
  static $ float join(float a, float b) { return max_nan(a, b); }
  static $ double join(double a, double b) { return max_nan(a, b); }
  template <class T>
  static $ T join(T a, T b) { return max_int(a, b); }
};
)"},
    {"Min", "min_nan min_nan_f64 min_int", R"(
struct Min {
  static $ float join(float a, float b) { return min_nan(a, b); }
  static $ double join(double a, double b) { return min_nan(a, b); }
  template <class T>
  static $ T join(T a, T b) { return min_int(a, b); }
};
)"},
    {"add_exps", "max_nan exp_below", R"(
// More values of a maximum and of the sum of e^(value - maximum). `top` starts at the lowest finite
// number, so that -inf adds 0.
template <int C>
$ void add_exps(float& top, float& sum, const float (&v)[C]) {
  float most = v[0];
#pragma unroll
  for (int j = 1; j < C; ++j) most = max_nan(most, v[j]);
  most = max_nan(top, most);
  float more = 0.0f;
#pragma unroll
  for (int j = 0; j < C; ++j) more += exp_below(v[j] - most);
  sum = fmaf(sum, exp_below(top - most), more);
  top = most;
}
)"},
    {"end_exps", "", R"(
// What the maximum and then the sum would be: a sum of 0 saw nothing but -inf; the sum of a row
// whose maximum is infinite is NaN, as inf - inf is.
$ void end_exps(float& top, float& sum) {
  if (sum == 0.0f) top = -__int_as_float(0x7f800000);
  sum += top - top;
}
)"},
    {"across_lanes", "", R"(
// Over each group of LANES neighbours of a warp; all of them get the result.
template <class Op, int LANES, class T>
$ T across_lanes(T v) {
#pragma unroll
  for (int m = LANES / 2; m > 0; m /= 2) v = Op::join(v, __shfl_xor_sync(0xffffffffu, v, m));
  return v;
}
)"},
    {"across_members", "", R"(
// Over MEMBERS threads, UNITS apart, of all W lanes, G at a time; member 0 gets the result. A fixed
// tree.
template <class Op, int MEMBERS, int UNITS, int G, class T, int W>
$ void across_members(T (&v)[W], T* shared, int member, int unit) {
  constexpr int kSlots = (MEMBERS + 1) / 2 * UNITS;
#pragma unroll
  for (int g = 0; g < W; g += G) {
#pragma unroll
    for (int count = MEMBERS; count > 1; count = (count + 1) / 2) {
      const int half = (count + 1) / 2;
      __syncthreads();
      if (member >= half && member < count)
#pragma unroll
        for (int j = 0; j < G; ++j)
          shared[j * kSlots + (member - half) * UNITS + unit] = v[g + j];
      __syncthreads();
      if (member < count - half)
#pragma unroll
        for (int j = 0; j < G; ++j)
          v[g + j] = Op::join(v[g + j], shared[j * kSlots + member * UNITS + unit]);
    }
  }
}
)"},
    {"from_member_0", "", R"(
// Member 0's lanes to all members, G at a time.
template <int UNITS, int G, class T, int W>
$ void from_member_0(T (&v)[W], T* shared, int member, int unit) {
#pragma unroll
  for (int g = 0; g < W; g += G) {
    __syncthreads();
    if (member == 0)
#pragma unroll
      for (int j = 0; j < G; ++j) shared[j * UNITS + unit] = v[g + j];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < G; ++j) v[g + j] = shared[j * UNITS + unit];
  }
}
)"},
};

}  // namespace

std::span<const Helper> team_helpers() { return kHelpers; }

}  // namespace fusec::codegen_cuda
