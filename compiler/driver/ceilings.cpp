// Two graphs of one op to the rates that a device reaches with them; see profile.h.
#include <algorithm>
#include <vector>

#include "fusec/base/philox.h"
#include "fusec/ops/ops.h"
#include "fusec/profile.h"

namespace fusec {
namespace {

constexpr int64_t kMega = 1 << 20;
constexpr double kTooQuick = 5e-4;  // seconds: launches and clocks would show in the result

// Random signs and mantissas, exponents of [0.5, 1), repeated after a million: what a product costs
// in power depends on its bits, and zeros would flatter it.
template <class Bits>
std::vector<Bits> random_bits(int64_t n, uint32_t keep, uint32_t exponent) {
  std::vector<Bits> out(static_cast<size_t>(n));
  const int64_t drawn = std::min(n, kMega);
  for (int64_t i = 0; i < drawn; ++i)
    out[i] = static_cast<Bits>((philox(7, static_cast<uint64_t>(i))[0] & keep) | exponent);
  for (int64_t i = drawn; i < n; ++i) out[i] = out[i - drawn];
  return out;
}

void set_random(Executable& exe, const std::string& name) {
  const TensorType& t = exe.type(name);
  const int64_t n = numel(t.shape);
  if (t.dtype == DType::bf16) {
    const std::vector<uint16_t> bits = random_bits<uint16_t>(n, 0x807F, 0x3F00);
    exe.write(name, bits.data(), bits.size() * sizeof bits[0]);
  } else {
    const std::vector<uint32_t> bits = random_bits<uint32_t>(n, 0x807FFFFF, 0x3F000000);
    exe.write(name, bits.data(), bits.size() * sizeof bits[0]);
  }
}

// Another kernel runs first, so that a GPU is busy while what is timed is launched: its clock would
// count that, too.
constexpr const char* kLeadIn = "lead_in";
constexpr int64_t kLeadInElements = 16 * kMega;

Output lead_in(Graph& g) {
  Tensor x = g.input("lead_in.x", {kLeadInElements});
  ScopeGuard scope(g, kLeadIn);
  return {"lead_in.y", x * 3.0};
}

double fastest(Executable& exe, int runs) {
  double best = 0;
  set_random(exe, "lead_in.x");
  exe.run();
  for (int i = 0; i < std::max(1, runs); ++i) {
    double seconds = 0;
    for (const StepProfile& s : exe.profile())
      if (s.scope != kLeadIn) seconds += s.seconds;
    if (i == 0 || seconds < best) best = seconds;
  }
  return best;
}

CompileOptions plain(const CompileOptions& options) {
  CompileOptions out;
  out.device = options.device;
  out.threads = options.threads;
  return out;
}

double copy_seconds(const CompileOptions& options, DType type, int64_t bytes, int runs) {
  Graph g;
  Output first = lead_in(g);
  Tensor x = g.input("x", {bytes / size_of(type)}, type);
  Executable exe = compile(g, {first, {"y", -x}}, plain(options));
  set_random(exe, "x");
  return fastest(exe, runs);
}

double matmul_seconds(const CompileOptions& options, DType type, int64_t side, int runs) {
  Graph g;
  Output first = lead_in(g);
  Tensor a = g.input("a", {side, side}, type), b = g.input("b", {side, side}, type);
  Executable exe = compile(g, {first, {"c", matmul(a, b)}}, plain(options));
  set_random(exe, "a");
  set_random(exe, "b");
  return fastest(exe, runs);
}

// work / seconds at the size given, or else at the small one unless it is over too quickly; 0 where
// the device has no room.
template <class Seconds, class Work>
double rate(int64_t given, int64_t small, int64_t large, Seconds seconds, Work work) {
  try {
    int64_t size = given > 0 ? given : small;
    double spent = seconds(size);
    if (given == 0 && spent < kTooQuick) spent = seconds(size = large);
    return spent > 0 ? work(static_cast<double>(size)) / spent : 0;
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::device) throw;
    return 0;
  }
}

}  // namespace

DeviceCeilings measure_ceilings(const CompileOptions& options, CeilingSizes sizes) {
  const DType type = options.precision == Precision::bf16 ? DType::bf16 : DType::f32;
  DeviceCeilings out;
  out.precision = std::string(name_of(type));
  out.copy_rate = rate(
      sizes.copy_bytes, 128 * kMega, 1024 * kMega,
      [&](int64_t bytes) { return copy_seconds(options, type, bytes, sizes.runs); },
      [](double bytes) { return 2 * bytes; });
  out.matmul_rate = rate(
      sizes.matmul_side, 1024, 8192,
      [&](int64_t side) { return matmul_seconds(options, type, side, sizes.runs); },
      [](double side) { return 2 * side * side * side; });
  return out;
}

}  // namespace fusec
