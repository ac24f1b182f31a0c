// compile(): runs all stages and loads the plan on the device.
#include "fusec/compile.h"

#include <cstdio>

#include "compilation.h"
#include "fusec/base/nearest.h"
#include "fusec/base/options.h"
#include "fusec/cpu/cpu.h"

namespace fusec {

struct Executable::Impl {
  std::shared_ptr<const Plan> plan;
  std::unique_ptr<Program> program;
  CompileTimes times;
  driver::KernelReferences references;  // with CompileOptions::validate
  bool validates = false;

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

void Executable::run() { impl_->program->run(); }
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

ValidateReport Executable::validate() {
  if (!impl_->validates)
    fail_user("validate: compile with CompileOptions::validate = true, which keeps what to compare "
              "with");
  return driver::validate(*impl_->program, *impl_->plan, impl_->references);
}

const Plan& Executable::plan() const { return *impl_->plan; }
const CompileTimes& Executable::times() const { return impl_->times; }
std::string Executable::backend(std::string_view work) const {
  return impl_->program->backend(work);
}

Executable compile(Graph& graph, std::vector<Output> outputs, CompileOptions options) {
  InspectOptions inspect;
  inspect.compile = options;
  inspect.until = Stage::binary;
  driver::Compilation c(inspect);
  c.from_graph(graph, outputs, "graph");
  c.run();

  Executable out;
  out.impl_ = std::make_unique<Executable::Impl>();
  out.impl_->plan = std::make_shared<const Plan>(std::move(c.result().plan));
  out.impl_->times = c.result().times;
  out.impl_->references = std::move(c.references());
  out.impl_->validates = options.validate;
  cpu::KernelImages images{c.kernels().functions, c.kernels().owner};
  std::shared_ptr<PersistentStore> share;
  if (options.share && options.share->impl_) share = options.share->impl_->program->store();
  out.impl_->program =
      cpu::load(out.impl_->plan, std::move(images), share, driver::thread_count(options.threads));
  if (env("FUSEC_TIME") == "1") {
    const CompileTimes& t = out.impl_->times;
    std::fprintf(stderr,
                 "compile: import %.3f canonical %.3f fused %.3f scheduled %.3f plan %.3f source "
                 "%.3f binary %.3f s, %zu kernels, %zu steps\n",
                 t.import, t.canonical, t.fused, t.scheduled, t.plan, t.source, t.binary,
                 out.impl_->plan->kernels.size(), out.impl_->plan->steps.size());
  }
  return out;
}

}  // namespace fusec
