// What a program without a compiler does with the model that main.cpp saved.
#include <fusec/runtime.h>

#include <cstdio>

int main(int, char** argv) {
  fusec::LoadedPlan f = fusec::load_plan(argv[1]);
  f.set("x", std::vector<float>(64 * 32, 1.0f));
  f.set("gate", std::vector<float>(48 * 32, 2.0f / 32));
  f.set("up", std::vector<float>(48 * 32, 6.0f / 32));
  f.run();
  std::printf("loaded: y = %f\n", f.get<float>("out0")[0]);
}
