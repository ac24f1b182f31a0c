// The executor with hand-written kernels: horizontal steps, shared parameters, states, constants,
// profile, error notes.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>

#include "fusec/base/error.h"
#include "fusec/cpu/cpu.h"

using namespace fusec;

namespace {

// out = 2 * in + 1 over a flat range, counting how often each launch length was entered.
std::atomic<int> ragged_starts{0};
void affine(void* const* args, int64_t lo, int64_t hi, int64_t n) {
  const float* in = static_cast<const float*>(args[0]);
  float* out = static_cast<float*>(args[1]);
  if (lo % 64 != 0 || (hi != n && hi % 64 != 0)) ++ragged_starts;
  for (int64_t i = lo; i < hi; ++i) out[i] = 2 * in[i] + 1;
}

KernelProgram affine_kernel() {
  KernelProgram k;
  k.name = "k00_affine";
  k.params = {{"in", f32, true, false}, {"out", f32, false, true}};
  k.extents = {0};
  k.schedule = {ScheduleKind::flat, 16, 0, 16100};  // not a multiple of 64: the cut must be
  return k;
}

struct Builder {
  Plan plan;
  int buffer(const std::string& name, BufferClass cls, int64_t n, DType type = f32) {
    PlanBuffer b;
    b.name = name;
    b.cls = cls;
    b.type = {{n}, type};
    if (!is_persistent(cls)) {
      b.offset = plan.arena_bytes;
      plan.arena_bytes += reserved_bytes(b.type);
    }
    plan.buffers.push_back(b);
    return static_cast<int>(plan.buffers.size()) - 1;
  }
  void affine_step(const std::vector<std::pair<int, int>>& segments) {
    PlanStep step;
    step.kernel = 0;
    for (auto [in, out] : segments) {
      int64_t n = plan.buffers[in].type.shape[0];
      step.segments.push_back({{{in, 0}, {out, 0}}, n});
      step.bytes += 8 * n;
    }
    plan.steps.push_back(step);
  }
  std::unique_ptr<Program> load(std::shared_ptr<PersistentStore> share = nullptr, int threads = 2) {
    plan.graph = "test graph";
    if (plan.kernels.empty()) plan.kernels.push_back(affine_kernel());
    return cpu::load(std::make_shared<Plan>(plan), {{affine}, nullptr}, std::move(share), threads);
  }
};

void write(Program& p, int buffer, const std::vector<float>& v) {
  p.write(buffer, v.data(), v.size() * 4);
}
std::vector<float> read(const Program& p, int buffer, size_t n) {
  std::vector<float> v(n);
  p.read(buffer, v.data(), n * 4);
  return v;
}

}  // namespace

TEST_CASE("program: a horizontal step covers every segment, cut at multiples of 64") {
  Builder b;
  std::vector<int64_t> sizes = {1, 63, 64, 65, 100000, 7, 250001};
  std::vector<std::pair<int, int>> segments;
  for (size_t i = 0; i < sizes.size(); ++i)
    segments.push_back({b.buffer("in" + std::to_string(i), BufferClass::input, sizes[i]),
                        b.buffer("out" + std::to_string(i), BufferClass::output, sizes[i])});
  b.affine_step(segments);
  for (int threads : {1, 2, 3}) {
    ragged_starts = 0;
    auto program = b.load(nullptr, threads);
    for (size_t i = 0; i < sizes.size(); ++i)
      write(*program, segments[i].first, std::vector<float>(sizes[i], static_cast<float>(i)));
    program->run();
    for (size_t i = 0; i < sizes.size(); ++i) {
      std::vector<float> want(sizes[i], 2 * static_cast<float>(i) + 1);
      CHECK(read(*program, segments[i].second, sizes[i]) == want);
    }
    CHECK(ragged_starts == 0);
  }
}

TEST_CASE("program: states start at zero and persist, parameters are shared by name") {
  Builder b;
  int state = b.buffer("count", BufferClass::state, 10);
  int weight = b.buffer("weight", BufferClass::parameter, 10);
  b.affine_step({{state, state}});
  b.affine_step({{weight, weight}});
  auto first = b.load();
  CHECK(read(*first, state, 10) == std::vector<float>(10, 0.0f));
  write(*first, weight, std::vector<float>(10, 3.0f));
  first->run();
  auto second = b.load(first->store());
  CHECK(read(*second, weight, 10) == std::vector<float>(10, 7.0f));
  second->run();
  first.reset();  // the memory lives on in the store
  CHECK(read(*second, state, 10) == std::vector<float>(10, 3.0f));
  CHECK(read(*second, weight, 10) == std::vector<float>(10, 15.0f));

  Builder other;
  other.buffer("weight", BufferClass::parameter, 11);
  try {
    other.load(second->store());
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::user);
    std::string text = e.what();
    CHECK(text.find("\"weight\" is f32[11]") != std::string::npos);
    CHECK(text.find("f32[10]") != std::string::npos);
  }
}

TEST_CASE("program: constants, byte offsets, profile and backends") {
  Builder b;
  int constant = b.buffer("c", BufferClass::constant, 4);
  int out = b.buffer("out", BufferClass::output, 4);
  float values[4] = {1, 2, 3, 4};
  b.plan.buffers[constant].data.assign(reinterpret_cast<char*>(values), sizeof values);
  PlanStep step;
  step.kernel = 0;
  step.segments.push_back({{{constant, 8}, {out, 4}}, 2});
  b.plan.steps.push_back(step);
  auto program = b.load();
  std::vector<StepTime> times = program->run_profiled().steps;
  REQUIRE(times.size() == 1);
  CHECK(times[0].seconds > 0);
  CHECK(read(*program, out, 4) == std::vector<float>{0, 7, 9, 0});
  CHECK(program->backend("gemm").find("2 threads") != std::string::npos);
  CHECK(program->backend("kernels").find("1 kernels") != std::string::npos);
  CHECK(program->backend("attention") != "");
  CHECK(program->backend("optimizer") != "");
  CHECK_THROWS_AS(program->backend("tea"), Error);
}

TEST_CASE("program: wrong sizes and failing steps say what and where") {
  Builder b;
  int table = b.buffer("table", BufferClass::input, 8);
  int index = b.buffer("index", BufferClass::input, 1, i64);
  int out = b.buffer("out", BufferClass::output, 2);
  PlanStep step;
  step.call = {"gather",
               {{table, 0}, {index, 0}, {out, 0}},
               {{"rows", int64_t{4}}, {"count", int64_t{1}}, {"width", int64_t{2}},
                {"type", std::string("f32")}, {"index_type", std::string("i64")}}};
  step.scope = "embedding";
  b.plan.steps.push_back(step);
  auto program = b.load();
  float few[3] = {};
  CHECK_THROWS_WITH_AS(program->write(table, few, sizeof few),
                       doctest::Contains("\"table\" is f32[8]"), Error);
  int64_t bad = 9;
  program->write(index, &bad, 8);
  CHECK_THROWS_WITH_AS(program->run(), doctest::Contains("step 0 (gather, embedding)"), Error);
  bad = 3;
  program->write(index, &bad, 8);
  CHECK_NOTHROW(program->run());
}

TEST_CASE("program: code for the wrong number of kernels is refused") {
  Builder b;
  b.plan.kernels = {affine_kernel(), affine_kernel()};
  CHECK_THROWS_AS(b.load(), Error);
}
