// All machine code of a plan for one architecture, as one run of bytes: what a saved plan holds of
// it, and what the disk cache keeps beside the plan.
//
// Little endian; "text" is a u64 length and that many bytes:
//   text architecture, text NVRTC's version,
//   CallTarget: u32 major, u32 minor, u32 multiprocessors, u64 shared memory a block,
//               u32 flags (1: deterministic, 2: portable attention, 4: all lanes arrive)
//   u32 tf32
//   u32 number of cubins, a text each
//   u32 number of kernels, each: u32 cubin, text entry, u32 table, u64 dynamic shared memory
//   u32 number of library calls' texts, each: 32 bytes SHA-256 of the text, u32 cubin
#pragma once

#include <string>
#include <string_view>

#include "fusec/cuda/cuda.h"

namespace fusec::cuda {

struct PlanCode {
  std::string arch, nvrtc;
  CallTarget target;
  bool tf32 = false;
  std::vector<KernelCode> kernels;  // plan.kernels[i]'s
  CallCode calls;
  bool operator==(const PlanCode&) const = default;
};

FUSEC_API std::string to_bytes(const PlanCode& code);

// Reads to_bytes() back; any other bytes are a user Error.
FUSEC_API PlanCode parse_plan_code(std::string_view bytes);

// What decides about PlanCode besides plan and tf32, as text.
FUSEC_API std::string settings_text(const std::string& arch, const std::string& nvrtc,
                                    const CallTarget& target);

// Saved plans -------------------------------------------------------------------------------------

// A plan for one architecture; plans of several may differ.
struct PlanForGpu {
  Plan plan;
  PlanCode code;
};

// One file (plan_image.h) that runs on the GPUs of all these architectures. Body: text maker, u32
// number of parts, each: text architecture, text plan (print(Plan)), text to_bytes(PlanCode).
FUSEC_API std::string plan_image_bytes(const std::vector<PlanForGpu>& parts);

struct GpuPlanImage {
  std::string maker;
  std::vector<PlanForGpu> parts;
};
// Reads the body of such a file. For any bytes it returns plans that verify() accepts with code for
// each of their kernels, or throws Error.
FUSEC_API GpuPlanImage parse_gpu_image_body(std::string_view body);

// The part that runs on a GPU of architecture `arch` ("sm_90a"): its own, else that of the nearest
// lower minor version without a letter (sm_80 for sm_86). Else a device Error that names both.
FUSEC_API PlanForGpu& part_for(GpuPlanImage& image, const std::string& arch,
                               const std::string& gpu);

}  // namespace fusec::cuda
