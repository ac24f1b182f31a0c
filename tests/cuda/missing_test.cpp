// What a machine without a GPU, driver or toolkit is told. ctest runs these cases in the environments
// that their names say; elsewhere they check what there is.
#include "cuda_plan.h"

using namespace fusec;
using namespace fusec::test;

TEST_CASE("there is a GPU, or a reason") {
  std::string why;
  int count = cuda::device_count(&why);
  CHECK(why.empty() == (count > 0));
  if (count > 0) {
    cuda::DeviceInfo info = cuda::device_info(0);
    CHECK(!info.name.empty());
    CHECK(info.sm_count > 0);
    CHECK(info.memory > 0);
    cuda::FreeMemory memory = cuda::free_memory(0);
    CHECK(memory.free > 0);
    CHECK(memory.free <= memory.total);
    CHECK(has(error_of([&] { cuda::device_info(count); }, ErrorKind::device), "numbered from 0"));
    return;
  }
  CHECK(has(why, "NVIDIA driver"));
  CHECK(has(error_of([] { cuda::device_info(0); }, ErrorKind::device), why));
  CHECK(has(error_of([] { cuda::free_memory(0); }, ErrorKind::device), why));
  CHECK(has(error_of([] { cuda::load(std::make_shared<Plan>(), {}, nullptr, {}); },
                     ErrorKind::device),
            why));
}

TEST_CASE("the architecture is in the form that NVRTC takes") {
  auto arch = [](int major, int minor) {
    cuda::DeviceInfo info;
    info.major = major;
    info.minor = minor;
    return info.arch();
  };
  CHECK(arch(8, 0) == "sm_80");
  CHECK(arch(8, 9) == "sm_89");
  CHECK(arch(9, 0) == "sm_90a");
  CHECK(arch(10, 0) == "sm_100a");
  CHECK(arch(12, 0) == "sm_120a");
}

TEST_CASE("without a GPU, a driver that finds none is named") {
  if (!std::getenv("STAND_IN_NO_GPU")) return;
  std::string why;
  CHECK(cuda::device_count(&why) == 0);
  CHECK(has(why, "CUDA 13.0"));
  CHECK(has(why, "finds no GPU"));
}

TEST_CASE("with an old driver, what it lacks is named") {
  const char* lacks = std::getenv("STAND_IN_LACKS");
  if (!lacks) return;
  std::string why;
  CHECK(cuda::device_count(&why) == 0);
  CHECK(has(why, lacks));
  CHECK(has(why, "newer NVIDIA driver"));
}

TEST_CASE("without the toolkit, the places that were searched are named") {
  const char* path = std::getenv("FUSEC_CUDA_PATH");
  if (!path || std::string(path).find("nonexistent") == std::string::npos) return;
  std::string why;
  CHECK(cuda::nvrtc_version(&why).empty());
  for (const char* part : {"libnvrtc.so.13", "libnvrtc.so.12", "/nonexistent/cuda/lib64",
                           "FUSEC_CUDA_PATH is \"/nonexistent/cuda\""})
    CHECK(has(why, part));
  CHECK(has(error_of([] { cuda::compile_source("", "k", "sm_90a"); }, ErrorKind::device), why));
  CHECK(has(error_of([] { cuda::compile_units({{"k", ""}}, "sm_90a", 1); }, ErrorKind::device),
            why));
}

TEST_CASE("the scratch of a plan is known without a GPU") {
  Plan plan;
  CHECK(cuda::workspace_bytes(plan) == 256);
  PlanBuilder b;
  std::map<std::string, std::variant<int64_t, double, std::string>> attrs;
  for (const char* key : {"m", "n", "k", "lda", "ldb", "ldc"}) attrs[key] = int64_t{1024};
  for (const char* key : {"stride_a", "stride_b", "stride_c", "trans_a", "trans_b"})
    attrs[key] = int64_t{0};
  attrs["batch"] = int64_t{1};
  for (const char* key : {"type_a", "type_b", "type_c"}) attrs[key] = std::string("bf16");
  attrs["alpha"] = 1.0, attrs["beta"] = 0.0;
  b.call("gemm", {0, 1, 2}, attrs);
  CHECK(cuda::workspace_bytes(b.plan) == 256 + (32 << 20));
}
