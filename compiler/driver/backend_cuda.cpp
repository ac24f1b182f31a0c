// An NVIDIA GPU: CUDA C++ through NVRTC. With a bare architecture it compiles on any machine that
// has NVRTC and loads nothing.
//
// On disk lie cubins one by one, since plans share them, and beside each plan that is kept all its
// code in one object: a compile that finds both neither makes a text nor hashes one.
#include <chrono>
#include <future>

#include "backend.h"
#include "compile_cache.h"
#include "fusec/base/options.h"
#include "fusec/base/timing.h"
#include "fusec/codegen_cuda/codegen.h"
#include "fusec/cuda/plan_code.h"
#include "fusec/inspect.h"
#include "fusec/plan/plan_image.h"
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
    TimeSpan span("finding the GPU");
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
  std::string workspace_settings() const override {
    return "attention " + env("FUSEC_ATTENTION") + " racecheck " + env("FUSEC_RACECHECK");
  }
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

  void compile(const Plan& plan, bool, const Digest* kept, CompileTimes& times) override {
    std::shared_ptr<DiskCache> cache = kept ? DiskCache::of_environment() : nullptr;
    const std::string version = cache ? cuda::nvrtc_version() : "";
    Digest key{};
    if (!version.empty()) {
      key = CompileCache::code_key(*kept, cuda::settings_text(arch_, version, call_target()));
      if (take_kept(*cache, key, plan, times)) return;
    }
    auto start = std::chrono::steady_clock::now();
    TimeSpan span("CUDA C++ of the kernels");
    std::vector<LaunchForm> forms = forms_of(plan);
    std::vector<std::string> texts;
    for (size_t i = 0; i < plan.kernels.size(); ++i)
      texts.push_back(codegen_cuda::emit(plan.kernels[i], forms[i], false));
    span.end();
    times.source +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    compile_sources(plan, texts, times);
    // The version that a record told may be out of date: what was compiled says the true one.
    if (!version.empty() && cuda::nvrtc_version() == version)
      cache->put(key, to_bytes(plan_code()));
  }
  void compile_sources(const Plan& plan, const std::vector<std::string>& texts,
                       CompileTimes& times) override {
    auto start = std::chrono::steady_clock::now();
    TimeSpan span("cubins, from the cache or by NVRTC");
    std::vector<cuda::SourceUnit> units;
    for (size_t i = 0; i < texts.size(); ++i) units.push_back({plan.kernels[i].name, texts[i]});
    // Library calls' texts, of which attention's are the longest, wait for no kernel.
    std::vector<cuda::SourceUnit> calls;
    if (!looks_only_) calls = cuda::call_units(plan, call_target(), false);
    units.insert(units.end(), calls.begin(), calls.end());
    std::vector<std::string> cubins =
        cuda::compile_units(units, arch_, threads_, &times.cache_hits, &times.cache_misses);
    for (size_t i = 0; i < calls.size(); ++i)
      load_.call_code[sha256(calls[i].text)] = std::move(cubins[texts.size() + i]);
    cubins.resize(texts.size());
    keep(plan, cubins);
    load_.nvrtc = cuda::nvrtc_version();
    span.note(std::to_string(times.cache_hits) + " found, " + std::to_string(times.cache_misses) +
              " compiled");
    times.binary +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  void link(const Plan& plan, const std::vector<std::string>& codes, CompileTimes&) override {
    keep(plan, codes);
  }

  // With the code of all library calls, own GEMMs too: where the file is loaded nothing compiles.
  std::string image(const Plan& plan) const override {
    cuda::PlanCode code = plan_code();
    std::vector<cuda::SourceUnit> missing;
    for (cuda::SourceUnit& unit : cuda::call_units(plan, code.target, true))
      if (!code.calls.contains(sha256(unit.text))) missing.push_back(std::move(unit));
    std::vector<std::string> cubins = cuda::compile_units(missing, arch_, threads_);
    for (size_t i = 0; i < missing.size(); ++i)
      code.calls[sha256(missing[i].text)] = std::move(cubins[i]);
    return cuda::plan_image_bytes({{plan, std::move(code)}});
  }
  std::unique_ptr<Program> load(std::shared_ptr<const Plan> plan,
                                std::shared_ptr<PersistentStore> share) override {
    require_gpu();
    return cuda::load(std::move(plan), codes_, std::move(share), load_);
  }

 private:
  cuda::CallTarget call_target() const {
    return looks_only_ ? cuda::call_target(arch_, load_.deterministic)
                       : cuda::call_target(device_, load_.deterministic);
  }
  cuda::PlanCode plan_code() const {
    return {arch_, load_.nvrtc, call_target(), load_.tf32, codes_, load_.call_code};
  }
  bool take_kept(DiskCache& cache, const Digest& key, const Plan& plan, CompileTimes& times) {
    auto start = std::chrono::steady_clock::now();
    TimeSpan span("code of the plan from the cache");
    std::optional<std::string> bytes = cache.get(key);
    if (!bytes) {
      span.note("it has none");
      return false;
    }
    cuda::PlanCode code = cuda::parse_plan_code(*bytes);
    if (code.kernels.size() != plan.kernels.size())
      fail_internal("kept code of " + std::to_string(code.kernels.size()) + " kernels for plan " +
                    plan.graph + ", which has " + std::to_string(plan.kernels.size()));
    span.note(std::to_string(bytes->size() >> 10) + " KB");
    codes_ = std::move(code.kernels);
    load_.call_code = std::move(code.calls);
    load_.nvrtc = std::move(code.nvrtc);
    times.cache_hits = static_cast<int>(codes_.size() + load_.call_code.size());
    times.cache_misses = 0;
    times.binary += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return true;
  }
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

namespace fusec {

std::string join_images(const std::vector<std::string>& images) {
  std::vector<cuda::PlanForGpu> parts;
  for (const std::string& bytes : images) {
    OpenedImage file = open_image(bytes);
    if (file.device != ImageDevice::nvidia)
      fail_user(
          "a saved plan for several architectures is one for GPUs; save that for the CPU alone");
    for (cuda::PlanForGpu& part : cuda::parse_gpu_image_body(file.body).parts) {
      for (const cuda::PlanForGpu& other : parts)
        if (other.code.arch == part.code.arch)
          fail_user("architecture " + part.code.arch + " was given twice");
      parts.push_back(std::move(part));
    }
  }
  return cuda::plan_image_bytes(parts);
}

}  // namespace fusec
