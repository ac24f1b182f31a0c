// copy, fill and guard: bytes moved in the widest units that both addresses allow, and the test of
// one number. The last bytes that fill no unit are moved one by one.
#include <algorithm>

#include "calls.h"
#include "prelude.h"

namespace fusec::cuda {
namespace {

constexpr int kThreads = 256, kUnitsAThread = 4, kBlocksAnSm = 16;

constexpr std::string_view kCopy = R"cuda(
extern "C" __global__ void __launch_bounds__(256)
fusec_copy(const Unit* __restrict__ from, Unit* __restrict__ to, long long units, int tail,
           const unsigned* skip) {
  if (stopped(skip)) return;
  long long first = blockIdx.x * 256ll + threadIdx.x, stride = gridDim.x * 256ll;
#pragma unroll 4
  for (long long i = first; i < units; i += stride) to[i] = from[i];
  if (first < tail)
    ((unsigned char*)(to + units))[first] = ((const unsigned char*)(from + units))[first];
}
)cuda";

constexpr std::string_view kFill = R"cuda(
extern "C" __global__ void __launch_bounds__(256)
fusec_fill(Unit* __restrict__ to, long long units, int tail, const unsigned* skip) {
  if (stopped(skip)) return;
  long long first = blockIdx.x * 256ll + threadIdx.x, stride = gridDim.x * 256ll;
#pragma unroll 4
  for (long long i = first; i < units; i += stride) to[i] = Unit();
  if (first < tail) ((unsigned char*)(to + units))[first] = 0;
}
)cuda";

constexpr std::string_view kGuard = R"cuda(
extern "C" __global__ void fusec_guard(const Number* x, Status* status) {
  Number v = *x;
  if (!(v - v == 0)) status->skip = 1;  // NaN for infinities and NaN
}
)cuda";

CallPlan plan_bytes(const LibraryCall& call, const CallTarget& target, bool copy) {
  int64_t bytes = call.integer("bytes");
  require(call, bytes >= 0, "bytes must not be negative");
  if (bytes == 0) return {};
  // Of the addresses alone: a tail is no reason for narrow units.
  int64_t unit = copy ? common_unit(call, {0, 1}, 16) : common_unit(call, {0}, 16);
  int64_t units = bytes / unit;
  CallLaunch l;
  l.text = Constants(copy ? "call: copy" : "call: fill").type("Unit", unit_type(unit)).text() +
           std::string(kPrelude) + std::string(copy ? kCopy : kFill);
  l.entry = copy ? "fusec_copy" : "fusec_fill";
  int64_t most = static_cast<int64_t>(target.sm_count) * kBlocksAnSm;
  int64_t blocks = (units + kThreads * kUnitsAThread - 1) / (kThreads * kUnitsAThread);
  l.grid[0] = static_cast<unsigned>(std::clamp<int64_t>(blocks, 1, most));
  l.block[0] = kThreads;
  if (copy) l.args.push_back(argument(0));
  l.args.push_back(argument(copy ? 1 : 0));
  l.args.push_back(i64_value(units));
  l.args.push_back(i32_value(bytes % unit));
  l.args.push_back(skip());
  return {{l}, 0};
}

}  // namespace

CallPlan plan_copy(const LibraryCall& call, const CallTarget& target) {
  return plan_bytes(call, target, true);
}

CallPlan plan_fill(const LibraryCall& call, const CallTarget& target) {
  return plan_bytes(call, target, false);
}

CallPlan plan_guard(const LibraryCall& call, const CallTarget&) {
  DType type = type_of(call, "type");
  require(call, type == f32 || type == f64, "x must be f32 or f64");
  CallLaunch l;
  l.text = Constants("call: guard").type("Number", type == f32 ? "float" : "double").text() +
           std::string(kPrelude) + std::string(kGuard);
  l.entry = "fusec_guard";
  l.args = {argument(0), status()};
  return {{l}, 0};
}

}  // namespace fusec::cuda
