// LLVM's code generator: an llvm::Module to an object file.
#pragma once

#include <memory>
#include <string>

#include "fusec/codegen_cpu/codegen.h"
#include "llvm/ADT/StringRef.h"

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
}  // namespace llvm

namespace fusec::codegen_cpu {

// LLVM's code generator for a target; making one takes about as long as using it once.
std::unique_ptr<llvm::TargetMachine> make_machine(const CpuTarget& target);

// Marks module and functions with triple, data layout, processor and features.
void set_target(llvm::Module& module, const llvm::TargetMachine& machine, const CpuTarget& target);

// Modules to object files, one after the other. The passes are built once: for a small kernel that
// costs as much as running them.
class ObjectWriter {
 public:
  // Throws an internal Error if the target can not emit object files. `machine` must outlive it.
  explicit ObjectWriter(llvm::TargetMachine& machine);
  ~ObjectWriter();
  ObjectWriter(const ObjectWriter&) = delete;
  // The object file, valid until the next call.
  llvm::StringRef write(llvm::Module& module);

 private:
  struct Passes;
  std::unique_ptr<Passes> passes_;
};

std::string print_module(const llvm::Module& module);

// Parses LLVM IR text; `name` is the function it must define. Throws a user Error.
std::unique_ptr<llvm::Module> parse_module(const std::string& text, const std::string& name,
                                           llvm::LLVMContext& context);

// flatten.cpp: the code of function `symbol` of an ELF object. A failure is an
// internal Error with its name.
CodeImage flatten(llvm::StringRef object, const std::string& symbol);

}  // namespace fusec::codegen_cpu
