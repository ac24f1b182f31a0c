// Kernels of a plan to machine code for this processor, and every text on the way.
//
// KernelProgram -> MLIR (vector, arith, math, scf; memory by bare pointers) -> LLVM IR -> ELF
// object -> CodeImage. The number of lanes of a step is chosen here from the target and the types;
// schedule.vector is binding only for `columns`, where it fixes the work unit.
//
// Stored bf16 is rounded to nearest even. With avx512bf16 the hardware conversion is used, which
// flushes bf16 subnormals (below 1.2e-38) to zero. Arithmetic is f32 with fused multiply-add where
// the target has it; exp, log, tanh, erf, sin, cos are polynomials within a few ulp (f64: libm).
// Integer division by zero yields an unspecified value and never traps.
#pragma once

#include <string>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/plan/code_image.h"
#include "fusec/plan/kernel_program.h"
#include "fusec/plan/plan_image.h"

namespace fusec::codegen_cpu {

// What to generate code for, in LLVM's words: cpu "znver4", features "+avx2,+fma,-sse4a,...".
struct CpuTarget {
  std::string cpu, features;
  int vector_bits = 128;  // 512, 256 or 128
  bool operator==(const CpuTarget&) const = default;
};

// The processor that this process runs on, with those of its features that x86_features.def lists.
FUSEC_API CpuTarget host_target();

// What code for the target needs to run.
FUSEC_API Machine machine_of(const CpuTarget& target);

// All that code depends on beside the kernel and our own sources, for the keys of a cache: LLVM's
// version and every field of the target.
FUSEC_API std::string describe(const CpuTarget& target);

// images[i] is the code of kernel i. The two durations are wall time: kernels to LLVM IR (the
// slowest thread), and from there to images.
struct CompiledKernels {
  std::vector<CodeImage> images;
  double source_seconds = 0, binary_seconds = 0;
};

// Compiles all kernels on up to `threads` threads (at least one). A kernel's image depends on
// nothing but its structure and the target, so it can be kept and used again. Throws an internal
// Error that names the kernel when it breaks a rule of kernel_program.h or does not lower.
FUSEC_API CompiledKernels compile_kernels(const std::vector<const KernelProgram*>& kernels,
                                          int threads, const CpuTarget& target);

// The kernel as MLIR at the vector level, headed by its name and origins as comments.
FUSEC_API std::string emit_vector_ir(const KernelProgram& kernel, const CpuTarget& target);

// The `source` stage: LLVM IR text, headed by the kernel's name and origins as comments. The
// function bears the kernel's name (characters other than letters, digits, '_' and '.' become '_').
FUSEC_API std::string emit_llvm_ir(const KernelProgram& kernel, const CpuTarget& target);

// Reads the `source` stage back: texts[i] defines the function of the kernel called names[i].
// A text that does not parse, or lacks its function, is a user Error with LLVM's line and message.
FUSEC_API CompiledKernels compile_llvm_ir(const std::vector<std::string>& texts,
                                          const std::vector<std::string>& names,
                                          const CpuTarget& target);

// The `binary` stage: a relocatable ELF object that defines the kernel's function.
FUSEC_API std::vector<char> object_code(const KernelProgram& kernel, const CpuTarget& target);

// Reads the `binary` stage back: objects[i] defines the function of the kernel called names[i].
// Bytes that are no object, or lack the function, are an internal Error naming the kernel.
FUSEC_API CompiledKernels link_object_code(const std::vector<std::vector<char>>& objects,
                                           const std::vector<std::string>& names);

}  // namespace fusec::codegen_cpu
