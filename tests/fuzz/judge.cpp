// One sample through check(); the only part of the generator's library that compiles.
#include "graph_fuzz.h"

namespace fusec::fuzz {

Verdict judge(Sample& sample, uint64_t seed, const Mode& mode) {
  CheckOptions options;
  options.seed = seed;
  options.kernels = mode.kernels;
  options.whole = !mode.bf16;
  options.compile.precision = mode.bf16 ? Precision::bf16 : Precision::f32;
  options.compile.threads = mode.threads;
  options.compile.device = mode.device;
  options.compile.reuse_kernels = true;
  Verdict out;
  try {
    out.report = check(*sample.graph, sample.outputs, options);
    out.refused = !out.report.refused.empty();
    if (!out.report.ok()) out.what = out.report.wrong.front().str();
  } catch (const Error& e) {
    out.what = e.what();
    out.lost = e.kind() == ErrorKind::device;
  } catch (const std::exception& e) {
    out.what = e.what();
  }
  return out;
}

}  // namespace fusec::fuzz
