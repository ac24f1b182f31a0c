// A plan's steps -> launches. A kernel is launched in the form that its code has (codegen.h):
// single, with the addresses as arguments, or over a table, which holds one row a segment.
#include "steps.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "fusec/base/error.h"
#include "fusec/base/options.h"
#include "fusec/core/disk_cache.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kMostBlocks = 0x7fffffff;

bool is_gemm(const PlanStep& step) { return step.kernel < 0 && step.call.name == "gemm"; }

class Binder {
 public:
  Binder(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
         const Placement& placement, const LoadOptions& options)
      : plan_(plan), kernels_(kernels), gpu_(gpu), placement_(placement), options_(options) {
    for (const PlanStep& step : plan.steps)
      guarded_ = guarded_ || (step.kernel < 0 && step.call.name == "guard");
  }

  BoundSteps bind() {
    out_.steps.resize(plan_.steps.size());
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      int step = static_cast<int>(i);
      try {
        if (plan_.steps[i].kernel >= 0)
          bind_kernel(step);
        else if (is_gemm(plan_.steps[i]))
          bind_gemm(step);
        else
          add_call(step, launches_of(plan_.steps[i].call,
                                     call_target(gpu_.info, options_.deterministic)));
      } catch (Error& e) {
        e.add_note("in " + step_name(plan_, step));
        throw;
      }
    }
    compile_calls();
    return std::move(out_);
  }

 private:
  // A launch of a call whose code is not compiled yet.
  struct Pending {
    int step;
    size_t unit;  // in units_
    CallLaunch launch;
  };

  CuAddress address(const BufferRef& ref) const {
    bool known = ref.buffer >= 0 && ref.buffer < static_cast<int>(placement_.buffers.size());
    if (!known || ref.byte_offset < 0 || ref.byte_offset > plan_.buffers[ref.buffer].type.bytes())
      fail_internal("plan " + plan_.graph + " refers to byte " + std::to_string(ref.byte_offset) +
                    " of buffer " + std::to_string(ref.buffer) + ", which does not exist");
    return placement_.buffers[ref.buffer] + static_cast<CuAddress>(ref.byte_offset);
  }

  // A choice that cannot be kept may be another in the next process.
  bool tunes() const {
    return options_.tune_gemms && (!options_.deterministic || DiskCache::of_environment());
  }

  CuAddress skip(const PlanStep& step) const {
    return step.commit ? placement_.status + offsetof(Status, skip) : 0;
  }

  const Code& code(const std::string& cubin, const std::string& name) {
    auto [it, fresh] = loaded_.emplace(cubin, nullptr);
    if (fresh) {
      out_.code.push_back(std::make_unique<Code>(gpu_, cubin, name));
      it->second = out_.code.back().get();
    }
    return *it->second;
  }

  void bind_kernel(int index) {
    const PlanStep& step = plan_.steps[index];
    const KernelProgram& kernel = plan_.kernels.at(step.kernel);
    const KernelCode& compiled = kernels_[step.kernel];
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
      for (const BufferRef& ref : s.args) addresses.push_back(address(ref));
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
    if (blocks == 0) return;
    if (blocks > kMostBlocks)
      fail_unsupported("kernel " + kernel.name + " needs " + std::to_string(blocks) +
                       " blocks of threads; one launch holds " + std::to_string(kMostBlocks));
    Launch l;
    l.kernel = code(compiled.cubin, kernel.name).kernel(compiled.entry, compiled.dynamic_shared);
    l.name = kernel.name;
    l.entry = compiled.entry;
    l.grid[0] = static_cast<unsigned>(blocks);
    l.block[0] = static_cast<unsigned>(kernel.schedule.block);
    l.dynamic_shared = static_cast<unsigned>(compiled.dynamic_shared);
    if (compiled.table) {
      l.args = {placement_.tables + out_.tables.size() * sizeof(uint64_t),
                static_cast<uint64_t>(segments)};
      out_.tables.insert(out_.tables.end(), rows.begin(), rows.end());
    } else {
      l.args.assign(args.begin(), args.end());
      l.args.push_back(static_cast<uint64_t>(n));
    }
    l.args.push_back(skip(step));
    out_.steps[index].launches.push_back(std::move(l));
  }

  void bind_gemm(int index) {
    const PlanStep& step = plan_.steps[index];
    Gemm g = read_gemm(step.call);
    if (g.empty()) return;
    auto matrix = [&](size_t i) {
      const BufferRef& ref = step.call.args[i];
      return GemmMemory::Matrix{address(ref), !is_persistent(plan_.buffers[ref.buffer].cls)};
    };
    GemmMemory memory{
        matrix(0), matrix(1), matrix(2), 0, 0, 0, placement_.workspace, placement_.workspace_bytes};
    const GemmEpilogue& e = g.epilogue;
    if (e.aux) memory.aux = matrix(e.aux_at()).at, memory.c.free &= matrix(e.aux_at()).free;
    if (e.add) memory.addend = matrix(e.addend_at()).at;
    if (e.bias) memory.bias = matrix(e.bias_at()).at;
    std::string why;
    if (step.commit && guarded_)
      why = "a guard may stop it, which a call of cuBLASLt cannot be";
    else
      out_.steps[index].gemm = LtGemm::bind(gpu_, g, memory, {options_.tf32, tunes()}, &why);
    if (out_.steps[index].gemm) {
      ++out_.lt_gemms;
      out_.tuned = out_.tuned || out_.steps[index].gemm->measured();
      return;
    }
    if (out_.own_gemms++ == 0) out_.why_own = why;
    add_call(index, own_gemm(g));
  }

  void add_call(int index, std::vector<CallLaunch> launches) {
    for (CallLaunch& l : launches) {
      auto [it, fresh] = texts_.emplace(l.text, units_.size());
      if (fresh) units_.push_back({plan_.steps[index].call.name, l.text});
      pending_.push_back({index, it->second, std::move(l)});
    }
  }

  void compile_calls() {
    std::vector<std::string> cubins(units_.size());
    std::vector<SourceUnit> missing;
    std::vector<size_t> where;
    for (size_t i = 0; i < units_.size(); ++i) {
      auto known = options_.call_code.find(units_[i].text);
      if (known != options_.call_code.end())
        cubins[i] = known->second;
      else
        missing.push_back(units_[i]), where.push_back(i);
    }
    std::vector<std::string> compiled = compile_units(missing, gpu_.info.arch(), 0);
    for (size_t i = 0; i < where.size(); ++i) cubins[where[i]] = std::move(compiled[i]);
    for (Pending& p : pending_) {
      const PlanStep& step = plan_.steps[p.step];
      LaunchScope scope;
      for (const BufferRef& ref : step.call.args) scope.arguments.push_back(address(ref));
      scope.workspace = placement_.workspace;
      scope.status = placement_.status;
      scope.commit = step.commit;
      scope.step = p.step;
      Launch l;
      l.kernel =
          code(cubins[p.unit], step.call.name).kernel(p.launch.entry, p.launch.dynamic_shared);
      l.name = p.launch.entry + " of " + step.call.name;
      l.entry = p.launch.entry;
      l.grid = p.launch.grid;
      l.block = p.launch.block;
      l.dynamic_shared = static_cast<unsigned>(p.launch.dynamic_shared);
      for (const TensorMap& map : p.launch.maps) l.maps.push_back(resolve(map, scope));
      for (const LaunchArg& arg : p.launch.args) l.args.push_back(resolve(arg, scope));
      uint64_t blocks = uint64_t{l.grid[0]} * l.grid[1] * l.grid[2];
      if (blocks > 0) out_.steps[p.step].launches.push_back(std::move(l));
    }
  }

  const Plan& plan_;
  const std::vector<KernelCode>& kernels_;
  const Gpu& gpu_;
  const Placement& placement_;
  const LoadOptions& options_;
  bool guarded_ = false;
  std::map<std::string, const Code*> loaded_;  // by cubin
  std::map<std::string, size_t> texts_;        // text -> index into units_
  std::vector<SourceUnit> units_;
  std::vector<Pending> pending_;
  BoundSteps out_;
};

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

CallTarget call_target(const DeviceInfo& info, bool deterministic) {
  std::string attention = env("FUSEC_ATTENTION");
  if (attention != "" && attention != "hopper" && attention != "portable")
    fail_user("FUSEC_ATTENTION is \"" + attention +
              "\"; it must be empty, \"hopper\" or \"portable\"");
  return {info.major,    info.minor,        info.sm_count, info.shared_per_block,
          deterministic, attention != "hopper"};
}

int64_t call_workspace_bytes(const Plan& plan, const CallTarget& target) {
  int64_t most = 0;
  for (const PlanStep& step : plan.steps)
    if (step.kernel < 0)
      most = std::max(most, is_gemm(step) ? gemm_workspace(read_gemm(step.call))
                                          : call_workspace(step.call, target));
  return most;
}

std::vector<SourceUnit> call_units(const Plan& plan, const LoadOptions& options) {
  CallTarget target = call_target(device_info(options.device), options.deterministic);
  std::set<std::string> seen;
  std::vector<SourceUnit> units;
  for (const PlanStep& step : plan.steps) {
    if (step.kernel >= 0 || is_gemm(step)) continue;
    try {
      for (CallLaunch& l : launches_of(step.call, target))
        if (seen.insert(l.text).second) units.push_back({step.call.name, std::move(l.text)});
    } catch (const Error&) {  // load() tells it, with its step
    }
  }
  return units;
}

void Step::go(CuStream stream) const {
  if (gemm) gemm->run(stream);
  for (const Launch& l : launches) l.go(stream);
}

BoundSteps bind_steps(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
                      const Placement& placement, const LoadOptions& options) {
  return Binder(plan, kernels, gpu, placement, options).bind();
}

}  // namespace fusec::cuda
