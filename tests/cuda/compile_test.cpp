// compile() for a GPU on the stand-in, whose kernels do nothing here: what is kept on disk, what is
// found there, what is saved.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "fusec/fusec.h"
#include "fusec/inspect.h"
#include "fusec/runtime.h"

using namespace fusec;
namespace fs = std::filesystem;

namespace {

bool idle() {
  if (std::getenv("STAND_IN_IDLE")) return true;
  std::printf("[SKIP] only on the stand-in for the driver\n");
  return false;
}

struct OwnCache {
  fs::path root;
  OwnCache() {
    std::string name = (fs::temp_directory_path() / "fusec-gpu-plans-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()));
    root = name;
    setenv("FUSEC_CACHE_DIR", root.c_str(), 1);
  }
  ~OwnCache() {
    std::error_code ignored;
    fs::remove_all(root, ignored);
  }
};

// Kernels of several schedules, a call with a text, GEMMs, an optimizer with its guard.
struct Model {
  Graph g;
  std::vector<Output> outputs;
  explicit Model(double factor = 3) {
    Tensor index = g.input("index", {16}, i32), table = g.parameter("table", {12, 64});
    Tensor w = g.parameter("w", {64, 64}), lr = g.input("lr", {});
    Tensor y = rms_norm(silu(linear(gather(table, index), w)) * factor);
    for (int i = 0; i < 3; ++i) y = y + gelu(linear(y, w));
    Tensor loss = mean(square(y), {0, 1});
    std::vector<Tensor> parameters = {table, w};
    adamw(lr, parameters, grad(loss, parameters));
    outputs = {{"loss", loss}};
  }
  Executable compiled(CompileOptions options = {}) {
    options.device = "cuda";
    return compile(g, outputs, options);
  }
};

}  // namespace

TEST_CASE("the second compile finds plan and code, whatever the budget; other settings do not") {
  if (!idle()) return;
  OwnCache cache;
  Executable first = Model().compiled();
  CHECK_FALSE(first.times().plan_cached);
  CHECK(first.times().cache_misses > 0);
  Executable second = Model().compiled();
  CHECK(second.times().plan_cached);
  CHECK(second.times().cache_misses == 0);
  CHECK(second.times().cache_hits > 0);
  CHECK(second.times().import == 0);
  CHECK(second.times().source == 0);
  CHECK(print(first.plan()) == print(second.plan()));
  CHECK_FALSE(Model(4).compiled().times().plan_cached);
  CHECK_FALSE(Model().compiled({.fuse = false}).times().plan_cached);
  CHECK_FALSE(Model().compiled({.precision = Precision::bf16}).times().plan_cached);
  CHECK_FALSE(Model().compiled({.sentry = Sentry::check}).times().plan_cached);
  CHECK_FALSE(Model().compiled({.assigns = false}).times().plan_cached);

  const int64_t half = first.memory().peak() / 2;
  Executable tight = Model().compiled({.memory_budget = half});
  CHECK_FALSE(tight.times().plan_cached);
  Executable again = Model().compiled({.memory_budget = half});
  CHECK(again.times().plan_cached);
  CHECK(print(again.plan()) == print(tight.plan()));
  REQUIRE_FALSE(tight.warnings().empty());  // half cannot be met: parameters alone are more
  CHECK(again.warnings() == tight.warnings());
  CHECK_FALSE(Model().compiled({.memory_budget = half + 1}).times().plan_cached);
}

TEST_CASE("library calls in another form are other code for the same plan") {
  if (!idle()) return;
  OwnCache cache;
  Model().compiled();
  CompileTimes exact = Model().compiled({.deterministic = true}).times();
  CHECK(exact.plan_cached);
  CHECK(exact.import == 0);
  CHECK(exact.source > 0);  // made again: not kept under these settings yet
  CHECK(Model().compiled({.deterministic = true}).times().source == 0);
}

TEST_CASE("damaged plans and codes are made again") {
  if (!idle()) return;
  OwnCache cache;
  const std::string plan = print(Model().compiled().plan());
  for (const auto& file : fs::directory_iterator(cache.root)) {
    if (file.path().extension() != ".fso") continue;
    std::fstream bytes(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(fs::file_size(file.path()) / 2));
    bytes.put('\x5a').put('\xa5').put('\x5a');
  }
  Executable f = Model().compiled();
  CHECK_FALSE(f.times().plan_cached);
  CHECK(print(f.plan()) == plan);
  CHECK(Model().compiled().times().plan_cached);
}

TEST_CASE("what is saved on a GPU loads there; an architecture gives the file without one") {
  if (!idle()) return;
  OwnCache cache;
  Model model;
  Executable f = model.compiled();
  const std::string path = (cache.root / "model.fsc").string();
  f.save(path);
  LoadedPlan loaded = load_plan(path, {.share = &f});
  CHECK(print(loaded.plan()) == print(f.plan()));
  loaded.set("index", std::vector<int32_t>(16, 1));
  loaded.set("lr", 1e-3f);
  loaded.set("table", std::vector<float>(12 * 64, 2.0f));
  CHECK(f.get<float>("table")[5] == 2.0f);
  loaded.set("w", std::vector<float>(64 * 64, 2.0f));
  for (int i = 0; i < 3; ++i) CHECK(loaded.run().finite);

  std::vector<std::string> images;
  for (const char* arch : {"sm_80", "sm_90a"}) {
    InspectOptions options;
    options.compile.device = arch;
    options.until = Stage::binary;
    options.image = true;
    images.push_back(inspect(model.g, model.outputs, "graph", options).image);
  }
  CHECK_THROWS_WITH_AS(load_plan_bytes(images[0], "model.fsc"),
                       doctest::Contains("holds code for sm_80, and Stand-in is sm_90a"), Error);
  LoadedPlan made = load_plan_bytes(join_images(images), "model.fsc");
  CHECK(made.backend("kernels").find("for sm_90a") != std::string::npos);
  CHECK_THROWS_WITH_AS(join_images({images[0], images[0]}), doctest::Contains("given twice"),
                       Error);
}

TEST_CASE("a device may be started before it is needed; a wrong one is compile()'s to tell") {
  if (!idle()) return;
  for (const char* device : {"cuda", "auto", "cuda:0", "cuda:7", "cuda:x", "cpu", "sm_90a", "no"})
    std::future<void> started = start_device(device);
  OwnCache cache;
  std::future<void> started = start_device("cuda");
  CHECK(Model().compiled().plan().kernels.size() > 1);
}
