// The CPU: LLVM's code, mapped into this process.
#include "backend.h"
#include "compile_cache.h"
#include "fusec/codegen_cpu/codegen.h"
#include "fusec/cpu/cpu.h"
#include "fusec/plan/plan_image.h"

namespace fusec::driver {
namespace {

std::vector<std::string> names_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const KernelProgram& k : plan.kernels) names.push_back(k.name);
  return names;
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(const CompileOptions& options)
      : target_(codegen_cpu::host_target()), threads_(cpu::thread_count(options.threads)) {}

  TargetInfo target() const override { return {}; }
  int64_t workspace_bytes(const Plan& plan) const override {
    return cpu::workspace_bytes(plan, threads_);
  }
  std::string workspace_settings() const override { return "threads " + std::to_string(threads_); }
  DeviceMemory memory() const override {
    cpu::MemoryLimit limit = cpu::memory_limit();
    return {limit.bytes, limit.what};
  }

  std::string source(const Plan& plan, size_t kernel) const override {
    return codegen_cpu::emit_llvm_ir(plan.kernels[kernel], target_);
  }
  std::string binary(const Plan& plan, size_t kernel) const override {
    std::vector<char> object = codegen_cpu::object_code(plan.kernels[kernel], target_);
    return {object.begin(), object.end()};
  }

  void compile(const Plan& plan, bool remember, const Digest*, CompileTimes& times) override {
    CompileCache cache;
    take(cache.kernels(plan, threads_, target_, remember, &times.cache_hits, &times.cache_misses),
         times);
  }
  void compile_sources(const Plan& plan, const std::vector<std::string>& texts,
                       CompileTimes& times) override {
    take(codegen_cpu::compile_llvm_ir(texts, names_of(plan), target_), times);
    times.cache_misses = static_cast<int>(texts.size());
  }
  void link(const Plan& plan, const std::vector<std::string>& codes, CompileTimes& times) override {
    std::vector<std::vector<char>> objects;
    for (const std::string& code : codes) objects.emplace_back(code.begin(), code.end());
    take(codegen_cpu::link_object_code(objects, names_of(plan)), times);
  }

  std::string image(const Plan& plan) const override {
    return plan_image_bytes(plan, codegen_cpu::machine_of(target_), images_);
  }
  std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan,
                                std::shared_ptr<PersistentStore> share) override {
    return cpu::load(std::move(plan), cpu::map_kernels(images_), std::move(share), threads_);
  }

 private:
  void take(codegen_cpu::CompiledKernels compiled, CompileTimes& times) {
    images_ = std::move(compiled.images);
    times.source += compiled.source_seconds;
    times.binary += compiled.binary_seconds;
  }

  codegen_cpu::CpuTarget target_;
  int threads_;
  std::vector<CodeImage> images_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const CompileOptions& options) {
  return std::make_unique<CpuBackend>(options);
}

}  // namespace fusec::driver
