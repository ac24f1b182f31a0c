// Runs a saved training step in a program without a compiler, and compares every byte with what the
// program that compiled it got. Fails if anything of LLVM, or libfusec.so, is in the process.
//   saved_run step.fsc step.values
#include <fusec/runtime.h>
#include <link.h>

#include <cstdio>
#include <cstring>

#include "values.h"

using namespace fusec;

namespace {

int foreign_libraries() {
  int found = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* found) {
        for (const char* part : {"LLVM", "MLIR", "libfusec.so"})
          if (std::strstr(info->dlpi_name, part)) {
            std::printf("%s is loaded\n", info->dlpi_name);
            ++*static_cast<int*>(found);
          }
        return 0;
      },
      &found);
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  test::Values values = test::read_values(argv[2]);
  int wrong = foreign_libraries(), compared = 0;
  for (int threads : {1, 2, 3}) {
    LoadedPlan step = load_plan(argv[1], {.threads = threads});
    for (const auto& [name, bytes] : values)
      if (name.starts_with("in:")) step.write(name.substr(3), bytes.data(), bytes.size());
    step.run();
    step.run();
    for (const auto& [name, bytes] : values) {
      if (!name.starts_with("out:")) continue;
      std::string got(bytes.size(), '\0');
      step.read(name.substr(4), got.data(), got.size());
      ++compared;
      if (got == bytes) continue;
      std::printf("%s differs with %d threads\n", name.c_str() + 4, threads);
      ++wrong;
    }
  }
  std::printf("%d tensors compared, %d wrong\n", compared, wrong);
  return wrong > 0 || compared < 30;
}
