// llvm::Module -> ELF object for one processor. No mid-level passes: the emitter writes what they
// would find, and they cost as much as all the rest.
#include "machine.h"

#include <mutex>

#include "fusec/base/error.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/SmallVectorMemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

namespace fusec::codegen_cpu {

void initialise_native_target() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

namespace {

std::unique_ptr<llvm::TargetMachine> make_machine(const CpuTarget& target) {
  initialise_native_target();
  llvm::Triple triple(llvm::sys::getProcessTriple());
  std::string message;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, message);
  if (!found) fail_internal("LLVM has no code generator for " + triple.str() + ": " + message);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  std::unique_ptr<llvm::TargetMachine> machine(
      found->createTargetMachine(triple, target.cpu, target.features, options, llvm::Reloc::PIC_,
                                 llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
  if (!machine) fail_internal("LLVM can not make a machine for processor " + target.cpu);
  return machine;
}

}  // namespace

CpuTarget host_target() {
  CpuTarget t;
  t.cpu = llvm::sys::getHostCPUName().str();
  auto features = llvm::sys::getHostCPUFeatures();
  std::vector<std::string> list;
  for (auto& f : features) {
    list.push_back((f.second ? "+" : "-") + f.first().str());
  }
  std::sort(list.begin(), list.end());
  for (const std::string& f : list) t.features += (t.features.empty() ? "" : ",") + f;
  auto has = [&](const char* name) { return features.lookup(name); };
  if (has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl")) {
    t.vector_bits = 512;
  } else if (has("avx2") && has("fma")) {
    t.vector_bits = 256;
  }
  return t;
}

void set_target(llvm::Module& module, const CpuTarget& target) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  for (llvm::Function& f : module) {
    f.setDoesNotThrow();
    if (f.isDeclaration()) continue;
    f.addFnAttr("target-cpu", target.cpu);
    f.addFnAttr("target-features", target.features);
    f.addFnAttr("prefer-vector-width", std::to_string(target.vector_bits));
  }
}

std::unique_ptr<llvm::MemoryBuffer> generate_object(llvm::Module& module,
                                                    const CpuTarget& target) {
  std::unique_ptr<llvm::TargetMachine> machine = make_machine(target);
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream(bytes);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, stream, nullptr, llvm::CodeGenFileType::ObjectFile)) {
    fail_internal("LLVM can not emit an object file for " + machine->getTargetTriple().str());
  }
  passes.run(module);
  return std::make_unique<llvm::SmallVectorMemoryBuffer>(std::move(bytes), false);
}

std::string print_module(const llvm::Module& module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, nullptr);
  return text;
}

std::unique_ptr<llvm::Module> parse_module(const std::string& text, const std::string& name,
                                           llvm::LLVMContext& context) {
  llvm::SMDiagnostic found;
  auto module = llvm::parseAssemblyString(text, found, context);
  if (!module) {
    fail_user("the source of kernel " + name + " is not LLVM IR: line " +
              std::to_string(found.getLineNo()) + ": " + found.getMessage().str());
  }
  std::string message;
  llvm::raw_string_ostream stream(message);
  if (llvm::verifyModule(*module, &stream)) {
    fail_user("the source of kernel " + name + " is not valid LLVM IR: " + message);
  }
  llvm::Function* f = module->getFunction(name);
  if (!f || f->isDeclaration()) {
    fail_user("the source of kernel " + name + " defines no function @" + name +
              "; keep the name that --dump-ir=source wrote");
  }
  return module;
}

}  // namespace fusec::codegen_cpu
