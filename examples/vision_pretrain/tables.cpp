// Model, plan and backends to text on stdout; see tables.h.
#include "tables.h"

#include <algorithm>
#include <fmt/format.h>

namespace fusec::examples {
namespace {

std::string mib(int64_t bytes) { return fmt::format("{:.2f} MiB", bytes / 1048576.0); }

void row(const std::string& name, const std::string& text) {
  fmt::print("  {:<22}{}\n", name, text);
}

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

void print_data_table(const Dataset& data, const models::CaptionTrainer& trainer) {
  fmt::print("data\n");
  row("train", fmt::format("{} captions", data.train.size()));
  for (const HeldOut& set : data.held_out) {
    row(set.name, fmt::format("{} captions ({})", set.items.size(), set.meaning));
  }
  if (data.dropped > 0) {
    row("dropped",
        fmt::format("{} captions that need more than {} tokens", data.dropped, data.sequence));
  }
  row("vocabulary", fmt::format("{} tokens", trainer.tokenizer().vocab_size()));
}

void print_model_table(const models::CaptionTrainer& trainer) {
  const models::TrainerOptions& o = trainer.options();
  const models::VisionGptConfig& m = o.model;
  fmt::print("model\n");
  if (m.text_only()) {
    row("encoder", "none: text only");
  } else {
    row("encoder",
        fmt::format("{0} x {0} px, patch {1}, {2} patches, width {3}, {4} blocks", m.vision.image,
                    m.vision.patch, m.vision.patches(), m.vision.width, m.vision.layers));
    row("resampler", fmt::format("{} queries, {} blocks", m.resampler.queries, m.resampler.layers));
  }
  row("trunk", fmt::format("width {}, {} blocks, {} heads ({} kv) of {}, MLP {}", m.width, m.layers,
                           m.heads, m.kv_heads, m.head_dim, m.intermediate));
  row("batch", fmt::format("{} rows of {} tokens", o.rows, m.sequence));
  fmt::print("parameters\n");
  int64_t all = 0;
  for (const models::ModuleCount& count : trainer.modules()) {
    row(count.module, fmt::format("{:>10}  in {} tensors", count.parameters, count.tensors));
    all += count.parameters;
  }
  row("all", fmt::format("{:>10}", all));
  row("trained", fmt::format("{:>10}  (--train {})", trainer.trained_parameters(), o.train));
}

void print_memory_table(const Executable& step) {
  const Plan& plan = step.plan();
  MemoryReport memory = step.memory();
  int64_t parameters = total_of(plan, BufferClass::parameter);
  int64_t states = total_of(plan, BufferClass::state);
  int64_t constants = total_of(plan, BufferClass::constant);
  fmt::print("planned memory\n");
  row("parameters", fmt::format("{:>14}", mib(parameters)));
  row("optimizer states", fmt::format("{:>14}", mib(states)));
  row("constants", fmt::format("{:>14}", mib(constants)));
  row("arena", fmt::format("{:>14}  ({} without reuse)", mib(plan.arena_bytes),
                           mib(plan.sum_of_temporaries)));
  row("  inputs", fmt::format("{:>14}", mib(peak_of(plan, BufferClass::input))));
  row("  outputs", fmt::format("{:>14}", mib(peak_of(plan, BufferClass::output))));
  row("  temporaries",
      fmt::format("{:>14}  at their peak", mib(peak_of(plan, BufferClass::temporary))));
  row("library scratch", fmt::format("{:>14}", mib(memory.workspace)));
  row("peak", fmt::format("{:>14}  at {}", mib(memory.peak()), memory.peak_name));
  size_t shown = std::min<size_t>(memory.largest.size(), 3);
  for (size_t i = 0; i < shown; ++i) row(i == 0 ? "  largest there" : "", memory.largest[i].str());
}

void print_backend_table(const models::CaptionTrainer& trainer, const Executable& step) {
  const Plan& plan = step.plan();
  fmt::print("step\n");
  row("plan", fmt::format("{} steps, {} distinct kernels, compiled in {:.2f} s", plan.steps.size(),
                          plan.kernels.size(), step.times().total()));
  row("matrix products", step.backend("gemm"));
  row("attention", step.backend("attention"));
  row("kernels", step.backend("kernels"));
  const models::AdamWOptions& adam = trainer.options().optimizer;
  fmt::print("Optimizer: AdamW (betas {}, {}; clip {}), backend: {}\n\n", adam.beta1, adam.beta2,
             adam.clip, step.backend("optimizer"));
  std::fflush(stdout);
}

}  // namespace fusec::examples
