// LLVM's code generator: an llvm::Module to an object file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fusec/codegen_cpu/codegen.h"

namespace llvm {
class LLVMContext;
class MemoryBuffer;
class Module;
}  // namespace llvm

namespace fusec::codegen_cpu {

// Registers this machine's code generator with LLVM; once a process, from any thread.
void initialise_native_target();

// Marks module and functions with triple, data layout, processor and features.
void set_target(llvm::Module& module, const CpuTarget& target);

// Object file in memory. Throws an internal Error if the target can not emit one.
std::unique_ptr<llvm::MemoryBuffer> generate_object(llvm::Module& module, const CpuTarget& target);

std::string print_module(const llvm::Module& module);

// Parses LLVM IR text; `name` is the function it must define. Throws a user Error.
std::unique_ptr<llvm::Module> parse_module(const std::string& text, const std::string& name,
                                           llvm::LLVMContext& context);

// orc.cpp: links objects into this process and looks the symbols up. Throws an internal Error that
// names a symbol that is missing.
CompiledKernels link_objects(std::vector<std::unique_ptr<llvm::MemoryBuffer>> objects,
                             const std::vector<std::string>& symbols);

}  // namespace fusec::codegen_cpu
