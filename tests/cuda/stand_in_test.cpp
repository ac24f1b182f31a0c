// What goes wrong in a driver, asked for from the stand-in: each is an Error that says so, leaks
// nothing, and what can be done without goes on.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_plan.h"
#include "stand_in/stand_in.h"

using namespace fusec;
using namespace fusec::test;

namespace {

StandIn& stand_in() {
  cuda::device_count();
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  auto* get = reinterpret_cast<StandIn* (*)()>(dlsym(library, "fusec_stand_in"));
  return *get();
}

bool has_part(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

struct Double : PlanBuilder {
  int x, y;
  Double() {
    x = floats("x", BufferClass::input, 300);
    y = floats("y", BufferClass::output, 300);
    step(kernel("scale", kScale), {segment({x, y}, 300)});
  }
};

}  // namespace

TEST_CASE("stand-in: every call that can fail at load is an Error, and nothing leaks") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Double plan;
  plan.load();  // what is kept for good
  size_t before = s.used;
  for (const char* call :
       {"cuStreamCreate", "cuMemHostAlloc", "cuMemAlloc", "cuMemsetD8Async", "cuLibraryLoadData",
        "cuLibraryGetKernel", "cuKernelGetFunction", "cuStreamSynchronize"})
    for (int good = 0; good < 2; ++good) {
      s.fail[call] = {good, 304};
      std::string text = error_of([&] { plan.load(); }, ErrorKind::device);
      if (s.fail.erase(call) > 0) continue;  // there was no second such call
      CAPTURE(call);
      CHECK(has(text, std::string(call) + " failed while "));
      CHECK(has(text, "STAND_IN_ERROR_304: as asked for"));
      CHECK(s.used == before);
    }
  {
    std::unique_ptr<Program> p = plan.load();
    CHECK(s.used > before);
  }
  CHECK(s.used == before);
}

TEST_CASE("stand-in: a driver that fails within a large write is told, and the next one is right") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  PlanBuilder plan;
  constexpr int64_t kLarge = 12 << 18;
  int x = plan.floats("x", BufferClass::input, kLarge);
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, x, ramp(kLarge, 1));
  for (const char* call : {"cuMemcpyHtoDAsync", "cuStreamSynchronize"}) {
    s.fail[call] = {0, 304};
    std::string text = error_of([&] { write_floats(*p, x, ramp(kLarge, 2)); }, ErrorKind::device);
    CHECK(has(text, std::string(call) + " failed while writing input \"x\""));
    write_floats(*p, x, ramp(kLarge, 3));
    CHECK(read_floats(*p, x, kLarge) == ramp(kLarge, 3));
  }
}

TEST_CASE(
    "stand-in: the code of many kernels is loaded by several threads, each failure in place") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  PlanBuilder plan;
  int x = plan.floats("x", BufferClass::input, 300), y = plan.floats("y", BufferClass::output, 300);
  for (int i = 0; i < 24; ++i) {
    std::string text = std::string(kScale) + "// " + std::to_string(i);
    plan.step(plan.kernel("scale", text.c_str()), {segment({x, y}, 300)});
  }
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, x, ramp(300));
  for (int i = 0; i < 24; ++i) {
    p->run_step(i);
    CHECK(read_floats(*p, y, 300)[299] == 2 * 299);
  }
  size_t before = s.used;
  plan.code[17].entry = "none";
  std::string text = error_of([&] { plan.load(); }, ErrorKind::device);
  CHECK(has(text, "looking for \"none\" in the code of k17_scale"));
  CHECK(has(text, "in step 17 (k17_scale) of a_test"));
  CHECK(s.used == before);
}

TEST_CASE("stand-in: a step that cannot be recorded runs step by step, and is said to") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  for (const char* call :
       {"cuStreamBeginCapture", "cuGraphInstantiateWithFlags", "cuLaunchKernel"}) {
    Double plan;
    std::unique_ptr<Program> p = plan.load();
    write_floats(*p, plan.x, ramp(300));
    p->run();
    s.fail[call] = {0, 801};
    for (int i = 0; i < 3; ++i) {
      write_floats(*p, plan.x, ramp(300, static_cast<float>(i)));
      CHECK(p->run());
      CHECK(read_floats(*p, plan.y, 300)[299] == 2 * (299 + static_cast<float>(i)));
    }
    CHECK(has(p->backend("kernels"), "no CUDA graph: "));
    CHECK(has(p->backend("kernels"), call));
  }
}

TEST_CASE("stand-in: once recorded, a run is one launch of a graph") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Double plan;
  std::unique_ptr<Program> p = plan.load();
  p->run();
  p->run();
  int kernels = s.calls["cuLaunchKernel"], graphs = s.calls["cuGraphLaunch"];
  for (int i = 0; i < 4; ++i) p->run();
  CHECK(s.calls["cuLaunchKernel"] == kernels);
  CHECK(s.calls["cuGraphLaunch"] == graphs + 4);
}

TEST_CASE("stand-in: the code of equal kernels is loaded once") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Double plan;
  plan.kernel("scale", kScale);
  plan.step(1, {segment({plan.y, plan.x}, 300)});
  int loads = s.calls["cuLibraryLoadData"];
  plan.load();
  CHECK(s.calls["cuLibraryLoadData"] == loads + 1);
}

TEST_CASE("stand-in: more shared memory than every block has is asked for, or refused") {
  if (!on_stand_in()) return;
  Double plan;
  plan.code[0].dynamic_shared = 100 << 10;
  CHECK(plan.load()->run());
  plan.code[0].dynamic_shared = 300 << 10;
  CHECK(has(error_of([&] { plan.load(); }, ErrorKind::unsupported), "shared memory a block"));
}

TEST_CASE("stand-in: a child of fork() is told that it cannot use the GPU") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Double plan;
  s.fail["cuMemAlloc"] = {0, 3};
  CHECK(!has_part(error_of([&] { plan.load(); }, ErrorKind::device), "fork"));
  pid_t child = fork();
  if (child == 0) {
    s.fail["cuMemAlloc"] = {0, 3};
    std::string text = error_of([&] { plan.load(); }, ErrorKind::device);
    _exit(has(text, "a process that has used a GPU must not fork and use it again") ? 0 : 1);
  }
  REQUIRE(child > 0);
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

// The last one: after it the GPU of this process is gone.
TEST_CASE("stand-in: z: a fault on the GPU is told as such, and later calls fail cleanly") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Double plan;
  std::unique_ptr<Program> p = plan.load();
  p->run();
  s.fail["run scale"] = {0, 700};
  std::string text = error_of([&] { p->run_step(0); }, ErrorKind::device);
  CHECK(has(text, "the GPU is lost to this process"));
  CHECK(has(text, "in step 0 (k0_scale) of a_test"));
  CHECK(has(error_of([&] { p->run(); }, ErrorKind::device), "lost"));
  CHECK(has(error_of([&] { read_floats(*p, plan.y, 300); }, ErrorKind::device), "lost"));
  CHECK(has(error_of([&] { plan.load(); }, ErrorKind::device), "lost"));
}
