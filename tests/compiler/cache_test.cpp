// compile() with code and plans kept on disk, and saved plans: the same bits as without, whatever
// happened to the folder.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "fusec/core/normal_fill.h"
#include "fusec/fusec.h"
#include "fusec/runtime.h"

using namespace fusec;
namespace fs = std::filesystem;

namespace {

// A cache folder of its own for as long as it lives.
struct OwnCache {
  fs::path root;
  std::string before = getenv("FUSEC_CACHE_DIR") ? getenv("FUSEC_CACHE_DIR") : "";
  OwnCache() {
    std::string name = (fs::temp_directory_path() / "fusec-compile-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    root = name;
    use(root);
  }
  ~OwnCache() {
    use(before);
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
  static void use(const fs::path& folder) { setenv("FUSEC_CACHE_DIR", folder.c_str(), 1); }
  std::vector<fs::path> objects() const {
    std::vector<fs::path> out;
    for (const auto& f : fs::directory_iterator(root))
      if (f.path().extension() == ".fso") out.push_back(f.path());
    return out;
  }
};

// A few kernels of every schedule, without a GEMM: libraries' threads do not survive fork(), nor
// does a GPU's context, and what is saved is code for the CPU.
struct Model {
  Graph g;
  std::vector<Output> outputs;
  explicit Model(double factor = 3, int64_t rows = 6) {
    Tensor x = g.input("x", {rows, 40}), w = g.parameter("w", {40});
    Tensor y = rms_norm(silu(x) * factor) * w;
    outputs = {{"y", y}, {"loss", sum(square(y), {0, 1})}, {"columns", sum(x * x, {0})}};
  }
  Executable compiled(CompileOptions options = {}) {
    options.device = "cpu";
    return compile(g, outputs, options);
  }
};

std::vector<float> results(LoadedPlan& f) {
  std::vector<float> x(numel(f.type("x").shape)), w(40, 0.5f);
  for (size_t i = 0; i < x.size(); ++i) x[i] = 0.01f * static_cast<float>(i % 97) - 0.3f;
  f.set("x", x);
  f.set("w", w);
  f.run();
  std::vector<float> out;
  for (const char* name : {"y", "loss", "columns"})
    for (float v : f.get<float>(name)) out.push_back(v);
  return out;
}

std::vector<float> compiled_results(double factor = 3) {
  Executable f = Model(factor).compiled();
  return results(f);
}

std::vector<float> uncached_results() {
  setenv("FUSEC_CACHE", "0", 1);
  std::vector<float> out = compiled_results();
  unsetenv("FUSEC_CACHE");
  return out;
}

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

int finished(pid_t child) {
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

}  // namespace

TEST_CASE("cache: the second compile takes plan and code from disk and gives the same bits") {
  OwnCache cache;
  const std::vector<float> expected = uncached_results();
  CHECK(cache.objects().empty());
  Executable first = Model().compiled();
  const int kernels = static_cast<int>(first.plan().kernels.size());
  REQUIRE(kernels >= 2);
  CHECK(first.times().cache_hits == 0);
  CHECK(first.times().cache_misses == kernels);
  CHECK_FALSE(first.times().plan_cached);
  CHECK(cache.objects().size() == static_cast<size_t>(kernels) + 1);
  Executable second = Model().compiled();
  CHECK(second.times().cache_hits == kernels);
  CHECK(second.times().cache_misses == 0);
  CHECK(second.times().plan_cached);
  CHECK(print(first.plan()) == print(second.plan()));
  CHECK(results(first) == expected);
  CHECK(results(second) == expected);
}

TEST_CASE("cache: what differs is compiled, what is equal is not") {
  OwnCache cache;
  const int kernels = static_cast<int>(Model().compiled().plan().kernels.size());
  CompileTimes factor = Model(4).compiled().times();  // another constant in one kernel
  CHECK_FALSE(factor.plan_cached);
  CHECK(factor.cache_misses >= 1);
  CHECK(factor.cache_hits + factor.cache_misses == kernels);
  CHECK(factor.cache_hits >= 1);
  CHECK(Model(3, 7).compiled().times().cache_misses >= 1);
  CHECK_FALSE(Model().compiled({.fuse = false}).times().plan_cached);
  CHECK_FALSE(Model().compiled({.precision = Precision::bf16}).times().plan_cached);
  CHECK(Model().compiled({.fuse = false}).times().plan_cached);
  CHECK(Model().compiled({.threads = 3}).times().plan_cached);  // threads change no plan
  // Another name for people: another plan, the same code.
  Model named;
  named.outputs[0].name = "other";
  CompileTimes renamed = named.compiled().times();
  CHECK_FALSE(renamed.plan_cached);
  CHECK(renamed.cache_misses == 0);
}

TEST_CASE("cache: a plan under a memory budget is kept with what it had to say, per budget") {
  OwnCache cache;
  const int64_t peak = Model().compiled().memory().peak();
  for (int64_t budget : {int64_t{1}, 2 * peak}) {
    Executable first = Model().compiled({.memory_budget = budget});
    CHECK_FALSE(first.times().plan_cached);
    Executable second = Model().compiled({.memory_budget = budget});
    CHECK(second.times().plan_cached);
    CHECK(second.times().import == 0);
    CHECK(second.warnings() == first.warnings());
    CHECK(second.warnings().empty() == (budget > peak));
    CHECK(second.memory().peak() == first.memory().peak());
    CHECK(print(second.plan()) == print(first.plan()));
    CHECK(results(second) == results(first));
  }
  // What the libraries' scratch depends on decides there, too.
  CHECK_FALSE(Model().compiled({.threads = 3, .memory_budget = 1}).times().plan_cached);
}

TEST_CASE("cache: every part of a recorded graph is part of the key") {
  OwnCache cache;
  // Each differs from the first in one thing that no name shows.
  auto cached = [](int variant) {
    Graph g;
    Tensor x = g.input("x", {4, 6}), w = g.parameter("w", {6, 6});
    Tensor c = g.constant(std::vector<float>{1, 2, variant == 1 ? 4.f : 3.f, 4, 5, 6}, {6});
    Tensor p = variant == 2 ? permute(w, {1, 0}) : permute(w, {0, 1});
    Tensor y = einsum(variant == 3 ? "mk,kn->mn" : "mk,nk->mn", x, p) + c;
    y = slice(y, 1, 0, 3, variant == 4 ? 2 : 1);
    Tensor s = variant == 5 ? max(y, {1}) : variant == 6 ? sum(y, {0}) : sum(y, {1});
    s = cumsum(s, 0, variant == 7);
    s = s * (variant == 8 ? -0.0 : 0.0);
    if (variant == 9) g.guard(sum(s, {0}));
    if (variant == 10) g.assign(w, w * 2.0);
    std::vector<Output> outputs = {{"s", s}, {"y", y}};
    if (variant == 11) std::swap(outputs[0], outputs[1]);
    return compile(g, outputs, {.device = "cpu"}).times().plan_cached;
  };
  for (int variant = 0; variant <= 11; ++variant) {
    CAPTURE(variant);
    CHECK_FALSE(cached(variant));
    CHECK(cached(variant));
  }
}

TEST_CASE("fill: values are made in place, in pieces; names and errors as set()") {
  Graph g;
  constexpr int64_t kRows = 700, kColumns = 1000;  // more than two pieces, and a rest
  Tensor x = g.input("x", {kRows, kColumns}), w = g.parameter("w", {kColumns});
  Executable f = compile(g, {{"y", x * w}}, {.device = "cpu"});
  auto make = [](int64_t begin, int64_t bytes, void* out) {
    for (int64_t i = 0; i < bytes / 4; ++i)
      static_cast<float*>(out)[i] = static_cast<float>(begin / 4 + i);
  };
  f.fill({{"x", make}, {"w", make}});
  f.run();
  std::vector<float> y = f.get<float>("y");
  for (int64_t at = 0; at < kRows * kColumns; ++at)
    REQUIRE(y[static_cast<size_t>(at)] ==
            static_cast<float>(at) * static_cast<float>(at % kColumns));
  CHECK_THROWS_WITH_AS(f.fill({{"v", make}}), doctest::Contains("no input"), Error);
  CHECK_THROWS_WITH_AS(f.fill({{"y", make}}), doctest::Contains("only a run writes"), Error);
  auto fails = [](int64_t, int64_t, void*) { throw std::runtime_error("no value"); };
  CHECK_THROWS_WITH_AS(f.fill({{"x", fails}}), "no value", std::runtime_error);
}

TEST_CASE("fill_normal: the numbers of its function; names and errors as set()") {
  Graph g;
  constexpr int64_t kSize = 700001;  // more than two pieces, and a rest
  Tensor x = g.input("x", {kSize}), w = g.parameter("w", {}), h = g.input("h", {8}, bf16);
  Executable f = compile(g, {{"y", x * w}, {"z", h + h}}, {.device = "cpu"});
  f.fill_normal({{"x", 0.5f, 3, 4}, {"w", 2, 5, 6}});
  f.set("h", std::vector<uint16_t>(8, 0));
  f.run();
  std::vector<float> numbers(kSize), y = f.get<float>("y");
  float by = 0;
  fill_normal(numbers.data(), 0, kSize, 0.5f, 3, 4);
  fill_normal(&by, 0, 1, 2, 5, 6);
  for (size_t i = 0; i < numbers.size(); ++i) REQUIRE(y[i] == numbers[i] * by);
  CHECK_THROWS_WITH_AS(f.fill_normal({{"v"}}), doctest::Contains("no input"), Error);
  CHECK_THROWS_WITH_AS(f.fill_normal({{"y"}}), doctest::Contains("only a run writes"), Error);
  CHECK_THROWS_WITH_AS(f.fill_normal({{"h"}}),
                       doctest::Contains("normal numbers are drawn for f32"), Error);
}

TEST_CASE("cache: damaged entries are compiled again and mended") {
  OwnCache cache;
  const std::vector<float> expected = compiled_results();
  int round = 0;
  for (const auto& damage : {std::string("cut"), std::string("flipped"), std::string("version")}) {
    CAPTURE(damage);
    for (const fs::path& path : cache.objects()) {
      std::string bytes = slurp(path);
      if (damage == "cut") bytes.resize(bytes.size() / 2);
      if (damage == "flipped") bytes[bytes.size() - 7] ^= 4;
      if (damage == "version") bytes[8] = 77;
      std::ofstream(path, std::ios::binary) << bytes;
    }
    Executable f = Model().compiled();
    CHECK(f.times().cache_hits == 0);
    CHECK_FALSE(f.times().plan_cached);
    CHECK(results(f) == expected);
    CHECK(Model().compiled().times().cache_misses == 0);
    ++round;
  }
  CHECK(round == 3);
}

TEST_CASE("cache: processes that compile at once, and processes killed while they compile") {
  OwnCache cache;
  const std::vector<float> expected = uncached_results();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) {
    pid_t child = fork();
    if (child == 0) _exit(compiled_results() == expected ? 0 : 1);
    children.push_back(child);
  }
  for (pid_t child : children) CHECK(finished(child) == 0);
  CHECK(Model().compiled().times().plan_cached);
  for (int i = 0; i < 8; ++i) {
    for (const fs::path& path : cache.objects()) fs::remove(path);
    pid_t child = fork();
    if (child == 0)
      for (int j = 0;; ++j) Model(5 + j).compiled();
    usleep(5000 + 9000 * i);
    kill(child, SIGKILL);
    finished(child);
    CHECK(compiled_results() == expected);
    CHECK(Model().compiled().times().cache_misses == 0);
  }
}

TEST_CASE("cache: a folder that can not be written costs one warning") {
  OwnCache cache;
  std::ofstream(cache.root / "file") << "";
  fs::path said = cache.root / "stderr";
  OwnCache::use(cache.root / "file" / "cache");
  const std::vector<float> expected = uncached_results();
  pid_t child = fork();
  if (child == 0) {
    int to = open(said.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(to, 2);
    bool good = compiled_results() == expected && compiled_results() == expected &&
                Model(9).compiled().times().cache_hits == 0;
    _exit(good ? 0 : 1);
  }
  CHECK(finished(child) == 0);
  std::string text = slurp(said);
  CHECK(text.starts_with("fusec: warning: the folder of compiled code " + cache.root.string()));
  CHECK(std::count(text.begin(), text.end(), '\n') == 1);
}

TEST_CASE("save and load_plan: the same bits, shared parameters, errors") {
  OwnCache cache;
  Executable f = Model().compiled();
  const std::vector<float> expected = results(f);
  const std::string path = (cache.root / "model.fsc").string();
  f.save(path);
  LoadedPlan loaded = load_plan(path);
  CHECK(print(loaded.plan()) == print(f.plan()));
  CHECK(results(loaded) == expected);
  LoadedPlan sharing = load_plan(path, {.share = &f});
  f.set("w", std::vector<float>(40, 7.0f));
  CHECK(sharing.get<float>("w")[39] == 7.0f);
  Executable evaluation = Model().compiled({.share = &loaded});
  CHECK(evaluation.get<float>("w")[0] == 0.5f);
  CHECK_THROWS_WITH_AS(f.save((cache.root / "none" / "x.fsc").string()),
                       doctest::Contains("cannot be written"), Error);
  std::string bytes = slurp(path);
  bytes[bytes.size() / 2] ^= 1;
  CHECK_THROWS_WITH_AS(load_plan_bytes(bytes, "x"), doctest::Contains("checksum"), Error);
}
