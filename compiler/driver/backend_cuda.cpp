// An NVIDIA GPU: CUDA C++ through NVRTC. With a bare architecture it compiles on any machine that
// has NVRTC and loads nothing.
#include <chrono>
#include <future>

#include "backend.h"
#include "fusec/base/options.h"
#include "fusec/codegen_cuda/codegen.h"
#include "fusec/cuda/cuda.h"
#include "stage_text.h"

namespace fusec::driver {
namespace {

using codegen_cuda::LaunchForm;

// A kernel is launched over a table if any step gives it several segments.
std::vector<LaunchForm> forms_of(const Plan& plan) {
  std::vector<LaunchForm> forms(plan.kernels.size(), LaunchForm::single);
  for (const PlanStep& step : plan.steps)
    if (step.kernel >= 0 && step.segments.size() > 1) forms[step.kernel] = LaunchForm::table;
  return forms;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const CompileOptions& options, int ordinal, std::string arch)
      : arch_(std::move(arch)), looks_only_(!arch_.empty()), threads_(options.threads) {
    load_.device = ordinal;
    load_.tf32 = options.tf32;
    load_.deterministic = options.deterministic;
    load_.tune_gemms = options.tune_gemms || env("FUSEC_TUNE_GEMMS") == "1";
    if (looks_only_) return;
    opening_ = cuda::open_ahead(ordinal);
    device_ = cuda::device_info(ordinal);
    arch_ = device_.arch();
  }

  TargetInfo target() const override {
    TargetInfo t;
    t.name = "cuda " + arch_;
    t.cores = looks_only_ ? 132 : device_.sm_count;
    t.cache_bytes = looks_only_ ? 50 << 20 : device_.l2;
    t.operations_a_byte = 10;
    t.reduce_chunk = 16384;
    return t;
  }
  int64_t workspace_bytes(const Plan& plan) const override { return cuda::workspace_bytes(plan); }
  DeviceMemory memory() const override {
    require_gpu();
    return {cuda::free_memory(load_.device).free, "free on " + device_.name};
  }

  std::string source(const Plan& plan, size_t kernel) const override {
    return codegen_cuda::emit(plan.kernels[kernel], forms_of(plan)[kernel], true);
  }
  std::string binary(const Plan& plan, size_t kernel) const override {
    return cuda::compile_source(codegen_cuda::emit(plan.kernels[kernel], forms_of(plan)[kernel], false),
                                plan.kernels[kernel].name, arch_)
        .bytes;
  }

  void compile(const Plan& plan, bool, CompileTimes& times) override {
    auto start = std::chrono::steady_clock::now();
    std::vector<LaunchForm> forms = forms_of(plan);
    std::vector<std::string> texts;
    for (size_t i = 0; i < plan.kernels.size(); ++i)
      texts.push_back(codegen_cuda::emit(plan.kernels[i], forms[i], false));
    times.source +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    compile_sources(plan, texts, times);
  }
  void compile_sources(const Plan& plan, const std::vector<std::string>& texts,
                       CompileTimes& times) override {
    auto start = std::chrono::steady_clock::now();
    std::vector<cuda::SourceUnit> units;
    for (size_t i = 0; i < texts.size(); ++i) units.push_back({plan.kernels[i].name, texts[i]});
    // Library calls' texts, of which attention's are the longest, wait for no kernel.
    std::vector<cuda::SourceUnit> calls;
    if (!looks_only_) calls = cuda::call_units(plan, load_);
    units.insert(units.end(), calls.begin(), calls.end());
    std::vector<std::string> cubins =
        cuda::compile_units(units, arch_, threads_, &times.cache_hits, &times.cache_misses);
    for (size_t i = 0; i < calls.size(); ++i)
      load_.call_code[calls[i].text] = std::move(cubins[texts.size() + i]);
    cubins.resize(texts.size());
    keep(plan, cubins);
    times.binary +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  void link(const Plan& plan, const std::vector<std::string>& codes, CompileTimes&) override {
    keep(plan, codes);
  }

  std::string image(const Plan&) const override {
    fail_unsupported("a saved plan holds code for the CPU; compile with device \"cpu\" to save it");
  }
  std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan,
                                std::shared_ptr<PersistentStore> share) override {
    require_gpu();
    return cuda::load(std::move(plan), codes_, std::move(share), load_);
  }

 private:
  void require_gpu() const {
    if (looks_only_)
      fail_device("device \"" + arch_ +
                  "\" is an architecture to look at; use \"cuda\" to run on a GPU");
  }
  void keep(const Plan& plan, const std::vector<std::string>& cubins) {
    std::vector<LaunchForm> forms = forms_of(plan);
    codes_.clear();
    for (size_t i = 0; i < cubins.size(); ++i) {
      const KernelProgram& k = plan.kernels[i];
      codes_.push_back({cubins[i], codegen_cuda::entry_of(k), forms[i] == LaunchForm::table,
                        codegen_cuda::dynamic_shared(k)});
    }
  }

  std::string arch_;
  bool looks_only_;
  int threads_;
  cuda::DeviceInfo device_;
  std::vector<std::future<void>> opening_;
  cuda::LoadOptions load_;
  std::vector<cuda::KernelCode> codes_;
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(const CompileOptions& options, int ordinal,
                                           const std::string& arch) {
  return std::make_unique<CudaBackend>(options, ordinal, arch);
}

}  // namespace fusec::driver
