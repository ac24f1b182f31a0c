// llvm::Module -> ELF object for one processor. No mid-level passes: the emitter writes what they
// would find, and they cost as much as all the rest.
#include "machine.h"

#include <algorithm>
#include <mutex>

#include "fusec/base/error.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/TargetParser/Host.h"

namespace fusec::codegen_cpu {

namespace {

void initialise_native_target() {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
}

// What a saved plan can ask for.
const std::vector<std::string_view>& optional_features() {
  static const std::vector<std::string_view> names = {
#define FUSEC_X86(name, leaf, subleaf, reg, bit, state) name,
#include "fusec/plan/x86_features.def"
  };
  return names;
}

// Features that every x86-64 processor has, and those that a saved plan can ask for.
bool may_use(llvm::StringRef feature) {
  for (const char* always : {"64bit", "cmov", "cx8", "fxsr", "mmx", "sse", "sse2"})
    if (feature == always) return true;
  const std::vector<std::string_view>& rows = optional_features();
  return std::find(rows.begin(), rows.end(), std::string_view(feature)) != rows.end();
}

}  // namespace

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

namespace {

CpuTarget ask_host() {
  CpuTarget t;
  t.cpu = llvm::sys::getHostCPUName().str();
  auto features = llvm::sys::getHostCPUFeatures();
  std::vector<std::string> list;
  for (auto& f : features) {
    list.push_back((f.second && may_use(f.first()) ? "+" : "-") + f.first().str());
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

}  // namespace

CpuTarget host_target() {
  // Once: every cpuid leaves a virtual machine.
  static const CpuTarget target = ask_host();
  return target;
}

Machine machine_of(const CpuTarget& target) {
  Machine machine = {llvm::sys::getProcessTriple(), target.cpu, {}};
  llvm::SmallVector<llvm::StringRef> list;
  llvm::StringRef(target.features).split(list, ',');
  for (std::string_view row : optional_features())
    if (std::find(list.begin(), list.end(), "+" + std::string(row)) != list.end())
      machine.features.emplace_back(row);
  return machine;
}

std::string describe(const CpuTarget& target) {
  return "LLVM " LLVM_VERSION_STRING " " + llvm::sys::getProcessTriple() + " " + target.cpu + " " +
         target.features + " " + std::to_string(target.vector_bits) + " bits";
}

void set_target(llvm::Module& module, const llvm::TargetMachine& machine, const CpuTarget& target) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  for (llvm::Function& f : module) {
    f.setDoesNotThrow();
    if (f.isDeclaration()) continue;
    f.addFnAttr("target-cpu", target.cpu);
    f.addFnAttr("target-features", target.features);
    f.addFnAttr("prefer-vector-width", std::to_string(target.vector_bits));
  }
}

struct ObjectWriter::Passes {
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream stream{bytes};
  llvm::legacy::PassManager manager;
};

ObjectWriter::ObjectWriter(llvm::TargetMachine& machine) : passes_(std::make_unique<Passes>()) {
  if (machine.addPassesToEmitFile(passes_->manager, passes_->stream, nullptr,
                                  llvm::CodeGenFileType::ObjectFile)) {
    fail_internal("LLVM can not emit an object file for " + machine.getTargetTriple().str());
  }
}

ObjectWriter::~ObjectWriter() = default;

llvm::StringRef ObjectWriter::write(llvm::Module& module) {
  passes_->bytes.clear();
  passes_->manager.run(module);
  return {passes_->bytes.data(), passes_->bytes.size()};
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
