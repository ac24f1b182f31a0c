// Training step of vision-gpt:tiny, fused against one kernel an op, timed alternately; then where
// the fused step spends its time.
//   bench_step [rounds] [model]
#include <algorithm>
#include <cstdio>
#include <map>

#include "model.h"

using namespace fusec;
using namespace fusec::bench;

namespace {

Executable build(const std::string& model, bool fuse) {
  models::RecordedGraph recorded = models::build_bundled(model);
  CompileOptions options;
  options.fuse = fuse;
  Executable exe = compile(*recorded.graph, recorded.outputs, options);
  fill(exe);
  for (int i = 0; i < 3; ++i) exe.run();
  return exe;
}

double time_run(Executable& exe) {
  double start = now();
  exe.run();
  return now() - start;
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  std::string model = argc > 2 ? argv[2] : "vision-gpt:tiny";
  Executable fused = build(model, true), unfused = build(model, false);
  std::vector<double> a, b;
  for (int i = 0; i < rounds; ++i) a.push_back(time_run(fused)), b.push_back(time_run(unfused));
  std::printf("%s, %d rounds, alternating\n", model.c_str(), rounds);
  std::printf("  fused    %4zu steps  median %7.1f ms  best %7.1f ms\n", fused.plan().steps.size(),
              1e3 * median(a), 1e3 * best(a));
  std::printf("  unfused  %4zu steps  median %7.1f ms  best %7.1f ms\n",
              unfused.plan().steps.size(), 1e3 * median(b), 1e3 * best(b));
  std::printf("  ratio    median %.2f  best %.2f\n", median(b) / median(a), best(b) / best(a));

  struct Row {
    double seconds = 0;
    int64_t bytes = 0, flops = 0;
    int launches = 0;
  };
  std::map<std::string, Row> rows;
  double total = 0;
  constexpr int kProfiles = 5;
  for (int i = 0; i < kProfiles; ++i)
    for (const StepProfile& s : fused.profile()) {
      Row& r = rows[s.name];
      r.seconds += s.seconds / kProfiles, r.bytes += s.bytes / kProfiles,
          r.flops += s.flops / kProfiles;
      r.launches += i == 0;
      total += s.seconds / kProfiles;
    }
  std::vector<std::pair<std::string, Row>> sorted(rows.begin(), rows.end());
  std::sort(sorted.begin(), sorted.end(),
            [](auto& x, auto& y) { return x.second.seconds > y.second.seconds; });
  std::printf("%-52s %8s %9s %6s %8s %8s\n", "fused step", "launches", "ms", "share", "GB/s",
              "GFLOP/s");
  for (size_t i = 0; i < sorted.size() && i < 40; ++i) {
    const auto& [name, r] = sorted[i];
    std::printf("%-52s %8d %9.3f %5.1f%% %8.1f %8.1f\n", name.c_str(), r.launches, 1e3 * r.seconds,
                100 * r.seconds / total, 1e-9 * static_cast<double>(r.bytes) / r.seconds,
                1e-9 * static_cast<double>(r.flops) / r.seconds);
  }
}
