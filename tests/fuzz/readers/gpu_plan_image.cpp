// A saved plan for GPUs behind its checksum: whatever reads is plans that verify, with code for
// each of their kernels, and is written as the same bytes again.
#include "fusec/cuda/plan_code.h"
#include "fusec/plan/plan_image.h"
#include "plan_seeds.h"
#include "reader.h"

namespace fusec::fuzz {

namespace {

constexpr size_t kHeader = 32;  // before the body; see plan_image.h

cuda::PlanForGpu part(const std::string& arch) {
  cuda::PlanForGpu p;
  p.plan = small_plan();
  p.code.arch = arch, p.code.nvrtc = "13.0";
  p.code.target = cuda::call_target(arch, false);
  for (size_t i = 0; i < p.plan.kernels.size(); ++i)
    p.code.kernels.push_back({"cubin " + std::to_string(i / 2), "entry", i % 2 == 0, 1024});
  p.code.calls[sha256(arch)] = "cubin of a call";
  return p;
}

}  // namespace

std::vector<std::string> reader_seeds() {
  return {cuda::plan_image_bytes({part("sm_90a")}).substr(kHeader),
          cuda::plan_image_bytes({part("sm_80"), part("sm_120a")}).substr(kHeader)};
}

void read_bytes(std::string_view bytes) {
  cuda::GpuPlanImage image = cuda::parse_gpu_image_body(bytes);
  for (const cuda::PlanForGpu& p : image.parts) {
    verify(p.plan);
    if (p.code.kernels.size() != p.plan.kernels.size()) throw 0;
  }
  std::string again = cuda::plan_image_bytes(image.parts);
  if (cuda::plan_image_bytes(cuda::parse_gpu_image_body(open_image(again).body).parts) != again)
    throw 0;
}

}  // namespace fusec::fuzz
