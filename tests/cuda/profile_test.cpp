// Profiles of runs: what CUPTI reports of a replayed graph, given to the steps; and events where
// that cannot be.
#include <dlfcn.h>

#include "cuda_plan.h"
#include "profiled_run.h"
#include "stand_in/stand_in.h"

using namespace fusec;
using namespace fusec::test;

namespace {

StandIn& stand_in() {
  cuda::device_count();
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  return *reinterpret_cast<StandIn* (*)()>(dlsym(library, "fusec_stand_in"))();
}

// y = 2 x; c = y y (16 x 16, by cuBLASLt); nothing; s = s + y.
struct Mixed : PlanBuilder {
  int x, y, c, s;
  Mixed() {
    x = floats("x", BufferClass::input, 256);
    y = floats("y", BufferClass::output, 256);
    c = floats("c", BufferClass::output, 256);
    s = floats("s", BufferClass::state, 256);
    int scale = kernel("scale", kScale), add = kernel("add", kAdd);
    step(scale, {segment({x, y}, 256)});
    std::map<std::string, std::variant<int64_t, double, std::string>> attrs;
    for (const char* key : {"m", "n", "k", "lda", "ldb", "ldc"}) attrs[key] = int64_t{16};
    for (const char* key : {"stride_a", "stride_b", "stride_c"}) attrs[key] = int64_t{256};
    for (const char* key : {"trans_a", "trans_b"}) attrs[key] = int64_t{0};
    for (const char* key : {"type_a", "type_b", "type_c"}) attrs[key] = std::string("f32");
    attrs["batch"] = int64_t{1}, attrs["alpha"] = 1.0, attrs["beta"] = 0.0;
    call("gemm", {y, y, c}, attrs);
    step(scale, {segment({x, y}, 0)});
    step(add, {segment({y, s}, 256)}).commit = true;
  }
};

std::unique_ptr<Program> warm(const Mixed& plan) {
  std::unique_ptr<Program> p = plan.load();
  write_floats(*p, plan.x, ramp(256));
  p->run();
  return p;
}

double ns(double t) { return t * 1e-9; }

cuda::Activity kernel(const std::string& name, uint64_t start, uint64_t end) {
  return {true, name, start, end};
}
cuda::Activity transfer(uint64_t start, uint64_t end) { return {false, "", start, end}; }

std::string mismatch(const std::vector<cuda::StepNodes>& steps,
                     const std::vector<cuda::Activity>& ran) {
  std::string why;
  CHECK_FALSE(cuda::times_of(steps, 1, ran, &why).has_value());
  return why;
}

}  // namespace

TEST_CASE("activities are given to steps by their order; gaps are what lies between") {
  // A kernel; a GEMM that fills, multiplies and adds up; nothing; two kernels.
  const std::vector<cuda::StepNodes> steps = {
      {{"a"}, 1, 0}, {{}, 2, 1}, {{}, 0, 0}, {{"b", "c"}, 2, 0}};
  std::vector<cuda::Activity> ran = {transfer(10, 20),       kernel("a", 100, 200),
                                     transfer(210, 220),     kernel("gemm", 220, 300),
                                     kernel("sum", 310, 330), kernel("b", 400, 450),
                                     kernel("c", 450, 500),  transfer(600, 700)};
  std::string why;
  std::optional<ProfiledRun> run = cuda::times_of(steps, 1, ran, &why);
  REQUIRE(run);
  REQUIRE(run->steps.size() == 4);
  const double seconds[] = {100, 110, 0, 100}, starts[] = {0, 110, 230, 300};
  for (size_t i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(run->steps[i].step == static_cast<int>(i));
    CHECK(run->steps[i].seconds == doctest::Approx(ns(seconds[i])));
    CHECK(run->steps[i].start == doctest::Approx(ns(starts[i])));
  }
  CHECK(run->gap == doctest::Approx(ns(10 + 10 + 70)));
  CHECK(run->steps[1].library_kernels == "gemm, sum");
  CHECK(run->steps[0].library_kernels == "");

  // The fill is not reported, or another copy lies between: the kernels tell all the same.
  std::vector<cuda::Activity> other = ran;
  other.erase(other.begin() + 2);
  other.insert(other.begin() + 5, transfer(460, 461));
  run = cuda::times_of(steps, 1, other, &why);
  REQUIRE(run);
  CHECK(run->steps[1].seconds == doctest::Approx(ns(100)));
  CHECK(run->steps[3].seconds == doctest::Approx(ns(100)));

  // Kernels that overlap leave no gap, and none below 0.
  run = cuda::times_of({{{"a"}, 1, 0}, {{"b"}, 1, 0}}, 0,
                       {kernel("a", 100, 200), kernel("b", 150, 180)}, &why);
  REQUIRE(run);
  CHECK(run->gap == 0);
  CHECK(cuda::times_of({}, 1, {}, &why)->gap == 0);

  other = ran;
  other[1].name = "z";
  CHECK(has(mismatch(steps, other), "found \"z\", expected \"a\" of step 0"));
  other = ran;
  std::swap(other[5].name, other[6].name);
  CHECK(has(mismatch(steps, other), "found \"c\", expected \"b\" of step 3"));
  other = ran;
  other.erase(other.begin() + 6);
  CHECK(has(mismatch(steps, other), "found 1 kernels for step 3, expected 2"));
  other = ran;
  other.push_back(kernel("d", 800, 900));
  CHECK(has(mismatch(steps, other), "\"d\" runs after the last step"));
  other = ran;
  other[3].start = other[3].end = 0;
  CHECK(has(mismatch(steps, other), "no time for gemm"));
}

TEST_CASE("a profile of a GPU says what timed it") {
  if (no_gpu()) return;
  Mixed plan;
  std::unique_ptr<Program> p = warm(plan);
  for (int i = 0; i < 3; ++i) {
    ProfiledRun run = p->run_profiled();
    CAPTURE(run.clock);
    REQUIRE(run.steps.size() == 4);
    if (i == 0) std::printf("profiles: %s\n", run.clock.c_str());
    const bool traced = run.clock.find("CUPTI of CUDA") == 0;
    CHECK((traced ? run.gap >= 0 : has(run.clock, "events between launches")));
    for (size_t s = 0; traced && s + 1 < 4; ++s)
      CHECK(run.steps[s + 1].start + 1e-12 >= run.steps[s].start + run.steps[s].seconds);
    if (traced)
      for (size_t s : {0, 1, 3}) CHECK(run.steps[s].seconds > 0);
  }
}

TEST_CASE("stand-in: a profiled run is one replay, with the times of its records") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Mixed plan;
  std::unique_ptr<Program> p = warm(plan);
  for (int i = 0; i < 3; ++i) {
    const int launches = s.calls["cuLaunchKernel"], graphs = s.calls["cuGraphLaunch"];
    ProfiledRun run = p->run_profiled();
    CHECK(has(run.clock, "CUPTI of CUDA 13.0 ("));
    CHECK(has(run.clock, "libcupti.so.13), one replay of the CUDA graph"));
    CHECK(s.calls["cuGraphLaunch"] == graphs + 1);
    if (i > 0) CHECK(s.calls["cuLaunchKernel"] == launches);
    // Clearing the status takes 100 ns, then scale 200, the GEMM's fill and two kernels 300, 400
    // and 500, add 600; 10 between any two.
    REQUIRE(run.steps.size() == 4);
    const double seconds[] = {200, 1200, 0, 600}, starts[] = {0, 210, 1430, 1440};
    for (size_t k = 0; k < 4; ++k) {
      CAPTURE(k);
      CHECK(run.steps[k].seconds == doctest::Approx(ns(seconds[k])));
      CHECK(run.steps[k].start == doctest::Approx(ns(starts[k])));
    }
    CHECK(run.gap == doctest::Approx(ns(40)));
    CHECK(read_floats(*p, plan.s, 256)[255] == 2 * 255 * (2 + static_cast<float>(i)));
    CHECK(s.traced.empty());
    CHECK(p->run());
    CHECK(s.ran.empty());
    write_floats(*p, plan.s, std::vector<float>(256, 2 * 255 * (2 + static_cast<float>(i))));
  }
}

TEST_CASE("stand-in: what CUPTI cannot tell is timed by events, with the reason") {
  if (!on_stand_in()) return;
  StandIn& s = stand_in();
  Mixed plan;
  auto clock_after = [&](auto trouble) {
    std::unique_ptr<Program> p = warm(plan);
    trouble();
    ProfiledRun run = p->run_profiled();
    s.rename = s.lose = s.timeless = "";
    CHECK(run.steps.size() == 4);
    CHECK(run.gap < 0);
    CHECK(run.steps[0].seconds > 0);
    CHECK(s.traced.empty());
    CHECK(has(run.clock, "events between launches, not by CUPTI: "));
    CHECK(p->run_profiled().clock == run.clock);  // not tried again
    return run.clock;
  };
  CHECK(has(clock_after([&] { s.fail["cuptiActivityEnable"] = {0, 35}; }),
            "cuptiActivityEnable: STAND_IN_CUPTI_35 (the driver lets administrators alone"));
  CHECK(has(clock_after([&] { s.fail["cuptiActivityEnable"] = {2, 27}; }), "STAND_IN_CUPTI_27"));
  CHECK(has(clock_after([&] { s.fail["cuptiActivityFlushAll"] = {0, 999}; }),
            "cuptiActivityFlushAll: STAND_IN_CUPTI_999"));
  CHECK(has(clock_after([&] { s.dropped = 3; }), "CUPTI dropped 3 records"));
  CHECK(has(clock_after([&] { s.rename = "add"; }),
            "found \"other\", expected \"add\" of step 3"));
  CHECK(has(clock_after([&] { s.lose = "stand_in_reduce"; }), "not those of the plan"));
  CHECK(has(clock_after([&] { s.timeless = "scale"; }), "no time for scale"));
  CHECK(has(clock_after([&] { s.fail["cuStreamGetCaptureInfo"] = {0, 801}; }),
            "looking at what is recorded"));
  CHECK(has(clock_after([&] { s.fail["cuGraphInstantiateWithFlags"] = {0, 801}; }),
            "cuGraphInstantiateWithFlags"));
  std::unique_ptr<Program> cold = plan.load();
  write_floats(*cold, plan.x, ramp(256));
  CHECK(has(cold->run_profiled().clock, "the plan had not run before"));
  cold->run();
  CHECK(has(cold->run_profiled().clock, "one replay of the CUDA graph"));
}

TEST_CASE("without CUPTI, or with one that is not known, profiles are by events") {
  if (!on_stand_in()) return;
  const bool off = std::getenv("FUSEC_CUPTI"), unknown = std::getenv("STAND_IN_CUPTI_VERSION");
  if (!off && !unknown) return;
  Mixed plan;
  std::unique_ptr<Program> p = warm(plan);
  ProfiledRun run = p->run_profiled();
  CHECK(has(run.clock, off ? "FUSEC_CUPTI is \"off\"" : "libcupti.so.13 is version 99 of CUPTI"));
  CHECK(run.steps.size() == 4);
}
