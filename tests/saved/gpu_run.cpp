// Loads a saved plan for a GPU in a program without a compiler, and runs it from zeros: as it
// comes, recorded, replayed. Prints what compiled it.
//   saved_gpu_run step.fsc
#include <fusec/runtime.h>

#include <cstdio>

using namespace fusec;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    LoadedPlan step = load_plan(argv[1]);
    for (const PlanBuffer& b : step.plan().buffers) {
      if (b.cls != BufferClass::input && b.cls != BufferClass::parameter) continue;
      std::string zeros(static_cast<size_t>(b.type.bytes()), '\0');
      step.write(b.name, zeros.data(), zeros.size());
    }
    for (int i = 0; i < 3; ++i) step.run();
    std::printf("ran; %s; gemm: %s\n", step.backend("kernels").c_str(),
                step.backend("gemm").c_str());
  } catch (const Error& e) {
    std::printf("%s\n", e.what());
    return 1;
  }
}
