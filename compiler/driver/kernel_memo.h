// Compiled kernels of this process by their text, so that a kernel that comes again is not compiled
// again (CompileOptions::reuse_kernels).
#pragma once

#include <vector>

#include "fusec/codegen_cpu/codegen.h"

namespace fusec::driver {

// As codegen_cpu::compile_kernels. The key is everything that shapes the code, as text, so two
// kernels share code only if they are equal. Thread-safe.
codegen_cpu::CompiledKernels compile_or_reuse(const std::vector<const KernelProgram*>& kernels,
                                              int threads, const codegen_cpu::CpuTarget& target);

}  // namespace fusec::driver
