// The measured choice of an algorithm, on the stand-in, whose algorithms take the times that
// STAND_IN_ALGORITHMS says. What only another process can show (the disk is asked, not the memory
// of this one) is asked of the test case "tuning: a process of its own".
#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "gemm_plan.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// The stand-in has no time of its own for what this process already chose, so each test has a
// product of its own size.
Case product(int64_t n) {
  Case x{8, n, 16};
  x.ab = x.c = bf16;
  return x;
}

bool absent() { return !on_stand_in() || std::getenv("STAND_IN_NO_CUBLASLT") != nullptr; }

int ask(const char* name) {
  std::string path = std::string(std::getenv("FUSEC_CUDA_PATH")) + "/libcublasLt.so.13";
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(library);
  return reinterpret_cast<int (*)()>(dlsym(library, name))();
}

// What the stand-in offers, and a disk cache of one test's own or none, while this lives.
class Environment {
 public:
  explicit Environment(const char* algorithms, bool cache = false) {
    set("STAND_IN_ALGORITHMS", algorithms);
    set("FUSEC_CACHE", cache ? "1" : "0");
    set("FUSEC_CACHE_DIR", folder_.string());
  }
  ~Environment() {
    for (const auto& [name, value] : before_)
      value ? setenv(name.c_str(), value->c_str(), 1) : unsetenv(name.c_str());
    std::filesystem::remove_all(folder_);
  }
  const std::filesystem::path& folder() const { return folder_; }

 private:
  void set(const char* name, const std::string& value) {
    const char* old = std::getenv(name);
    before_.emplace_back(name, old ? std::optional<std::string>(old) : std::nullopt);
    setenv(name, value.c_str(), 1);
  }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("fusec-tune-" + std::to_string(getpid()));
  std::vector<std::pair<std::string, std::optional<std::string>>> before_;
};

cuda::LoadOptions tuning(bool deterministic = false) {
  cuda::LoadOptions options;
  options.tune_gemms = true;
  options.deterministic = deterministic;
  return options;
}

// The algorithm that a product of n columns runs on.
int algorithm_of(const GemmPlan& plan, const cuda::LoadOptions& options) {
  std::unique_ptr<Program> p = plan.load(nullptr, options);
  p->run();
  return ask("fusec_stand_in_last_algorithm");
}

// Runs the child below in a process of its own: "algorithm 3 of 12 products".
std::string in_a_process(const char* algorithms) {
  std::string command = std::string("TUNE_CHILD=1 STAND_IN_ALGORITHMS='") + algorithms + "' '" +
                        std::filesystem::read_symlink("/proc/self/exe").string() +
                        "' '--test-case=tuning: a process of its own' 2>&1";
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe);
  std::string text;
  for (char part[256]; std::fgets(part, sizeof part, pipe);) text += part;
  CHECK(pclose(pipe) == 0);
  size_t at = text.find("algorithm ");
  return at == std::string::npos ? text : text.substr(at, text.find('\n', at) - at);
}

// One way that runs costs two products to try; of several each costs 7 more. Then one of run().
constexpr int kOfThree = 3 * 2 + 3 * 7 + 1;

}  // namespace

TEST_CASE("tuning: a process of its own") {
  if (absent() || !std::getenv("TUNE_CHILD")) return;
  int algorithm = algorithm_of(GemmPlan(product(40)), tuning());
  std::printf("algorithm %d of %d products\n", algorithm, ask("fusec_stand_in_products"));
}

TEST_CASE("tuning: the fastest algorithm is taken, one that fails is not, the first wins a draw") {
  if (absent()) return;
  {
    Environment e("40 fail 10 20");
    CHECK(algorithm_of(GemmPlan(product(44)), {}) == 1);
    CHECK(algorithm_of(GemmPlan(product(44)), tuning()) == 3);
    int before = ask("fusec_stand_in_products");
    CHECK(algorithm_of(GemmPlan(product(44)), tuning()) == 3);  // known to this process
    CHECK(ask("fusec_stand_in_products") == before + 1);
  }
  Environment e("40 10.05 10");
  CHECK(algorithm_of(GemmPlan(product(48)), tuning()) == 2);
}

TEST_CASE("tuning: where no algorithm can be run for measuring, the heuristic's first is taken") {
  if (absent()) return;
  Environment e("fail fail");
  std::unique_ptr<Program> p = GemmPlan(product(52)).load(nullptr, tuning());
  CHECK(has(error_of([&] { p->run(); }, ErrorKind::device), "cublasLtMatmul failed for m 8, n 52"));
}

TEST_CASE("tuning: measuring leaves no trace in the step's memory nor in parameters") {
  if (absent()) return;
  Environment e("3 2 1");
  for (BufferClass cls : {BufferClass::parameter, BufferClass::output}) {
    Case x = product(cls == BufferClass::parameter ? 56 : 60);
    x.beta = 1, x.c = f32;
    GemmPlan plan(x, cls);
    std::unique_ptr<Program> first = plan.load();
    std::vector<float> ones(static_cast<size_t>(x.m * x.n), 1), got(ones.size());
    first->write(plan.c, ones.data(), ones.size() * sizeof(float));
    bool shared = cls == BufferClass::parameter;
    int before = ask("fusec_stand_in_products");
    std::unique_ptr<Program> p = plan.load(shared ? first->store() : nullptr, tuning());
    CHECK(ask("fusec_stand_in_products") == before + kOfThree - 1);
    p->read(plan.c, got.data(), got.size() * sizeof(float));
    for (float v : got) REQUIRE(v == (shared ? 1.0f : 0.0f));
    std::vector<uint16_t> a(static_cast<size_t>(x.m * x.k), 0xffff);
    p->read(plan.a, a.data(), a.size() * 2);
    for (uint16_t v : a) REQUIRE(v == 0);
  }
}

TEST_CASE("tuning: a choice is kept on disk, checked when read, and measured anew if unfit") {
  if (absent()) return;
  namespace fs = std::filesystem;
  Environment e("", true);
  std::string measured = " of " + std::to_string(kOfThree) + " products";
  CHECK(in_a_process("30 10 20") == "algorithm 2" + measured);
  // Kept: other times change nothing.
  CHECK(in_a_process("30 20 10") == "algorithm 2 of 1 products");
  // Damaged: as if it were absent.
  int damaged = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(e.folder()))
    if (entry.path().extension() == ".fso" && entry.file_size() == 64 + 64) {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(64);
      file.put('\7');
      ++damaged;
    }
  CHECK(damaged == 1);
  CHECK(in_a_process("30 20 10") == "algorithm 3" + measured);
  // Whole, but the library does not take it any more.
  CHECK(in_a_process("30 20") ==
        "algorithm 2 of " + std::to_string(2 * 2 + 2 * 7 + 1) + " products");
}

TEST_CASE("tuning: under `deterministic` only where the choice can be kept") {
  if (absent()) return;
  {
    Environment e("30 20 10");
    CHECK(algorithm_of(GemmPlan(product(64)), tuning(true)) == 1);
    CHECK(algorithm_of(GemmPlan(product(64)), tuning(false)) == 3);
  }
  Environment e("30 20 10", true);
  CHECK(algorithm_of(GemmPlan(product(68)), tuning(true)) == 3);
}
