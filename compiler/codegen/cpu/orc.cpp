// Object files -> callable functions. The only file that includes LLVM's JIT.
#include "fusec/base/error.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"
#include "machine.h"

namespace fusec::codegen_cpu {
namespace {

void check(llvm::Error error, const std::string& what) {
  if (error) fail_internal("the JIT can not " + what + ": " + llvm::toString(std::move(error)));
}

}  // namespace

CompiledKernels link_objects(std::vector<std::unique_ptr<llvm::MemoryBuffer>> objects,
                             const std::vector<std::string>& symbols) {
  initialise_native_target();
  // No platform: kernels have no static constructors, and setting one up compiles a module.
  auto made = llvm::orc::LLJITBuilder()
                  .setPlatformSetUp(llvm::orc::setUpInactivePlatform)
                  .create();
  if (!made) check(made.takeError(), "start");
  std::shared_ptr<llvm::orc::LLJIT> jit = std::move(*made);
  for (auto& object : objects) check(jit->addObjectFile(std::move(object)), "load an object");
  CompiledKernels result;
  for (const std::string& symbol : symbols) {
    auto address = jit->lookup(symbol);
    if (!address) check(address.takeError(), "find " + symbol);
    result.functions.push_back(address->toPtr<KernelFn>());
  }
  result.owner = std::move(jit);
  return result;
}

}  // namespace fusec::codegen_cpu
