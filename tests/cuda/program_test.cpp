// The executor: steps in order, graphs, tables, shared memory, guards, errors. Kernels are those of
// cuda_plan.h, so that what is tested is the launches and not the code generator.
#include <cmath>
#include <limits>

#include "cuda_plan.h"

using namespace fusec;
using namespace fusec::test;

namespace {

// y = 2 x; s = s + y.
struct Accumulate : PlanBuilder {
  int x, y, s;
  int64_t n;
  explicit Accumulate(int64_t n) : n(n) {
    x = floats("x", BufferClass::input, n);
    y = floats("y", BufferClass::output, n);
    s = floats("s", BufferClass::state, n);
    int scale = kernel("scale", kScale), add = kernel("add", kAdd);
    step(scale, {segment({x, y}, n)});
    step(add, {segment({y, s}, n)}).commit = true;
  }
};

// Guards x, then s = s + x.
struct Guarded : PlanBuilder {
  int x, s;
  Guarded() {
    x = floats("x", BufferClass::input, 1);
    s = floats("s", BufferClass::state, 1);
    call("guard", {x}, {{"type", std::string("f32")}});
    step(kernel("add", kAdd), {segment({x, s}, 1)}).commit = true;
  }
};

// out = table[index]; s = s + out.
struct Gather : PlanBuilder {
  int table, index, out, s;
  Gather() {
    table = floats("table", BufferClass::parameter, 5);
    index = buffer("index", BufferClass::input, {{4}, i32});
    out = floats("out", BufferClass::output, 4);
    s = floats("s", BufferClass::state, 4);
    call("gather", {table, index, out},
         {{"rows", int64_t{5}},
          {"count", int64_t{4}},
          {"width", int64_t{1}},
          {"type", std::string("f32")},
          {"index_type", std::string("i32")}});
    step(kernel("add", kAdd), {segment({out, s}, 4)}).commit = true;
  }
};

}  // namespace

TEST_CASE("a replayed graph computes what the first run did, on new inputs and states") {
  if (no_gpu()) return;
  for (int64_t n : {1, 127, 128, 129, 5000}) {
    CAPTURE(n);
    Accumulate plan(n);
    std::unique_ptr<Program> graph = plan.load(), eager = plan.load();
    for (int run = 0; run < 5; ++run) {
      std::vector<float> x = ramp(n, static_cast<float>(run));
      write_floats(*graph, plan.x, x);
      write_floats(*eager, plan.x, x);
      CHECK(graph->run());
      eager->run_step(0);
      eager->run_step(1);
      CHECK(read_floats(*graph, plan.y, n) == read_floats(*eager, plan.y, n));
      CHECK(read_floats(*graph, plan.s, n) == read_floats(*eager, plan.s, n));
    }
    CHECK(read_floats(*graph, plan.s, n)[0] == 2 * (0 + 1 + 2 + 3 + 4));
    CHECK(has(graph->backend("kernels"), "2 kernels compiled by NVRTC"));
    CHECK(has(graph->backend("kernels"), "1 CUDA graph"));
  }
}

TEST_CASE("a profiled run is a run, with a time for each step") {
  if (no_gpu()) return;
  Accumulate plan(300);
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, plan.x, ramp(300));
  std::vector<StepTime> times = p->run_profiled().steps;
  REQUIRE(times.size() == 2);
  for (int i = 0; i < 2; ++i) {
    CHECK(times[i].step == i);
    CHECK(times[i].seconds > 0);
    CHECK(times[i].seconds < 10);
  }
  CHECK(read_floats(*p, plan.s, 300)[299] == 2 * 299);
}

TEST_CASE("one launch over a table serves segments of any length, empty ones too") {
  if (no_gpu()) return;
  PlanBuilder b;
  std::vector<int64_t> sizes = {1, 128, 0, 129, 1000, 0, 5};
  std::vector<Segment> segments;
  std::vector<int> in, out;
  for (size_t i = 0; i < sizes.size(); ++i) {
    in.push_back(b.floats("x" + std::to_string(i), BufferClass::input, sizes[i]));
    out.push_back(b.floats("y" + std::to_string(i), BufferClass::output, sizes[i]));
    segments.push_back(segment({in[i], out[i]}, sizes[i]));
  }
  int scales = b.kernel("scales", kScales, true);
  b.step(scales, segments);
  b.step(scales, {segment({in[4], out[4]}, 0)});     // nothing to do: no launch
  b.step(scales, {segment({out[4], out[3]}, 100)});  // a table of one row
  std::unique_ptr<Program> p = b.load();
  for (size_t i = 0; i < sizes.size(); ++i) write_floats(*p, in[i], ramp(sizes[i], 7));
  for (int run = 0; run < 3; ++run) {
    p->run();
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::vector<float> y = read_floats(*p, out[i], sizes[i]), x = ramp(sizes[i], 7);
      for (int64_t j = 0; j < sizes[i]; ++j) CHECK(y[j] == (i == 3 && j < 100 ? 4 : 2) * x[j]);
    }
  }
  int64_t held = b.plan.planned_bytes() + cuda::workspace_bytes(b.plan);
  CHECK(p->measured_bytes() <= held);
  CHECK(p->measured_bytes() >= b.plan.planned_bytes());
  CHECK(has(p->backend("optimizer"), "7 tensor updates in 1 horizontal steps"));
}

TEST_CASE("a step of several segments needs code that takes a table") {
  if (no_gpu()) return;
  PlanBuilder b;
  int x = b.floats("x", BufferClass::input, 4), y = b.floats("y", BufferClass::output, 4);
  b.step(b.kernel("scale", kScale), {segment({x, y}, 4), segment({x, y}, 4)});
  CHECK(has(error_of([&] { b.load(); }, ErrorKind::internal), "its code takes one"));
}

TEST_CASE("constants are there, states start at zero, all memory is the plan's") {
  if (no_gpu()) return;
  PlanBuilder b;
  std::vector<float> c = {3, 1, 4, 1, 5};
  std::string bytes(reinterpret_cast<const char*>(c.data()), c.size() * 4);
  int constant = b.buffer("c", BufferClass::constant, {{5}, f32}, bytes);
  int other = b.buffer("d", BufferClass::constant, {{2}, f32}, bytes.substr(8, 8));
  int y = b.floats("y", BufferClass::output, 5), z = b.floats("z", BufferClass::output, 2);
  int s = b.floats("s", BufferClass::state, 5), none = b.floats("none", BufferClass::state, 0);
  int scale = b.kernel("scale", kScale);
  b.step(scale, {segment({constant, y}, 5)});
  b.step(scale, {segment({other, z}, 2)});
  std::unique_ptr<Program> p = b.load();
  CHECK(read_floats(*p, s, 5) == std::vector<float>(5));
  p->write(none, nullptr, 0);
  p->read(none, nullptr, 0);
  p->run();
  CHECK(read_floats(*p, y, 5) == std::vector<float>{6, 2, 8, 2, 10});
  CHECK(read_floats(*p, z, 2) == std::vector<float>{8, 2});
  CHECK(p->measured_bytes() <= b.plan.planned_bytes() + cuda::workspace_bytes(b.plan));
}

TEST_CASE("programs share parameters and states by name, of one type") {
  if (no_gpu()) return;
  Accumulate plan(40);
  std::unique_ptr<Program> first = plan.load(), second = plan.load(first->store());
  write_floats(*first, plan.x, ramp(40));
  write_floats(*second, plan.x, ramp(40));
  first->run();
  second->run();
  CHECK(read_floats(*first, plan.s, 40)[39] == 4 * 39);
  first.reset();  // the other one keeps what they share
  second->run();
  CHECK(read_floats(*second, plan.s, 40)[39] == 6 * 39);
  Accumulate longer(41);
  std::string text = error_of([&] { longer.load(second->store()); }, ErrorKind::user);
  CHECK(has(text, "state \"s\" is f32[41]"));
  CHECK(has(text, "f32[40]"));
  struct Foreign : PersistentStore {};
  CHECK(has(error_of([&] { plan.load(std::make_shared<Foreign>()); }, ErrorKind::user),
            "does not run on a GPU"));
}

TEST_CASE("sizes of what is read and written are checked") {
  if (no_gpu()) return;
  Accumulate plan(40);
  std::unique_ptr<Program> p = plan.load();
  std::vector<float> v(41);
  CHECK(has(error_of([&] { write_floats(*p, plan.x, v); }, ErrorKind::user),
            "input \"x\" is f32[40], 160 bytes; got 164"));
  CHECK(has(error_of([&] { p->read(plan.s, v.data(), 8); }, ErrorKind::user), "got 8"));
  CHECK(has(error_of([&] { p->read(9, v.data(), 8); }, ErrorKind::internal), "no buffer 9"));
  CHECK(has(error_of([&] { p->run_step(2); }, ErrorKind::internal), "no step 2"));
}

TEST_CASE("a guard stops the commit steps of its own run and of no other") {
  if (no_gpu()) return;
  Guarded plan;
  std::unique_ptr<Program> p = plan.load();
  float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  float expected = 0;
  for (float x : {1.0f, 2.0f, nan, 4.0f, inf, -inf, 8.0f, nan}) {
    CAPTURE(x);
    write_floats(*p, plan.x, {x});
    CHECK(p->run() == std::isfinite(x));
    if (std::isfinite(x)) expected += x;
    CHECK(read_floats(*p, plan.s, 1)[0] == expected);
  }
}

TEST_CASE("a commit GEMM obeys a guard") {
  if (no_gpu()) return;
  PlanBuilder b;
  int x = b.floats("x", BufferClass::input, 1);
  int a = b.buffer("a", BufferClass::input, {{8, 8}, f32});
  int s = b.buffer("s", BufferClass::state, {{8, 8}, f32});
  b.call("guard", {x}, {{"type", std::string("f32")}});
  std::map<std::string, std::variant<int64_t, double, std::string>> attrs;
  for (const char* key : {"m", "n", "k", "lda", "ldb", "ldc"}) attrs[key] = int64_t{8};
  for (const char* key : {"stride_a", "stride_b", "stride_c", "trans_a", "trans_b"})
    attrs[key] = int64_t{0};
  attrs["batch"] = int64_t{1};
  for (const char* key : {"type_a", "type_b", "type_c"}) attrs[key] = std::string("f32");
  attrs["alpha"] = 1.0, attrs["beta"] = 1.0;
  b.call("gemm", {a, a, s}, attrs).commit = true;
  std::unique_ptr<Program> p = b.load();
  write_floats(*p, a, std::vector<float>(64, 1));
  float expected = 0;
  for (float v : {1.0f, std::nanf(""), 1.0f, std::nanf(""), 1.0f}) {
    write_floats(*p, x, {v});
    CHECK(p->run() == std::isfinite(v));
    if (std::isfinite(v)) expected += 8;
    CHECK(read_floats(*p, s, 64) == std::vector<float>(64, expected));
  }
  CHECK(has(p->backend("gemm"), "a guard may stop it"));
}

TEST_CASE("an index out of range is the CPU's error, and commits nothing") {
  if (no_gpu()) return;
  Gather plan;
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, plan.table, {10, 20, 30, 40, 50});
  auto run = [&](std::vector<int> index) {
    p->write(plan.index, index.data(), index.size() * 4);
    p->run();
  };
  std::vector<float> sum(4);
  for (int i = 0; i < 2; ++i) {
    run({0, 4, -1, 2});
    CHECK(read_floats(*p, plan.out, 4) == std::vector<float>{10, 50, 0, 30});
    std::string text = error_of([&] { run({1, 5, 1, 77}); }, ErrorKind::user);
    CHECK(has(text,
              "gather: index 5 at position 1 is out of range; the table has 5 rows, so expected 0 "
              "to 4 (or a negative index for none)"));
    CHECK(has(text, "in step 0 (gather) of a_test"));
    CHECK(read_floats(*p, plan.s, 4)[1] == static_cast<float>(50 * (i + 1)));
  }
}

TEST_CASE("a checked run names the first tensor that is not finite, and undoes the step") {
  if (no_gpu()) return;
  Accumulate plan(50);
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, plan.x, ramp(50));
  CHECK(p->run_checked(true).finite);
  CHECK(read_floats(*p, plan.s, 50)[49] == 2 * 49);

  std::vector<float> large = ramp(50);
  large[31] = 3e38f;  // twice that is no float
  write_floats(*p, plan.x, large);
  CheckedRun run = p->run_checked(true);
  CHECK(!run.finite);
  REQUIRE(run.first);
  CHECK(run.first->step == 0);
  CHECK(run.first->index == 31);
  CHECK(has(run.first->tensor, "output \"y\""));
  CHECK(read_floats(*p, plan.s, 50)[49] == 2 * 49);  // not committed

  // A fault of the commit itself is undone.
  std::vector<float> state(50, 3e38f), x(50, 1e38f);
  write_floats(*p, plan.s, state);
  write_floats(*p, plan.x, x);
  run = p->run_checked(true);
  CHECK(!run.finite);
  REQUIRE(run.first);
  CHECK(run.first->step == 1);
  CHECK(read_floats(*p, plan.s, 50) == state);
  // A run stopped by its guard is repeated without committing.
  Guarded guarded;
  p = guarded.load();
  write_floats(*p, guarded.x, {std::nanf("")});
  CHECK(!p->run());
  run = p->run_checked(false);
  CHECK(!run.finite);
  REQUIRE(run.first);
  CHECK(run.first->step == -1);
}

TEST_CASE("what does not fit is said with what was asked for and what there is") {
  if (no_gpu()) return;
  PlanBuilder b;
  b.buffer("s", BufferClass::state, {{1 << 20}, f32});
  b.buffer("huge", BufferClass::parameter, {{cuda::free_memory(0).total / 2}, f32});
  std::string text = error_of([&] { b.load(); }, ErrorKind::device);
  cuda::FreeMemory before = cuda::free_memory(0);  // what a first load keeps for good is taken
  CHECK(has(text, "parameter \"huge\""));
  CHECK(has(text, "are free of"));
  CHECK(has(text, cuda::device_info(0).name));
  bool typed = false;
  try {
    b.load();
  } catch (const OutOfMemory&) {
    typed = true;
  }
  CHECK(typed);
  // Nothing is left of what was allocated before it.
  CHECK(cuda::free_memory(0).free + (1 << 21) >= before.free);
  Accumulate plan(10);
  CHECK(plan.load()->run());
}

TEST_CASE("code for another GPU is refused with the reason") {
  if (no_gpu() || on_stand_in()) return;
  Accumulate plan(10);
  std::string arch = cuda::device_info(0).arch() == "sm_80" ? "sm_90a" : "sm_80";
  if (cuda::device_info(0).major == 8 && arch == "sm_80") return;  // 8.x runs it
  plan.code[0].cubin = cuda::compile_source(kScale, "scale", arch).bytes;
  // A driver refuses it when it is loaded, or loads it and refuses the kernel in it.
  std::string text = error_of([&] { plan.load(); }, ErrorKind::device);
  bool loading = has(text, "cuLibraryLoadData failed while loading the code of k0_scale");
  bool looking =
      has(text, "cuLibraryGetKernel failed while looking for \"scale\" in the code of k0_scale");
  CAPTURE(text);
  CHECK((loading || looking));
  CHECK(has(text, "CUDA_ERROR_NO_BINARY_FOR_GPU"));
}
