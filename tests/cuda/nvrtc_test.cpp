// CUDA C++ text to cubins: the compiler's report, its errors, and the cache of what it made.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fusec/base/error.h"
#include "fusec/cuda/cuda.h"
#include "gemm.h"
#include "vendor/nvrtc.h"

using namespace fusec;
using namespace fusec::cuda;

namespace {

constexpr const char* kAdd = R"(
extern "C" __global__ void add(const float* a, float* b, long long n) {
  __shared__ float tile[64];
  long long i = blockIdx.x * 64ll + threadIdx.x;
  tile[threadIdx.x] = i < n ? a[i] : 0.0f;
  __syncthreads();
  if (i < n) b[i] = tile[threadIdx.x ^ 1];
}
)";

bool no_nvrtc() {
  std::string why;
  if (!nvrtc_version(&why).empty()) return false;
  std::printf("[SKIP] %s\n", why.c_str());
  return true;
}

template <class F>
std::string error_of(F f, ErrorKind kind) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == kind);
    return e.what();
  }
  return "no error";
}

// A cache folder of the test's own, while it lives.
struct CacheFolder {
  std::filesystem::path path;
  std::string before;

  CacheFolder() {
    path = std::filesystem::temp_directory_path() / ("fusec-cuda-" + std::to_string(getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    const char* old = std::getenv("FUSEC_CACHE_DIR");
    before = old ? old : "";
    setenv("FUSEC_CACHE_DIR", path.c_str(), 1);
  }
  ~CacheFolder() {
    setenv("FUSEC_CACHE_DIR", before.c_str(), 1);
    std::filesystem::remove_all(path);
  }
};

}  // namespace

TEST_CASE("a unit compiles for every architecture, and the assembler's report is read") {
  if (no_nvrtc()) return;
  for (const char* arch : {"sm_80", "sm_90a", "sm_100a", "sm_120a"}) {
    CAPTURE(arch);
    Cubin cubin = compile_source(kAdd, "add", arch);
    CHECK(cubin.bytes.substr(0, 4) == "\177ELF");
    CHECK(cubin.registers >= 8);
    CHECK(cubin.registers < 64);
    CHECK(cubin.shared_bytes >= 256);
    CHECK(cubin.spill_bytes == 0);
    CHECK(cubin.stack_bytes == 0);
  }
}

TEST_CASE("registers that do not fit are reported as spills") {
  if (no_nvrtc()) return;
  std::string text = R"(
extern "C" __global__ void __launch_bounds__(1024, 2) wide(float* p) {
  float v[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) v[i] = p[threadIdx.x + 1024 * i];
#pragma unroll 1
  for (int r = 0; r < 8; ++r)
#pragma unroll
    for (int i = 0; i < 96; ++i) v[i] = v[i] * v[(i + 7) % 96] + v[(i + 31) % 96];
#pragma unroll
  for (int i = 0; i < 96; ++i) p[threadIdx.x + 1024 * i] = v[i];
}
)";
  Cubin cubin = compile_source(text, "wide", "sm_90a");
  CHECK(cubin.registers == 32);
  CHECK(cubin.spill_bytes > 0);
  CHECK(cubin.stack_bytes > 0);
}

TEST_CASE("the report is that of the first kernel") {
  Cubin cubin = parse_assembler_report(
      "ptxas info    : 0 bytes gmem\n"
      "ptxas info    : Compiling entry function 'a' for 'sm_90a'\n"
      "ptxas info    : Function properties for a\n"
      "    24 bytes stack frame, 20 bytes spill stores, 16 bytes spill loads\n"
      "ptxas info    : Used 28 registers, used 1 barriers, 64 bytes smem\n"
      "ptxas info    : Function properties for b\n"
      "    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n"
      "ptxas info    : Used 255 registers, used 0 barriers\n");
  CHECK(cubin.registers == 28);
  CHECK(cubin.shared_bytes == 64);
  CHECK(cubin.stack_bytes == 24);
  CHECK(cubin.spill_bytes == 20);
  CHECK(parse_assembler_report("").registers == 0);
  CHECK(parse_assembler_report(" registers bytes smem\nUsed  registers").registers == 0);
  CHECK(parse_assembler_report("Used 99999999999999999999 registers").registers == 0);
}

TEST_CASE("a text that does not compile is an internal error with log and line") {
  if (no_nvrtc()) return;
  std::string bad = "extern \"C\" __global__ void k(float* p) {\n  p[0] = undefined_name;\n}\n";
  std::string text =
      error_of([&] { compile_source(bad, "k07_bad", "sm_90a"); }, ErrorKind::internal);
  CAPTURE(text);
  CHECK(text.find("k07_bad") != std::string::npos);
  CHECK(text.find("undefined_name") != std::string::npos);
  CHECK(text.find("2 |   p[0] = undefined_name;") != std::string::npos);
}

TEST_CASE("an architecture that this NVRTC does not know names those it does") {
  if (no_nvrtc()) return;
  std::string text = error_of([&] { compile_source(kAdd, "add", "sm_999"); }, ErrorKind::device);
  CAPTURE(text);
  CHECK(text.find("sm_999") != std::string::npos);
  CHECK(text.find("sm_90") != std::string::npos);
}

TEST_CASE("equal units are compiled once, and never again while the cache has them") {
  if (no_nvrtc()) return;
  CacheFolder folder;
  std::string other = std::string(kAdd) + "// another text\n";
  std::vector<SourceUnit> units = {{"a", kAdd}, {"b", other}, {"c", kAdd}};
  int hits = -1, misses = -1;
  std::vector<std::string> first = compile_units(units, "sm_90a", 2, &hits, &misses);
  CHECK(hits == 0);
  CHECK(misses == 2);
  REQUIRE(first.size() == 3);
  CHECK(first[0] == first[2]);
  CHECK(first[0] == compile_source(kAdd, "x", "sm_90a").bytes);
  CHECK(compile_units(units, "sm_90a", 0, &hits, &misses) == first);
  CHECK(hits == 2);
  CHECK(misses == 0);
  // Another architecture is another key.
  compile_units({units[0]}, "sm_80", 1, &hits, &misses);
  CHECK(misses == 1);

  // A file of the cache that was damaged is compiled anew.
  int damaged = 0;
  for (const auto& file : std::filesystem::directory_iterator(folder.path)) {
    if (file.path().extension() != ".fso") continue;
    std::fstream f(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    f.seekp(200);
    f.put('\xff').put('\x01').put('\x5a');
    ++damaged;
  }
  CHECK(damaged == 3);
  CHECK(compile_units(units, "sm_90a", 2, &hits, &misses) == first);
  CHECK(hits == 0);
  CHECK(misses == 2);
  CHECK(compile_units({}, "sm_90a", 2, &hits, &misses).empty());
  CHECK(misses == 0);
}

TEST_CASE("what one process compiled, another one finds") {
  if (no_nvrtc()) return;
  CacheFolder folder;
  // Each child is this program with a filter: it compiles and reports its misses as exit code.
  auto child = [&] {
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::string command =
        "FUSEC_TEST_CHILD=1 '" + self + "' --test-case='child: compiles one unit' > /dev/null";
    return std::system(command.c_str());
  };
  CHECK(WEXITSTATUS(child()) == 11);  // a miss
  CHECK(WEXITSTATUS(child()) == 10);  // a hit
}

TEST_CASE("child: compiles one unit") {
  if (!std::getenv("FUSEC_TEST_CHILD")) return;
  int hits = 0, misses = 0;
  compile_units({{"add", kAdd}}, "sm_90a", 1, &hits, &misses);
  std::_Exit(10 + misses);
}

TEST_CASE("the version of NVRTC is known without opening it while its file stays the same") {
  if (no_nvrtc()) return;
  CacheFolder folder;
  auto child = [&] {
    std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
    std::string command = "FUSEC_TEST_CHILD=1 '" + self +
                          "' --test-case='child: asks for the version of NVRTC' > /dev/null";
    return WEXITSTATUS(std::system(command.c_str()));
  };
  CHECK(child() == 21);  // opened
  CHECK(child() == 20);  // recorded
  // Another search is another record.
  const char* loader = std::getenv("LD_LIBRARY_PATH");
  std::string before = loader ? loader : "";
  setenv("LD_LIBRARY_PATH", (before + ":/nowhere").c_str(), 1);
  CHECK(child() == 21);
  if (loader)
    setenv("LD_LIBRARY_PATH", loader, 1);
  else
    unsetenv("LD_LIBRARY_PATH");
  CHECK(child() == 20);
}

TEST_CASE("child: asks for the version of NVRTC") {
  if (!std::getenv("FUSEC_TEST_CHILD")) return;
  bool known = !nvrtc_version().empty() && !nvrtc_searched();
  bool agrees = nvrtc_version() == require_nvrtc().version();
  std::_Exit(!agrees ? 29 : known ? 20 : 21);
}

TEST_CASE("of several units that fail, the first one is reported") {
  if (no_nvrtc()) return;
  CacheFolder folder;
  std::vector<SourceUnit> units;
  for (int i = 0; i < 6; ++i)
    units.push_back({"unit" + std::to_string(i), i < 2
                                                     ? std::string(kAdd) + "// " + std::to_string(i)
                                                     : "int broken" + std::to_string(i) + " = ;"});
  std::string text = error_of([&] { compile_units(units, "sm_90a", 4); }, ErrorKind::internal);
  CHECK(text.find("unit2") != std::string::npos);
}

TEST_CASE("the own GEMM compiles in every form, in registers alone") {
  if (no_nvrtc()) return;
  auto compile = [](DType a, DType b, DType c, bool trans, const char* arch, GemmEpilogue e = {}) {
    Gemm g{65, 65, 65, 1, 65, 65, 65, 0, 0, 0, trans, !trans, a, b, c, 1.0, 0.0, e};
    std::vector<CallLaunch> launches = own_gemm(g);
    CHECK(launches.at(0).grid[0] == 4);
    CHECK(launches.size() == (e.sums() ? 2u : 1u));
    for (const CallLaunch& launch : launches) {
      INFO(g.str() << " for " << std::string(arch) << ": " << launch.entry);
      Cubin cubin = compile_source(launch.text, "own GEMM", arch);
      CHECK(cubin.spill_bytes == 0);
      CHECK(cubin.stack_bytes == 0);
      CHECK(cubin.registers > 0);
      CHECK(cubin.registers <= 128);
      CHECK(cubin.shared_bytes <= (48 << 10));
    }
  };
  for (DType a : {f32, bf16, f16})
    for (DType b : {f32, bf16, f16}) compile(a, b, a == b ? f32 : a, a == b, "sm_90a");
  for (const char* arch : {"sm_80", "sm_90a", "sm_100a", "sm_120a"}) {
    compile(f64, f64, f64, false, arch);
    compile(bf16, bf16, bf16, true, arch);
    compile(f16, f16, f16, false, arch);
    for (DType c : {f32, bf16, f16}) {
      GemmEpilogue e{.add = true, .bias = true, .gelu = true, .aux = true};
      compile(bf16, bf16, c, false, arch, e);
      e.add = e.aux = false;
      compile(bf16, bf16, c, true, arch, e);
      compile(bf16, bf16, c, false, arch, {.dgelu = true, .bgrad = true});
      for (bool trans : {false, true}) {
        compile(bf16, bf16, c, trans, arch, {.bgrada = true});
        compile(bf16, bf16, c, trans, arch, {.add = true, .bgradb = true});
      }
    }
  }
}
