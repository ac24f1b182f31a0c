// compile(): runs all stages and loads the plan on the device.
#include "fusec/compile.h"

#include <cstdio>

#include "compilation.h"
#include "fusec/base/options.h"
#include "fusec/base/timing.h"
#include "fusec/inspect.h"
#include "fusec/io/file.h"
#include "memory_check.h"

namespace fusec {

struct Executable::Impl {
  CompileTimes times;
  MemoryReport memory;
  std::vector<std::string> warnings;
  std::unique_ptr<driver::Backend> backend;  // holds the code
  driver::KernelReferences references;  // with CompileOptions::validate
  bool validates = false;
  Program* program = nullptr;  // LoadedPlan's
};

Executable::Executable() = default;
Executable::~Executable() = default;
Executable::Executable(Executable&&) noexcept = default;
Executable& Executable::operator=(Executable&&) noexcept = default;

MemoryReport Executable::memory() const {
  plan();
  return impl_->memory;
}
const std::vector<std::string>& Executable::warnings() const {
  plan();  // an empty executable is an error there
  return impl_->warnings;
}

ValidateReport Executable::validate() {
  if (!impl_ || !impl_->validates)
    fail_user("validate: compile with CompileOptions::validate = true, which keeps what to compare "
              "with");
  check_ready();
  ValidateReport report = driver::validate(*impl_->program, plan(), impl_->references);
  note_run();
  return report;
}

const CompileTimes& Executable::times() const {
  plan();
  return impl_->times;
}

void Executable::save(const std::string& path) const {
  const Plan& saved = plan();
  io::write_file(path, impl_->backend->image(saved));
}

namespace {

// Parameters and states that `share` already holds.
int64_t shared_bytes(const Plan& plan, const LoadedPlan* share) {
  int64_t bytes = 0;
  if (!share || !share->store()) return 0;
  for (const PlanBuffer& b : plan.buffers) {
    bool named = b.cls == BufferClass::parameter || b.cls == BufferClass::state;
    if (named && share->plan().find(b.name) >= 0) bytes += reserved_bytes(b.type);
  }
  return bytes;
}

}  // namespace

Executable compile(Graph& graph, std::vector<Output> outputs, CompileOptions options) {
  TimeSpan span("compile");
  InspectOptions inspect_options;
  inspect_options.compile = options;
  inspect_options.until = Stage::plan;
  driver::Compilation c(inspect_options);
  c.take_kept_plans();
  c.from_graph(graph, outputs, "graph");
  c.run();

  // Planned once more with all the recompute there is; only an error asks for it.
  auto smallest = [&] {
    InspectOptions least = inspect_options;
    least.compile.memory_budget = 1;
    least.compile.dump_dir.clear();
    return inspect(graph, outputs, "graph", least).memory.peak();
  };
  // A plan that was kept has fitted before, and its code is at hand: it is read while the device
  // starts, for which the question of its memory waits.
  if (c.result().times.plan_cached) c.run_until(Stage::binary);
  TimeSpan asking("waiting for the device, its free memory");
  driver::check_fits(c.result().memory, shared_bytes(c.result().plan, options.share), options,
                     *c.backend(), smallest);
  asking.end();
  c.run_until(Stage::binary);

  Executable out;
  out.impl_ = std::make_unique<Executable::Impl>();
  Executable::Impl& e = *out.impl_;
  auto plan = std::make_shared<const Plan>(std::move(c.result().plan));
  e.times = c.result().times;
  e.memory = c.result().memory;
  e.warnings = c.result().warnings;
  e.backend = std::move(c.backend());
  e.references = std::move(c.references());
  e.validates = options.validate;
  for (const std::string& w : e.warnings) std::fprintf(stderr, "fusec: warning: %s\n", w.c_str());
  try {
    TimeSpan loading("load");
    std::unique_ptr<Program> program =
        e.backend->load(plan, options.share ? options.share->store() : nullptr);
    e.program = program.get();
    static_cast<LoadedPlan&>(out) = LoadedPlan(plan, std::move(program), c.sentry());
  } catch (const OutOfMemory& error) {
    fail_device(error.message() + ": " +
                driver::memory_paragraph(e.memory, "which the machine refused", smallest));
  }
  if (timing()) {
    const CompileTimes& t = e.times;
    std::fprintf(stderr,
                 "compile: import %.3f canonical %.3f fused %.3f scheduled %.3f plan %.3f source "
                 "%.3f binary %.3f s, %zu kernels (%d from the cache%s), %zu steps\n",
                 t.import, t.canonical, t.fused, t.scheduled, t.plan, t.source, t.binary,
                 plan->kernels.size(), t.cache_hits, t.plan_cached ? ", as the plan" : "",
                 plan->steps.size());
  }
  return out;
}

}  // namespace fusec
