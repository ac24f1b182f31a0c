// Products that are bound while the program's owner goes on: who waits for them, what they may
// touch, what becomes of their errors. On the stand-in, whose gate holds the thread where a test
// wants it.
#include "gemm_steps.h"

#include <dlfcn.h>

#include <filesystem>
#include <mutex>
#include <thread>

#include "gemm_plan.h"
#include "stand_in/stand_in.h"

using namespace fusec;
using namespace fusec::test;

namespace {

bool absent() { return !on_stand_in() || std::getenv("STAND_IN_NO_CUBLASLT") != nullptr; }

template <class F>
F* of_cublaslt(const char* name) {
  std::string path = std::string(std::getenv("FUSEC_CUDA_PATH")) + "/libcublasLt.so.13";
  void* library = dlopen(path.c_str(), RTLD_NOW);
  REQUIRE(library);
  return reinterpret_cast<F*>(dlsym(library, name));
}
int products() { return of_cublaslt<int()>("fusec_stand_in_products")(); }
std::mutex& gate() { return *of_cublaslt<std::mutex*()>("fusec_stand_in_gate")(); }
StandIn& stand_in() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  REQUIRE(library);
  return *reinterpret_cast<StandIn* (*)()>(dlsym(library, "fusec_stand_in"))();
}

// t = x w; y = t w; s = s + t w, each n x n: products in the arena, into an output, into a state.
struct Chain : PlanBuilder {
  int64_t n;
  int x, t, y, w, s;
  explicit Chain(int64_t n, bool idle = true) : n(n) {
    TensorType matrix{{n, n}, f32};
    x = buffer("x", BufferClass::input, matrix);
    t = buffer("t", BufferClass::temporary, matrix);
    // What no step uses: room for products that are run for nothing but their code.
    if (idle) buffer("idle", BufferClass::temporary, {{2 * n, n}, f32});
    y = buffer("y", BufferClass::output, matrix);
    w = buffer("w", BufferClass::parameter, matrix);
    s = buffer("s", BufferClass::state, matrix);
    product(x, t, 0);
    product(t, y, 0);
    product(t, s, 1).commit = true;
  }
  PlanStep& product(int from, int to, double beta) {
    std::map<std::string, std::variant<int64_t, double, std::string>> attrs;
    for (const char* key : {"m", "n", "k", "lda", "ldb", "ldc"}) attrs[key] = n;
    for (const char* key : {"stride_a", "stride_b", "stride_c", "trans_a", "trans_b"})
      attrs[key] = int64_t{0};
    attrs["batch"] = int64_t{1};
    for (const char* key : {"type_a", "type_b", "type_c"}) attrs[key] = std::string("f32");
    attrs["alpha"] = 1.0, attrs["beta"] = beta;
    return call("gemm", {from, w, to}, attrs);
  }
  int64_t size() const { return n * n; }
  // x of ones, w of twos, s of threes.
  void fill(Program& p) const {
    write_floats(p, x, std::vector<float>(size(), 1));
    write_floats(p, w, std::vector<float>(size(), 2));
    write_floats(p, s, std::vector<float>(size(), 3));
  }
  void check_unchanged(const Program& p) const {
    CHECK(read_floats(p, x, size()) == std::vector<float>(size(), 1));
    CHECK(read_floats(p, w, size()) == std::vector<float>(size(), 2));
    CHECK(read_floats(p, s, size()) == std::vector<float>(size(), 3));
  }
  void check_run(Program& p) const {
    CHECK(p.run());
    float t1 = 2 * static_cast<float>(n), y1 = 2 * static_cast<float>(n) * t1;
    CHECK(read_floats(p, y, size()) == std::vector<float>(size(), y1));
    CHECK(read_floats(p, s, size()) == std::vector<float>(size(), 3 + y1));
  }
};

// A product that only the own kernel takes.
GemmPlan own_product() {
  Case x{8, 12, 8};
  x.ab = x.c = bf16, x.offset = 1;
  return GemmPlan(x);
}

}  // namespace

TEST_CASE("products: idle memory is the longest part of the arena without inputs and outputs") {
  Plan plan;
  auto add = [&](BufferClass cls, int64_t offset, int64_t floats) {
    PlanBuffer b;
    b.cls = cls, b.offset = offset, b.type = {{floats}, f32};
    plan.buffers.push_back(b);
  };
  auto check = [&](int64_t begin, int64_t end) {
    cuda::IdlePart p = cuda::idle_part(plan, 1000);
    CHECK(p.begin == static_cast<cuda::CuAddress>(1000 + begin));
    CHECK(p.end == static_cast<cuda::CuAddress>(1000 + end));
  };
  auto behind = [&] {
    return plan.buffers.back().offset + reserved_bytes(plan.buffers.back().type);
  };
  check(0, 0);
  plan.arena_bytes = 1 << 14;
  check(0, 1 << 14);
  add(BufferClass::temporary, 0, 1 << 12);
  add(BufferClass::parameter, -1, 1 << 20);
  check(0, 1 << 14);
  add(BufferClass::output, 15 << 10, 128);
  check(0, 15 << 10);
  add(BufferClass::input, 1 << 10, 64);
  check(behind(), 15 << 10);
  add(BufferClass::input, 9 << 10, 128);
  check((1 << 10) + reserved_bytes({{64}, f32}), 9 << 10);
  add(BufferClass::output, 0, 1 << 11);  // it covers an input
  check((9 << 10) + reserved_bytes({{128}, f32}), 15 << 10);
  add(BufferClass::output, 0, 1 << 12);  // all
  check(0, 0);
}

TEST_CASE("products: load() returns while algorithms are chosen, and the first run waits") {
  if (absent()) return;
  Chain plan(12);
  std::unique_ptr<Program> p;
  {
    std::lock_guard closed(gate());
    p = plan.load();
    plan.fill(*p);
    plan.check_unchanged(*p);
  }
  plan.check_run(*p);
}

TEST_CASE("products: each kernel runs once before the first run, where nothing holds a value") {
  if (absent()) return;
  Chain plan(16);
  std::unique_ptr<Program> p = plan.load();
  plan.fill(*p);
  int before = products();
  p->backend("gemm");
  plan.check_unchanged(*p);
  CHECK(read_floats(*p, plan.t, plan.size()) == std::vector<float>(plan.size()));
  CHECK(read_floats(*p, plan.y, plan.size()) == std::vector<float>(plan.size()));
  CHECK(products() - before <= 2);  // with and without an addend
  before = products();
  plan.check_run(*p);
  CHECK(products() == before + 3);
}

TEST_CASE("products: what finds no idle memory runs when its step does") {
  if (absent()) return;
  Chain plan(20, false);
  int before = products();
  std::unique_ptr<Program> p = plan.load();
  p->backend("gemm");
  CHECK(products() == before);
  plan.fill(*p);
  plan.check_run(*p);
  CHECK(products() == before + 3);
}

TEST_CASE("products: one that fails ahead of its step is told by its step") {
  if (absent()) return;
  setenv("STAND_IN_ALGORITHMS", "fail", 1);
  Chain plan(24);
  std::unique_ptr<Program> p = plan.load();
  std::string text = error_of([&] { p->run(); }, ErrorKind::device);
  CHECK(has(text, "cublasLtMatmul failed for m 24"));
  CHECK(has(text, "in step 0 (gemm) of a_test"));
  p.reset();
  unsetenv("STAND_IN_ALGORITHMS");
}

TEST_CASE("products: an error of the thread is thrown by whoever needs it, each time") {
  if (absent()) return;
  GemmPlan plan = own_product();
  CHECK(plan.load()->run());
  StandIn& s = stand_in();
  size_t before = s.used;
  std::unique_ptr<Program> p;
  {
    std::lock_guard closed(gate());
    p = plan.load();
    s.fail["cuLibraryLoadData"] = {0, 304};
  }
  for (int i = 0; i < 2; ++i) {
    std::string text = error_of([&] { p->run(); }, ErrorKind::device);
    CHECK(has(text, "cuLibraryLoadData failed while loading the code of gemm"));
    CHECK(has(text, "in step 0 (gemm) of a_test"));
    CHECK(text.find("in step 0") == text.rfind("in step 0"));
  }
  CHECK(has(error_of([&] { p->backend("gemm"); }, ErrorKind::device), "cuLibraryLoadData failed"));
  CHECK(has(error_of([&] { p->run_step(0); }, ErrorKind::device), "cuLibraryLoadData failed"));
  CHECK(has(error_of([&] { p->run_profiled(); }, ErrorKind::device), "cuLibraryLoadData failed"));
  p.reset();
  CHECK(s.used == before);
}

TEST_CASE("products: a program that is never run leaves nothing, whenever it goes") {
  if (absent()) return;
  StandIn& s = stand_in();
  Chain plan(28);
  plan.load()->run();
  size_t before = s.used;
  for (int i = 0; i < 50; ++i) plan.load();
  CHECK(s.used == before);
  for (int i = 0; i < 20; ++i) {
    Case x{8, 8 + 4 * i, 8};  // each is chosen anew
    x.ab = x.c = f16;
    std::unique_ptr<Program> p;
    std::unique_lock closed(gate());
    p = GemmPlan(x).load();
    std::thread gone([&] { p.reset(); });
    closed.unlock();
    gone.join();
  }
  CHECK(s.used == before);
}

TEST_CASE("products: two programs at once, of one model and of two threads") {
  if (absent()) return;
  for (int64_t n : {32, 36, 40}) {
    Chain plan(n);
    std::unique_ptr<Program> first = plan.load(), second = plan.load(first->store());
    plan.fill(*first);
    write_floats(*second, plan.x, std::vector<float>(plan.size(), 1));
    plan.check_run(*second);
    write_floats(*first, plan.s, std::vector<float>(plan.size(), 3));
    plan.check_run(*first);
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([i] {
      Chain plan(44 + 4 * i);
      for (int round = 0; round < 3; ++round) {
        std::unique_ptr<Program> p = plan.load();
        plan.fill(*p);
        plan.check_run(*p);
      }
    });
  for (std::thread& t : threads) t.join();
}

TEST_CASE("products: a temporary is written and read behind those that ran for their code") {
  if (absent()) return;
  Chain plan(56);
  for (int i = 0; i < 5; ++i) {
    std::unique_ptr<Program> p = plan.load();
    plan.fill(*p);
    write_floats(*p, plan.t, std::vector<float>(plan.size(), 5));
    CHECK(read_floats(*p, plan.t, plan.size()) == std::vector<float>(plan.size(), 5));
    p->run_step(1);
    CHECK(read_floats(*p, plan.y, plan.size()) == std::vector<float>(plan.size(), 5 * 2 * 56));
  }
}

// Run by the next one, in a process of its own.
TEST_CASE("products: a process that ends while they are chosen") {
  if (absent() || !std::getenv("GEMM_STEPS_CHILD")) return;
  static std::vector<std::unique_ptr<Program>>& kept = *new std::vector<std::unique_ptr<Program>>;
  for (int64_t n : {60, 64, 68}) kept.push_back(Chain(n).load());
  std::exit(7);
}

TEST_CASE("products: the end of a process waits for the thread") {
  if (absent() || std::getenv("GEMM_STEPS_CHILD")) return;
  std::string command = "GEMM_STEPS_CHILD=1 '" +
                        std::filesystem::read_symlink("/proc/self/exe").string() +
                        "' '--test-case=products: a process that ends while they are chosen' "
                        ">/dev/null 2>&1";
  for (int i = 0; i < 5; ++i) {
    int status = std::system(command.c_str());
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 7);
  }
}
