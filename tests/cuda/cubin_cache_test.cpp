// Cubins on disk: processes at once, writers killed, files damaged, folders that take nothing. The
// store itself is tested in tests/runtime/disk_cache_test.cpp; here what compile_units() makes of
// it.
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "cuda_plan.h"

using namespace fusec;
using namespace fusec::test;
namespace fs = std::filesystem;

namespace {

struct OwnCache {
  fs::path root;
  std::string before = std::getenv("FUSEC_CACHE_DIR") ? std::getenv("FUSEC_CACHE_DIR") : "";
  OwnCache() {
    std::string name = (fs::temp_directory_path() / "fusec-cubins-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    root = name;
    setenv("FUSEC_CACHE_DIR", root.c_str(), 1);
  }
  ~OwnCache() {
    setenv("FUSEC_CACHE_DIR", before.c_str(), 1);
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  std::vector<fs::path> objects() const {
    std::vector<fs::path> out;
    for (const auto& f : fs::directory_iterator(root))
      if (f.path().extension() == ".fso") out.push_back(f.path());
    return out;
  }
};

constexpr int kUnits = 12;

std::vector<cuda::SourceUnit> units(int first = 0) {
  std::vector<cuda::SourceUnit> out;
  for (int i = first; i < first + kUnits; ++i)
    out.push_back({"k" + std::to_string(i), std::string(kScale) + "// " + std::to_string(i) +
                                                std::string(static_cast<size_t>(97 * i), ' ')});
  return out;
}

struct Compiled {
  std::vector<std::string> cubins;
  int hits = -1, misses = -1;
};
Compiled compiled(int first = 0) {
  Compiled out;
  out.cubins = cuda::compile_units(units(first), "sm_90a", 2, &out.hits, &out.misses);
  return out;
}

int finished(pid_t child) {
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

bool no_nvrtc() {
  std::string why;
  if (!cuda::nvrtc_version(&why).empty()) return false;
  std::printf("[SKIP] %s\n", why.c_str());
  return true;
}

}  // namespace

TEST_CASE("cubins: the second compile finds all of them, unless the architecture differs") {
  if (no_nvrtc()) return;
  OwnCache cache;
  Compiled first = compiled(), second = compiled();
  CHECK(first.misses == kUnits);
  CHECK(second.hits == kUnits);
  CHECK(second.misses == 0);
  CHECK(first.cubins == second.cubins);
  int misses = 0;
  cuda::compile_units(units(), "sm_80", 2, nullptr, &misses);
  CHECK(misses == kUnits);
}

TEST_CASE("cubins: processes at once get whole ones, and the next finds them") {
  if (no_nvrtc()) return;
  OwnCache cache;
  setenv("FUSEC_CACHE", "0", 1);
  const std::vector<std::string> expected = compiled().cubins;
  unsetenv("FUSEC_CACHE");
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(compiled().cubins == expected && compiled().cubins == expected ? 0 : 1);
    children.push_back(child);
  }
  for (pid_t child : children) CHECK(finished(child) == 0);
  CHECK(compiled().misses == 0);
}

TEST_CASE("cubins: a process killed while it writes leaves nothing that is wrong") {
  if (no_nvrtc()) return;
  OwnCache cache;
  const std::vector<std::string> expected = compiled().cubins;
  for (int i = 0; i < 6; ++i) {
    for (const fs::path& path : cache.objects()) fs::remove(path);
    pid_t child = fork();
    if (child == 0)
      for (int first = 0;; first = (first + 1) % 400) compiled(first);
    usleep(3000 + 7000 * static_cast<useconds_t>(i));
    kill(child, SIGKILL);
    finished(child);
    CHECK(compiled().cubins == expected);
    CHECK(compiled().misses == 0);
  }
}

TEST_CASE("cubins: a damaged one is compiled again and mended") {
  if (no_nvrtc()) return;
  OwnCache cache;
  const std::vector<std::string> expected = compiled().cubins;
  for (const std::string damage : {"cut", "flipped", "empty", "other"}) {
    CAPTURE(damage);
    std::vector<fs::path> objects = cache.objects();
    std::string other;
    int damaged = 0;
    for (const fs::path& path : objects) {
      std::ifstream in(path, std::ios::binary);
      std::string bytes(std::istreambuf_iterator<char>(in), {}), whole = bytes;
      if (damage == "cut") bytes.resize(bytes.size() - 1);
      if (damage == "flipped") bytes[bytes.size() / 2] ^= 8;
      if (damage == "empty") bytes.clear();
      if (damage == "other" && !other.empty()) bytes = other;  // a whole one, of another key
      other = whole;
      damaged += bytes != whole;
      std::ofstream(path, std::ios::binary) << bytes;
    }
    REQUIRE(damaged >= kUnits - 1);
    Compiled again = compiled();
    CHECK(again.cubins == expected);
    CHECK(again.misses >= kUnits - 1);
    CHECK(compiled().misses == 0);
  }
}

TEST_CASE("cubins: a folder that takes nothing costs one warning") {
  if (no_nvrtc()) return;
  OwnCache cache;
  setenv("FUSEC_CACHE", "0", 1);
  const std::vector<std::string> expected = compiled().cubins;
  unsetenv("FUSEC_CACHE");
  std::ofstream(cache.root / "file") << "";
  const fs::path said = cache.root / "stderr";
  setenv("FUSEC_CACHE_DIR", (cache.root / "file" / "cache").c_str(), 1);
  pid_t child = fork();
  if (child == 0) {
    int to = open(said.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(to, 2);
    bool good =
        compiled().cubins == expected && compiled().cubins == expected && compiled().hits == 0;
    _exit(good ? 0 : 1);
  }
  CHECK(finished(child) == 0);
  std::ifstream in(said);
  std::string text(std::istreambuf_iterator<char>(in), {});
  CHECK(text.starts_with("fusec: warning: the folder of compiled code " + cache.root.string()));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
}
