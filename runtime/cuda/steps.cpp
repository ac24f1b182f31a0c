// A plan's steps -> launches. A kernel is launched in the form that its code has (codegen.h):
// single, with the addresses as arguments, or over a table, which holds one row a segment.
#include "steps.h"

#include <algorithm>
#include <optional>
#include <set>

#include "bind_launches.h"
#include "fusec/base/error.h"
#include "fusec/base/timing.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kMostBlocks = 0x7fffffff;

// The launch of a kernel's step, with one row a segment for `tables` if its code takes a table;
// nothing for a step that has no work.
std::optional<Launch> launch_of(const Plan& plan, const PlanStep& step, const KernelCode& compiled,
                                const Placement& placement, std::vector<uint64_t>& tables) {
  const KernelProgram& kernel = plan.kernels.at(step.kernel);
  if (kernel.schedule.block <= 0)
    fail_internal("kernel " + kernel.name + " has no schedule for a GPU (block is 0)");
  if (!compiled.table && step.segments.size() > 1)
    fail_internal("kernel " + kernel.name + " runs " + std::to_string(step.segments.size()) +
                  " segments, but its code takes one");
  std::vector<uint64_t> rows;
  std::vector<CuAddress> args;  // of the last segment that has work
  int64_t blocks = 0, segments = 0, n = 0;
  for (const Segment& s : step.segments) {
    if (s.args.size() != kernel.params.size())
      fail_internal("kernel " + kernel.name + " takes " + std::to_string(kernel.params.size()) +
                    " arguments, a step gives " + std::to_string(s.args.size()));
    std::vector<CuAddress> addresses;
    for (const BufferRef& ref : s.args) addresses.push_back(address_of(plan, placement, ref));
    int64_t own = kernel.blocks(s.n);
    if (own == 0) continue;
    rows.push_back(static_cast<uint64_t>(blocks));
    rows.push_back(static_cast<uint64_t>(s.n));
    rows.insert(rows.end(), addresses.begin(), addresses.end());
    args = std::move(addresses);
    n = s.n;
    blocks += own;
    ++segments;
  }
  if (blocks == 0) return std::nullopt;
  if (blocks > kMostBlocks)
    fail_unsupported("kernel " + kernel.name + " needs " + std::to_string(blocks) +
                     " blocks of threads; one launch holds " + std::to_string(kMostBlocks));
  Launch l;
  l.name = kernel.name;
  l.entry = compiled.entry;
  l.grid[0] = static_cast<unsigned>(blocks);
  l.block[0] = static_cast<unsigned>(kernel.schedule.block);
  l.dynamic_shared = static_cast<unsigned>(compiled.dynamic_shared);
  if (compiled.table) {
    l.args = {placement.tables + tables.size() * sizeof(uint64_t), static_cast<uint64_t>(segments)};
    tables.insert(tables.end(), rows.begin(), rows.end());
  } else {
    l.args.assign(args.begin(), args.end());
    l.args.push_back(static_cast<uint64_t>(n));
  }
  l.args.push_back(step.commit ? placement.status + offsetof(Status, skip) : 0);
  return l;
}

}  // namespace

std::string step_name(const Plan& plan, int step) {
  const PlanStep& s = plan.steps[step];
  return "step " + std::to_string(step) + " (" +
         (s.kernel < 0 ? s.call.name : plan.kernels[s.kernel].name) +
         (s.scope.empty() ? "" : ", " + s.scope) + ") of " + plan.graph;
}

int64_t table_bytes(const Plan& plan) {
  size_t words = 0;
  for (const PlanStep& step : plan.steps)
    for (const Segment& s : step.segments) words += 2 + s.args.size();
  return static_cast<int64_t>(words * sizeof(uint64_t));
}

int64_t call_workspace_bytes(const Plan& plan, const CallTarget& target) {
  int64_t most = 0;
  for (const PlanStep& step : plan.steps)
    if (step.kernel < 0)
      most = std::max(most, is_gemm(step) ? gemm_workspace(read_gemm(step.call))
                                          : call_workspace(step.call, target));
  return most;
}

int64_t call_counter_bytes(const Plan& plan, const CallTarget& target) {
  int64_t most = 0;
  for (const PlanStep& step : plan.steps)
    if (step.kernel < 0 && !is_gemm(step)) most = std::max(most, call_counters(step.call, target));
  return most * static_cast<int64_t>(sizeof(uint32_t));
}

std::vector<SourceUnit> call_units(const Plan& plan, const CallTarget& target, bool own_gemms) {
  std::set<std::string> seen;
  std::vector<SourceUnit> units;
  for (const PlanStep& step : plan.steps) {
    if (step.kernel >= 0 || (is_gemm(step) && !own_gemms)) continue;
    try {
      for (CallLaunch& l :
           is_gemm(step) ? own_gemm(read_gemm(step.call)) : launches_of(step.call, target))
        if (seen.insert(l.text).second) units.push_back({step.call.name, std::move(l.text)});
    } catch (Error& e) {
      if (!own_gemms) continue;  // load() tells it
      e.add_note("in call " + step.call.name + " of " + plan.graph);
      throw;
    }
  }
  return units;
}

void Step::go(CuStream stream) const {
  if (gemm) gemm->run(stream);
  for (const Launch& l : launches) l.go(stream);
}

BoundSteps bind_steps(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
                      const Placement& placement, const CallTarget& target,
                      const LoadOptions& options) {
  BoundSteps out;
  out.steps.resize(plan.steps.size());
  LaunchBinder binder(plan, gpu, placement, options);
  auto each_step = [&](auto f) {
    for (size_t i = 0; i < plan.steps.size(); ++i)
      in_step(plan, static_cast<int>(i), [&] { f(static_cast<int>(i), plan.steps[i]); });
  };
  // All kernels first: their code is loaded while calls are bound.
  each_step([&](int i, const PlanStep& step) {
    if (step.kernel < 0) return;
    const KernelCode& code = kernels[step.kernel];
    if (std::optional<Launch> l = launch_of(plan, step, code, placement, out.tables))
      binder.add(i, std::move(*l), code);
  });
  binder.start();
  {
    TimeSpan span("library calls");
    each_step([&](int i, const PlanStep& step) {
      if (step.kernel < 0 && !is_gemm(step)) binder.add_call(i, launches_of(step.call, target));
    });
    span.note(std::to_string(binder.texts()) + " texts");
  }
  out.code = binder.finish(out.steps);
  return out;
}

}  // namespace fusec::cuda
