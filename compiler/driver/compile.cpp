// compile(): runs all stages and loads the plan on the device.
#include "fusec/compile.h"

#include <cstdio>

#include "compilation.h"
#include "fusec/base/options.h"
#include "fusec/cpu/cpu.h"
#include "fusec/io/file.h"

namespace fusec {

struct Executable::Impl {
  CompileTimes times;
  Machine machine;
  std::vector<CodeImage> images;
};

Executable::Executable() = default;
Executable::~Executable() = default;
Executable::Executable(Executable&&) noexcept = default;
Executable& Executable::operator=(Executable&&) noexcept = default;

const CompileTimes& Executable::times() const { return impl_->times; }

void Executable::save(const std::string& path) const {
  io::write_file(path, plan_image_bytes(plan(), impl_->machine, impl_->images));
}

Executable compile(Graph& graph, std::vector<Output> outputs, CompileOptions options) {
  InspectOptions inspect;
  inspect.compile = options;
  inspect.until = Stage::binary;
  driver::Compilation c(inspect);
  c.take_kept_plans();
  c.from_graph(graph, outputs, "graph");
  c.run();

  Executable out;
  out.impl_ = std::make_unique<Executable::Impl>();
  out.impl_->times = c.result().times;
  out.impl_->machine = codegen_cpu::machine_of(c.target());
  out.impl_->images = std::move(c.kernels().images);
  auto plan = std::make_shared<const Plan>(std::move(c.result().plan));
  static_cast<LoadedPlan&>(out) =
      LoadedPlan(plan, cpu::load(plan, cpu::map_kernels(out.impl_->images),
                                 options.share ? options.share->store() : nullptr,
                                 cpu::thread_count(options.threads)));
  if (env("FUSEC_TIME") == "1") {
    const CompileTimes& t = out.impl_->times;
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
