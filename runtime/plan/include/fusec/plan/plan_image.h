// A compiled plan as one file (.fsc): what `fusec build` and Executable::save() write, and what a
// program without a compiler loads (fusec/runtime.h).
//
// Little endian; "text" is a u64 length and that many bytes:
//    0   8  magic: 89 'F' 'S' 'C' 0d 0a 1a 0a   (a transfer that changes line ends breaks it)
//    8  u32 format version
//   12  u32 device: 0 CPU, 1 NVIDIA GPU
//   16  u64 bytes of the body
//   24  u64 checksum of the body (hash.h: 64 bits find damage; they keep out no forger)
//   32  body, for a CPU:
//             text maker, text triple, text processor, text features (',' between them),
//             text plan (print(Plan)), u32 number of kernels, a text each: to_bytes(CodeImage)
//       for GPUs: see fusec/cuda/plan_code.h
//
// The file holds machine code: loading one means trusting who made it, as with a shared library.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusec/plan/code_image.h"
#include "fusec/plan/plan.h"

namespace fusec {

inline constexpr uint32_t kPlanImageVersion = 1;

enum class ImageDevice : uint32_t { cpu = 0, nvidia = 1 };

// "fusec 0.1.0".
FUSEC_API std::string image_maker();

// The header, then the body.
FUSEC_API std::string image_bytes(ImageDevice device, std::string_view body);

// A file whose header is in order: whole, of this version, with the right checksum. Else an Error:
// what was found, what was expected, what to do. `body` lies in `bytes`.
struct OpenedImage {
  ImageDevice device = ImageDevice::cpu;
  std::string_view body;
};
FUSEC_API OpenedImage open_image(std::string_view bytes);

// What code was generated for. features: LLVM's names ("avx2"), those beyond plain x86-64; the code
// may use all of them.
struct Machine {
  std::string triple, cpu;
  std::vector<std::string> features;
  bool operator==(const Machine&) const = default;
};

struct PlanImage {
  std::string maker;  // "fusec 0.1.0"
  Machine machine;
  Plan plan;
  std::vector<CodeImage> kernels;  // plan.kernels[i]'s code
};

// kernels[i] is the code of plan.kernels[i].
FUSEC_API std::string plan_image_bytes(const Plan& plan, const Machine& machine,
                                       const std::vector<CodeImage>& kernels);

// Reads plan_image_bytes() back; a file for another device is an Error, too. For any bytes at all
// it returns a plan that verify() accepts, or throws Error: what was found, what was expected, what
// to do. Reads nothing but `bytes`.
FUSEC_API PlanImage parse_image(std::string_view bytes);

// The same behind the header, so that a fuzzer need not guess a checksum.
FUSEC_API PlanImage parse_image_body(std::string_view body);

}  // namespace fusec
