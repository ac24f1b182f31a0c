// compile(): runs all stages and loads the plan on the device.
#include "fusec/compile.h"

#include <cstdio>

#include "compilation.h"
#include "fusec/base/nearest.h"
#include "fusec/base/options.h"
#include "fusec/cpu/cpu.h"
#include "fusec/inspect.h"
#include "memory_check.h"

namespace fusec {

struct Executable::Impl {
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<Program> program;
  CompileTimes times;
  MemoryReport memory;
  std::vector<std::string> warnings;
  Sentry sentry = Sentry::guard;
  bool finite = true;                // the last run
  std::optional<NonFinite> culprit;  // of the last run, once known

  int find(std::string_view name) const {
    int i = plan->find(name);
    if (i >= 0) return i;
    std::vector<std::string> known;
    for (const PlanBuffer& b : plan->buffers)
      if (b.cls != BufferClass::temporary && b.cls != BufferClass::constant)
        known.push_back(b.name);
    fail_user("no input, output, parameter or state \"" + std::string(name) + "\" in " +
              plan->graph + suggest(name, known));
  }

  int sized(std::string_view name, size_t bytes) const {
    int i = find(name);
    const TensorType& t = plan->buffers[i].type;
    if (static_cast<int64_t>(bytes) != t.bytes())
      fail_user(std::string(name) + " is " + t.str() + ": expected " + std::to_string(t.bytes()) +
                " bytes, found " + std::to_string(bytes));
    return i;
  }
};

Executable::Executable() = default;
Executable::~Executable() = default;
Executable::Executable(Executable&&) noexcept = default;
Executable& Executable::operator=(Executable&&) noexcept = default;

void Executable::write(std::string_view name, const void* data, size_t bytes) {
  impl_->program->write(impl_->sized(name, bytes), data, bytes);
}

void Executable::read(std::string_view name, void* data, size_t bytes) const {
  impl_->program->read(impl_->sized(name, bytes), data, bytes);
}

const TensorType& Executable::type(std::string_view name) const {
  return impl_->plan->buffers[impl_->find(name)].type;
}

RunResult Executable::run() {
  Impl& e = *impl_;
  e.culprit.reset();
  if (e.sentry == Sentry::check) {
    CheckedRun run = e.program->run_checked(true);
    e.finite = run.finite;
    e.culprit = std::move(run.first);
  } else {
    e.finite = e.program->run();
  }
  return {e.finite};
}

std::optional<NonFinite> Executable::diagnose() {
  Impl& e = *impl_;
  if (!e.finite && !e.culprit) e.culprit = e.program->run_checked(false).first;
  return e.culprit;
}

MemoryReport Executable::memory() const { return impl_->memory; }
int64_t Executable::measured_bytes() const { return impl_->program->measured_bytes(); }
const std::vector<std::string>& Executable::warnings() const { return impl_->warnings; }

std::vector<StepProfile> Executable::profile() {
  std::vector<StepProfile> out;
  for (const StepTime& t : impl_->program->run_profiled()) {
    const PlanStep& step = impl_->plan->steps[t.step];
    const std::string& name =
        step.kernel >= 0 ? impl_->plan->kernels[step.kernel].name : step.call.name;
    out.push_back({name, step.scope, t.seconds, step.bytes, step.flops});
  }
  return out;
}

const Plan& Executable::plan() const { return *impl_->plan; }
const CompileTimes& Executable::times() const { return impl_->times; }
std::string Executable::backend(std::string_view work) const {
  return impl_->program->backend(work);
}

namespace {

// Parameters and states that `share` already holds.
int64_t shared_bytes(const Plan& plan, const Executable* share) {
  int64_t bytes = 0;
  if (!share) return 0;
  for (const PlanBuffer& b : plan.buffers) {
    bool named = b.cls == BufferClass::parameter || b.cls == BufferClass::state;
    if (named && share->plan().find(b.name) >= 0) bytes += reserved_bytes(b.type);
  }
  return bytes;
}

}  // namespace

Executable compile(Graph& graph, std::vector<Output> outputs, CompileOptions options) {
  InspectOptions inspect_options;
  inspect_options.compile = options;
  inspect_options.until = Stage::plan;
  driver::Compilation c(inspect_options);
  c.from_graph(graph, outputs, "graph");
  c.run();

  // Planned once more with all the recompute there is; only an error asks for it.
  auto smallest = [&] {
    InspectOptions least = inspect_options;
    least.compile.memory_budget = 1;
    least.compile.dump_dir.clear();
    return inspect(graph, outputs, "graph", least).memory.peak();
  };
  driver::check_fits(c.result().memory, shared_bytes(c.result().plan, options.share), options,
                     smallest);
  c.run_until(Stage::binary);

  Executable out;
  out.impl_ = std::make_unique<Executable::Impl>();
  Executable::Impl& e = *out.impl_;
  e.plan = std::make_shared<const Plan>(std::move(c.result().plan));
  e.times = c.result().times;
  e.memory = c.result().memory;
  e.warnings = c.result().warnings;
  e.sentry = c.sentry();
  for (const std::string& w : e.warnings) std::fprintf(stderr, "fusec: warning: %s\n", w.c_str());
  cpu::KernelImages images{c.kernels().functions, c.kernels().owner};
  std::shared_ptr<PersistentStore> share;
  if (options.share && options.share->impl_) share = options.share->impl_->program->store();
  try {
    e.program = cpu::load(e.plan, std::move(images), share, driver::thread_count(options.threads));
  } catch (const OutOfMemory& error) {
    fail_device(error.message() + ": " +
                driver::memory_paragraph(e.memory, "which the machine refused", smallest));
  }
  if (env("FUSEC_TIME") == "1") {
    const CompileTimes& t = e.times;
    std::fprintf(stderr,
                 "compile: import %.3f canonical %.3f fused %.3f scheduled %.3f plan %.3f source "
                 "%.3f binary %.3f s, %zu kernels, %zu steps\n",
                 t.import, t.canonical, t.fused, t.scheduled, t.plan, t.source, t.binary,
                 e.plan->kernels.size(), e.plan->steps.size());
  }
  return out;
}

}  // namespace fusec
