// Saved plans for GPUs: what a program without a compiler loads, runs and refuses.
#include "cuda_plan.h"
#include "fusec/cuda/plan_code.h"
#include "fusec/plan/plan_image.h"
#include "fusec/runtime.h"

using namespace fusec;
using namespace fusec::test;
using cuda::PlanForGpu;

namespace {

// out = table[index], y = 2 out, c = a b^T: a kernel, a call with a text, and a GEMM.
struct Model : PlanBuilder {
  Model() {
    int table = floats("table", BufferClass::parameter, 5);
    int index = buffer("index", BufferClass::input, {{4}, i32});
    int out = floats("out", BufferClass::output, 4), y = floats("y", BufferClass::output, 4);
    int c = buffer("c", BufferClass::output, {{4, 4}, f32});
    call("gather", {table, index, out},
         {{"rows", int64_t{5}},
          {"count", int64_t{4}},
          {"width", int64_t{1}},
          {"type", std::string("f32")},
          {"index_type", std::string("i32")}});
    step(kernel("scale", kScale), {segment({out, y}, 4)});
    auto i = [](int64_t v) { return v; };
    auto t = [] { return std::string("f32"); };
    call("gemm", {out, y, c},
         {{"m", i(4)},
          {"n", i(4)},
          {"k", i(1)},
          {"batch", i(1)},
          {"lda", i(1)},
          {"ldb", i(1)},
          {"ldc", i(4)},
          {"stride_a", i(4)},
          {"stride_b", i(4)},
          {"stride_c", i(16)},
          {"trans_a", i(0)},
          {"trans_b", i(1)},
          {"type_a", t()},
          {"type_b", t()},
          {"type_c", t()},
          {"alpha", 1.0},
          {"beta", 0.0}});
    // Text and back is how a plan is saved: what the reader checks must hold.
    for (PlanBuffer& b : plan.buffers) b.last = static_cast<int>(plan.steps.size()) - 1;
  }

  PlanForGpu part(const std::string& arch) const {
    PlanForGpu p;
    p.plan = plan;
    p.code.arch = arch;
    p.code.nvrtc = "13.99";
    p.code.target = cuda::call_target(arch, false);
    p.code.kernels = code;
    for (const cuda::SourceUnit& unit : cuda::call_units(plan, p.code.target, true))
      p.code.calls[sha256(unit.text)] =
          cuda::compile_source(unit.text, unit.name, cuda::device_info(0).arch()).bytes;
    return p;
  }
};

std::string here() { return cuda::device_info(0).arch(); }

std::string complaint(const std::string& bytes, ErrorKind kind) {
  return error_of([&] { load_plan_bytes(bytes, "model.fsc"); }, kind);
}

}  // namespace

TEST_CASE("a saved plan runs from its file alone, and says what compiled it") {
  if (no_gpu()) return;
  Model model;
  const std::string bytes = cuda::plan_image_bytes({model.part(here())});
  LoadedPlan p = load_plan_bytes(bytes, "model.fsc");
  p.set("table", std::vector<float>{10, 20, 30, 40, 50});
  for (int run = 0; run < 3; ++run) {
    p.set("index", std::vector<int32_t>{run, 4, 0, 2});
    p.run();
    const float first = 10.0f * static_cast<float>(run + 1);
    CHECK(p.get<float>("out") == std::vector<float>{first, 50, 10, 30});
    CHECK(p.get<float>("y") == std::vector<float>{2 * first, 100, 20, 60});
    CHECK(p.get<float>("c")[1] == first * 100);
    CHECK(p.get<float>("c")[15] == 30 * 60);
  }
  CHECK(has(p.backend("kernels"), "compiled by NVRTC 13.99 for " + here()));
  LoadedPlan sharing = load_plan_bytes(bytes, "model.fsc", {.share = &p});
  CHECK(sharing.get<float>("table")[4] == 50);
}

TEST_CASE("a saved plan without the code of a call is refused, not compiled") {
  if (no_gpu()) return;
  Model model;
  PlanForGpu part = model.part(here());
  part.code.calls.clear();
  std::string text = complaint(cuda::plan_image_bytes({part}), ErrorKind::user);
  CHECK(has(text, "no code for its call of gather"));
  CHECK(has(text, "fusec build"));
  CHECK(has(text, "while loading model.fsc, made by fusec "));
}

TEST_CASE("of several architectures that of the GPU is taken, else all are named") {
  if (no_gpu()) return;
  Model model;
  PlanForGpu other = model.part("sm_70"), own = model.part(here());
  own.code.nvrtc = "13.1";
  LoadedPlan p = load_plan_bytes(cuda::plan_image_bytes({other, own}), "model.fsc");
  CHECK(has(p.backend("kernels"), "13.1"));
  std::string text =
      complaint(cuda::plan_image_bytes({other, model.part("sm_75")}), ErrorKind::device);
  CHECK(has(text, "the saved plan holds code for sm_70, sm_75, and "));
  CHECK(has(text, " is " + here()));
  CHECK(has(text, "fusec build --device " + here()));
}

TEST_CASE("code without a letter runs on later minor versions, code with one on its own only") {
  auto chosen = [](std::vector<std::string> archs, const std::string& gpu) {
    cuda::GpuPlanImage image;
    for (const std::string& arch : archs) {
      image.parts.emplace_back();
      image.parts.back().code.arch = arch;
    }
    try {
      return cuda::part_for(image, gpu, "a GPU").code.arch;
    } catch (const Error&) {
      return std::string("none");
    }
  };
  CHECK(chosen({"sm_80"}, "sm_80") == "sm_80");
  CHECK(chosen({"sm_80"}, "sm_89") == "sm_80");
  CHECK(chosen({"sm_80", "sm_86"}, "sm_89") == "sm_86");
  CHECK(chosen({"sm_86", "sm_89", "sm_80"}, "sm_87") == "sm_86");
  CHECK(chosen({"sm_86"}, "sm_80") == "none");
  CHECK(chosen({"sm_80"}, "sm_90a") == "none");
  CHECK(chosen({"sm_90a"}, "sm_90a") == "sm_90a");
  CHECK(chosen({"sm_90"}, "sm_90a") == "sm_90");
  CHECK(chosen({"sm_100a"}, "sm_103a") == "none");
  CHECK(chosen({"sm_100"}, "sm_103a") == "sm_100");
  CHECK(chosen({"sm_12"}, "sm_120a") == "none");
}

TEST_CASE("the code of a plan comes back from its bytes; damage is an Error or reads") {
  cuda::PlanCode code;
  code.arch = "sm_80", code.nvrtc = "12.8";
  code.target = cuda::call_target("sm_80", true);
  code.tf32 = true;
  code.kernels = {{"one", "k0", false, 0}, {"two", "k1", true, 70000}, {"one", "k2", true, 1}};
  code.calls = {{sha256("a"), "two"}, {sha256("b"), std::string("three\0three", 11)}};
  const std::string bytes = to_bytes(code);
  CHECK(cuda::parse_plan_code(bytes) == code);
  CHECK(bytes.find("two", bytes.find("two") + 1) == std::string::npos);  // each cubin once
  for (size_t n = 0; n < bytes.size(); ++n)
    CHECK_THROWS_AS(cuda::parse_plan_code(bytes.substr(0, n)), Error);
  for (size_t i = 0; i < bytes.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = bytes;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      try {
        const cuda::PlanCode read = cuda::parse_plan_code(bad);
        CHECK(cuda::parse_plan_code(to_bytes(read)) == read);
      } catch (const Error&) {
      }
    }
}

TEST_CASE("a file for a GPU is no file for a CPU, and the other way round") {
  cuda::PlanForGpu part;
  part.plan.graph = "empty";
  part.code.arch = "sm_90a";
  const std::string bytes = cuda::plan_image_bytes({part});
  CHECK(open_image(bytes).device == ImageDevice::nvidia);
  CHECK(has(error_of([&] { parse_image(bytes); }, ErrorKind::user),
            "found one for NVIDIA GPUs, expected one for a CPU"));
  std::string unknown = bytes;
  unknown[12] = 7;
  CHECK(has(error_of([&] { open_image(unknown); }, ErrorKind::user), "a device of kind 7"));
  CHECK_THROWS_AS(cuda::parse_gpu_image_body(cuda::plan_image_bytes({}).substr(32)), Error);
  part.code.kernels.emplace_back();
  CHECK(has(error_of([&] { cuda::parse_gpu_image_body(cuda::plan_image_bytes({part}).substr(32)); },
                     ErrorKind::user),
            "it holds code of 1 kernels for sm_90a, its plan has 0"));
}

TEST_CASE("without a GPU, a saved plan for one says what is missing") {
  std::string why;
  if (cuda::device_count(&why) > 0) return;
  cuda::PlanForGpu part;
  part.plan.graph = "empty";
  part.code.arch = "sm_90a";
  std::string text = complaint(cuda::plan_image_bytes({part}), ErrorKind::device);
  CHECK(has(text, "the saved plan runs on NVIDIA GPUs (sm_90a), and none can be used: " + why));
}
