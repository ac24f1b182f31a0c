// Compile times: graph to the end of the first step of vision-gpt:tiny, vision-gpt:d20 to the
// scheduled stage.
//   bench_compile [rounds]
#include <algorithm>
#include <cstdio>

#include "fusec/inspect.h"
#include "model.h"

using namespace fusec;
using namespace fusec::bench;

int main(int argc, char** argv) {
  int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  for (int i = 0; i < rounds; ++i) {
    double start = now();
    models::RecordedGraph tiny = models::build_bundled("vision-gpt:tiny");
    double recorded = now();
    Executable exe = compile(*tiny.graph, tiny.outputs);
    double compiled = now();
    fill(exe);
    double filled = now();
    exe.run();
    double first = now();
    std::printf(
        "tiny: record %.3f  compile %.3f  first step %.3f  graph to first step %.3f s (%zu "
        "kernels)\n",
        recorded - start, compiled - recorded, first - filled,
        recorded - start + compiled - recorded + first - filled, exe.plan().kernels.size());
    start = now();
    models::RecordedGraph d20 = models::build_bundled("vision-gpt:d20");
    recorded = now();
    InspectOptions options;
    options.until = Stage::scheduled;
    Inspection r = inspect(*d20.graph, d20.outputs, "d20", options);
    std::printf("d20: record %.3f  to scheduled %.3f s\n", recorded - start, now() - recorded);
  }
}
