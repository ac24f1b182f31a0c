// KernelProgram -> readable CUDA C++ for NVRTC. Text in, text out: no vendor header, no device.
//
// One `extern "C" __global__` function a kernel, in one of two forms:
//
//   single   name(P0* p0, P1* p1, ..., long long n, const unsigned* skip)
//            a launch of blocks(n) blocks for one segment
//   table    name(const unsigned long long* table, int segments, const unsigned* skip)
//            a launch for many segments. Row s of the table has 2 + P words: the first block of
//            segment s, its n, its P addresses; rows ascend by first block.
//
// A launch whose `skip` is not null and points to a number other than 0 does nothing (a step that a
// guard has stopped). Element types in memory: float, double, long long, int, unsigned char (u8,
// b8, the bits of f8e4m3) and unsigned short (bf16, f16: their bits). Launch shape:
// KernelProgram::blocks() and schedule.block; shared memory is static, at most 48 KB, unless
// dynamic_shared() says otherwise.
#pragma once

#include <cstdint>
#include <string>

#include "fusec/plan/kernel_program.h"
#include "fusec/plan/plan.h"

namespace fusec::codegen_cuda {

enum class LaunchForm : uint8_t { single, table };

// The kernel's entry: "fusec_" and its name without the number that the plan gave it, so that equal
// kernels of different plans have equal text and none has the name of a function of the language.
FUSEC_API std::string entry_of(const KernelProgram& kernel);

// The whole translation unit. With `comments`, it opens with the user lines that it came from and
// each statement names its op; without, the text depends on nothing but the code (a cache key).
// Needs schedule.block > 0 (internal Error).
FUSEC_API std::string emit(const KernelProgram& kernel, LaunchForm form, bool comments);

// What an attention call's hook does with one score, as text: a namespace `hook` with
//
//   struct Captured; struct Place { int item, head, query, key; };
//   bool seen(const Captured&, const Place&);
//   float score(const Captured&, const Place&, float product);     of attention
//   Slopes slopes(const Captured&, const Place&, float product);   of attention_grad: the score,
//                     its derivatives by the product and by each load that wants one
//
// and two macros: HOOK_PARAMETERS, ", const float* h0, ..." of a kernel, and HOOK_CAPTURED, the
// Captured made of them.
struct HookFunctions {
  std::string text;
  bool masked = false;     // seen() is not always true
  unsigned mask_axes = 0;  // that it depends on: bits of item, head, query, key
};
// `kernel`: that of the call's hook_kernel.
FUSEC_API HookFunctions emit_hook(const KernelProgram& kernel, const LibraryCall& call);

// Bytes of dynamic shared memory that a launch of the kernel needs, beyond static; usually 0.
FUSEC_API int64_t dynamic_shared(const KernelProgram& kernel);

}  // namespace fusec::codegen_cuda
