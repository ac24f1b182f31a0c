// Model, plan and backends to text on stdout; see run_tables.h.
#include "run_tables.h"

#include <fmt/format.h>
#include <algorithm>
#include <cstdio>

namespace fusec::examples {
namespace {

std::string mib(int64_t bytes) { return fmt::format("{:.2f} MiB", bytes / 1048576.0); }

// Most bytes of arena buffers of one class that are live in the same step.
int64_t peak_of(const Plan& plan, BufferClass cls) {
  std::vector<int64_t> change(plan.steps.size() + 2, 0);
  for (const PlanBuffer& b : plan.buffers) {
    if (b.cls != cls) continue;
    change[b.first] += reserved_bytes(b.type);
    change[std::min<size_t>(b.last + 1, change.size() - 1)] -= reserved_bytes(b.type);
  }
  int64_t live = 0, peak = 0;
  for (int64_t c : change) peak = std::max(peak, live += c);
  return peak;
}

int64_t total_of(const Plan& plan, BufferClass cls) {
  int64_t sum = 0;
  for (const PlanBuffer& b : plan.buffers) sum += b.cls == cls ? reserved_bytes(b.type) : 0;
  return sum;
}

}  // namespace

void print_row(const std::string& name, const std::string& text) {
  fmt::print("  {:<22}{}\n", name, text);
}

void print_model_table(const models::VisionGptConfig& m, const std::string& batch,
                       const std::vector<models::ModuleCount>& modules, int64_t trained,
                       const std::string& selection) {
  fmt::print("model\n");
  if (m.text_only()) {
    print_row("encoder", "none: text only");
  } else {
    print_row("encoder", fmt::format("{0} x {0} px, patch {1}, {2} patches, width {3}, {4} blocks",
                                     m.vision.image, m.vision.patch, m.vision.patches(),
                                     m.vision.width, m.vision.layers));
    print_row("resampler",
              fmt::format("{} queries, {} blocks", m.resampler.queries, m.resampler.layers));
  }
  print_row("trunk", fmt::format("width {}, {} blocks, {} heads ({} kv) of {}, MLP {}", m.width,
                                 m.layers, m.heads, m.kv_heads, m.head_dim, m.intermediate));
  print_row("batch", batch);
  fmt::print("parameters\n");
  int64_t all = 0;
  for (const models::ModuleCount& count : modules) {
    print_row(count.module, fmt::format("{:>10}  in {} tensors", count.parameters, count.tensors));
    all += count.parameters;
  }
  print_row("all", fmt::format("{:>10}", all));
  print_row("trained", fmt::format("{:>10}  (--train {})", trained, selection));
}

void print_memory_table(const Executable& step) {
  const Plan& plan = step.plan();
  MemoryReport memory = step.memory();
  int64_t parameters = total_of(plan, BufferClass::parameter);
  int64_t states = total_of(plan, BufferClass::state);
  int64_t constants = total_of(plan, BufferClass::constant);
  fmt::print("planned memory\n");
  print_row("parameters", fmt::format("{:>14}", mib(parameters)));
  print_row("optimizer states", fmt::format("{:>14}", mib(states)));
  print_row("constants", fmt::format("{:>14}", mib(constants)));
  print_row("arena", fmt::format("{:>14}  ({} without reuse)", mib(plan.arena_bytes),
                                 mib(plan.sum_of_temporaries)));
  print_row("  inputs", fmt::format("{:>14}", mib(peak_of(plan, BufferClass::input))));
  print_row("  outputs", fmt::format("{:>14}", mib(peak_of(plan, BufferClass::output))));
  print_row("  temporaries",
            fmt::format("{:>14}  at their peak", mib(peak_of(plan, BufferClass::temporary))));
  print_row("library scratch", fmt::format("{:>14}", mib(memory.workspace)));
  print_row("peak", fmt::format("{:>14}  at {}", mib(memory.peak()), memory.peak_name));
  size_t shown = std::min<size_t>(memory.largest.size(), 3);
  for (size_t i = 0; i < shown; ++i)
    print_row(i == 0 ? "  largest there" : "", memory.largest[i].str());
}

void print_backend_table(const models::AdamWOptions& adam, const Executable& step) {
  const Plan& plan = step.plan();
  fmt::print("step\n");
  print_row("plan", fmt::format("{} steps, {} distinct kernels, compiled in {:.2f} s",
                                plan.steps.size(), plan.kernels.size(), step.times().total()));
  print_row("matrix products", step.backend("gemm"));
  print_row("attention", step.backend("attention"));
  print_row("kernels", step.backend("kernels"));
  fmt::print("Optimizer: AdamW (betas {}, {}; clip {}), backend: {}\n\n", adam.beta1, adam.beta2,
             adam.clip, step.backend("optimizer"));
  std::fflush(stdout);
}

}  // namespace fusec::examples
