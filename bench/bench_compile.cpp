// Compile times: graph to the end of the first step of vision-gpt:tiny, without the cache of
// compiled code (cold) and with plan and kernels in it (warm); vision-gpt:d20 to the scheduled
// stage.
//   bench_compile [rounds]
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "fusec/inspect.h"
#include "model.h"

using namespace fusec;
using namespace fusec::bench;

namespace {

void tiny(const char* what) {
  double start = now();
  models::RecordedGraph model = models::build_bundled("vision-gpt:tiny");
  double recorded = now();
  Executable exe = compile(*model.graph, model.outputs);
  double compiled = now();
  fill(exe);
  double filled = now();
  exe.run();
  double first = now();
  std::printf(
      "tiny %s: record %.3f  compile %.3f  first step %.3f  graph to first step %.3f s (%zu "
      "kernels, %d from the cache)\n",
      what, recorded - start, compiled - recorded, first - filled,
      recorded - start + compiled - recorded + first - filled, exe.plan().kernels.size(),
      exe.times().cache_hits);
}

}  // namespace

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  for (int i = 0; i < rounds; ++i) {
    setenv("FUSEC_CACHE", "0", 1);
    tiny("cold");
    setenv("FUSEC_CACHE", "1", 1);
    if (i == 0) tiny("kept");  // compiles what the cache lacks, and stores it
    tiny("warm");
    double start = now();
    models::RecordedGraph d20 = models::build_bundled("vision-gpt:d20");
    double recorded = now();
    InspectOptions options;
    options.until = Stage::scheduled;
    Inspection r = inspect(*d20.graph, d20.outputs, "d20", options);
    std::printf("d20: record %.3f  to scheduled %.3f s\n", recorded - start, now() - recorded);
  }
}
