// The model of the README, small: compiled, fed, run, saved for runner.cpp.
#include <fusec/fusec.h>

#include <cstdio>
using namespace fusec;

int main(int, char** argv) {
  Graph g;
  Tensor x = g.input("x", {64, 32});
  Tensor wg = g.parameter("gate", {48, 32});
  Tensor wu = g.parameter("up", {48, 32});
  Tensor y = silu(linear(x, wg)) * linear(x, wu);  // silu(.) * (.) becomes one kernel
  Executable f = compile(g, {y}, {.device = "cpu"});

  f.set("x", std::vector<float>(64 * 32, 1.0f));
  f.set("gate", std::vector<float>(48 * 32, 2.0f / 32));
  f.set("up", std::vector<float>(48 * 32, 6.0f / 32));
  f.run();
  f.save(argv[1]);
  std::printf("y = %f in %zu kernel\n", f.get<float>("out0")[0], f.plan().kernels.size());
}
