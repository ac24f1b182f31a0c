// The text of kernels that stand for what models are made of, compared with golden files.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "fusec/codegen_cuda/codegen.h"
#include "fusec/cuda/cuda.h"
#include "fusec/plan/plan.h"

using namespace fusec;
using codegen_cuda::LaunchForm;
namespace fs = std::filesystem;

namespace {

std::string contents(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

std::vector<fs::path> kernel_files() {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(FUSEC_TEST_KERNELS))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// Optimizers update many tensors in one launch.
LaunchForm form_of(const fs::path& file) {
  return file.stem() == "adamw" ? LaunchForm::table : LaunchForm::single;
}

}  // namespace

TEST_CASE("kernels have their golden text") {
  const bool update = std::getenv("FUSEC_UPDATE_GOLDEN") != nullptr;
  REQUIRE(kernel_files().size() >= 10);
  for (const fs::path& file : kernel_files()) {
    KernelProgram k = parse_kernel(contents(file));
    verify(k);
    const std::string text = codegen_cuda::emit(k, form_of(file), true);
    const fs::path golden = fs::path(FUSEC_TEST_GOLDEN) / (file.stem().string() + ".cu");
    if (update) std::ofstream(golden) << text;
    INFO(golden.string() << " differs; FUSEC_UPDATE_GOLDEN=1 writes it anew");
    CHECK(contents(golden) == text);
  }
}

TEST_CASE("golden kernels compile for every architecture, and spill nothing") {
  std::string why;
  if (cuda::nvrtc_version(&why).empty()) {
    MESSAGE("[SKIP] " << why);
    return;
  }
  for (const fs::path& file : kernel_files()) {
    KernelProgram k = parse_kernel(contents(file));
    for (LaunchForm form : {LaunchForm::single, LaunchForm::table}) {
      const std::string text = codegen_cuda::emit(k, form, false);
      for (const char* arch : {"sm_80", "sm_90a", "sm_100a", "sm_120a"}) {
        INFO(file.stem().string() << " for " << arch);
        cuda::Cubin cubin = cuda::compile_source(text, k.name, arch);
        CHECK(!cubin.bytes.empty());
        CHECK(cubin.spill_bytes == 0);
        CHECK(cubin.shared_bytes <= 48 << 10);
      }
    }
  }
}

TEST_CASE("text without comments depends on nothing but the code") {
  for (const fs::path& file : kernel_files()) {
    KernelProgram k = parse_kernel(contents(file)), other = k;
    other.origins = {"another line (b.cpp:1)"};
    for (KernelParam& p : other.params) p.name += "x";
    other.name = "k99_" + k.name.substr(4);
    CHECK(codegen_cuda::entry_of(other) == codegen_cuda::entry_of(k));
    CHECK(codegen_cuda::emit(other, LaunchForm::single, false) ==
          codegen_cuda::emit(k, LaunchForm::single, false));
    CHECK(codegen_cuda::emit(k, LaunchForm::single, false).find("//  ") == std::string::npos);
  }
}

TEST_CASE("entries are names of the language, and of no function of it") {
  KernelProgram k;
  for (const auto& [name, entry] : std::vector<std::pair<std::string, std::string>>{
           {"k07_rms_norm_mul", "fusec_rms_norm_mul"}, {"k123_exp", "fusec_exp"},
           {"exp", "fusec_exp"}, {"k_sum", "fusec_k_sum"}, {"k3", "fusec_k3"},
           {"k04_a.b-c", "fusec_a_b_c"}}) {
    k.name = name;
    CHECK(codegen_cuda::entry_of(k) == entry);
  }
}

TEST_CASE("a kernel without a schedule for blocks is refused") {
  KernelProgram k = parse_kernel(contents(kernel_files()[0]));
  k.schedule.block = k.schedule.team = 0;
  CHECK_THROWS_WITH(codegen_cuda::emit(k, LaunchForm::single, false),
                    doctest::Contains("expected a schedule for blocks"));
}
