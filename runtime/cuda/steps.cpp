// A plan's steps -> launches. A kernel is launched in the form that its code has (codegen.h):
// single, with the addresses as arguments, or over a table, which holds one row a segment.
#include "steps.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "fusec/base/error.h"
#include "fusec/base/timing.h"
#include "fusec/core/disk_cache.h"

namespace fusec::cuda {
namespace {

constexpr int64_t kMostBlocks = 0x7fffffff;

bool is_gemm(const PlanStep& step) { return step.kernel < 0 && step.call.name == "gemm"; }

class Binder {
 public:
  Binder(const Plan& plan, const std::vector<KernelCode>& kernels, const Gpu& gpu,
         const Placement& placement, const CallTarget& target, const LoadOptions& options)
      : plan_(plan),
        kernels_(kernels),
        gpu_(gpu),
        placement_(placement),
        target_(target),
        options_(options),
        code_(gpu) {
    for (const PlanStep& step : plan.steps)
      guarded_ = guarded_ || (step.kernel < 0 && step.call.name == "guard");
  }

  BoundSteps bind() {
    out_.steps.resize(plan_.steps.size());
    // All kernels first: their code is loaded while the GEMMs choose their algorithms.
    each_step([this](int step) {
      if (plan_.steps[step].kernel >= 0) bind_kernel(step);
    });
    code_.start(options_.nvrtc);
    {
      TimeSpan span("library calls");
      each_step([this](int step) {
        if (plan_.steps[step].kernel >= 0) return;
        if (is_gemm(plan_.steps[step]))
          bind_gemm(step);
        else
          add_call(step, launches_of(plan_.steps[step].call, target_));
      });
      span.note(std::to_string(out_.lt_gemms) + " GEMMs by cuBLASLt, " +
                std::to_string(units_.size()) + " texts");
    }
    compile_calls();
    TimeSpan span("waiting for code");
    code_.start(options_.nvrtc);
    for (const Missing& m : missing_) {
      try {
        out_.steps[m.step].launches[m.launch].kernel = code_.kernel(m.ticket);
      } catch (Error& e) {
        e.add_note("in " + step_name(plan_, m.step));
        throw;
      }
    }
    out_.code = code_.take();
    return std::move(out_);
  }

 private:
  // A launch of a call whose code is not compiled yet.
  struct Pending {
    int step;
    size_t unit;  // in units_
    CallLaunch launch;
  };
  // A launch whose kernel is being loaded.
  struct Missing {
    int step;
    size_t launch, ticket;
  };

  template <class F>
  void each_step(F f) {
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      int step = static_cast<int>(i);
      try {
        f(step);
      } catch (Error& e) {
        e.add_note("in " + step_name(plan_, step));
        throw;
      }
    }
  }

  void add_launch(int step, Launch launch, size_t ticket) {
    std::vector<Launch>& launches = out_.steps[step].launches;
    missing_.push_back({step, launches.size(), ticket});
    launches.push_back(std::move(launch));
  }

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
    add_launch(index, std::move(l),
               code_.want(compiled.cubin, kernel.name, compiled.entry, compiled.dynamic_shared));
  }

  void bind_gemm(int index) {
    const PlanStep& step = plan_.steps[index];
    Gemm g = read_gemm(step.call);
    if (g.empty()) return add_call(index, own_gemm(g));
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
    if (e.dgelu) memory.aux = matrix(e.pre_at()).at;
    if (e.sums()) memory.bias = matrix(e.sums_at()).at, memory.c.free &= matrix(e.sums_at()).free;
    std::string why;
    if (step.commit && guarded_) {
      why = "a guard may stop it, which a call of cuBLASLt cannot be";
    } else {
      LtOptions options{options_.tf32, tunes()};
      std::unique_ptr<LtGemm>& bound = out_.steps[index].gemm;
      bound = LtGemm::bind(gpu_, g, memory, options, &why);
      if (!bound && e.sums()) {  // the product by cuBLASLt still, its sums by a kernel behind it
        Gemm product = g;
        product.epilogue.bgrad = product.epilogue.bgrada = product.epilogue.bgradb = false;
        bound = LtGemm::bind(gpu_, product, memory, options, &why);
        if (bound) add_call(index, gemm_sums(g));
      }
    }
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
    call_cubins_.resize(units_.size());
    std::vector<SourceUnit> missing;
    std::vector<size_t> where;
    for (size_t i = 0; i < units_.size(); ++i) {
      auto known = options_.call_code.find(sha256(units_[i].text));
      if (known != options_.call_code.end())
        call_cubins_[i] = known->second;
      else
        missing.push_back(units_[i]), where.push_back(i);
    }
    if (!missing.empty() && !options_.compiles)
      fail_user("the saved plan has no code for its call of " + missing.front().name +
                " that this release of Fusec makes: make the file anew with its `fusec build`");
    if (!missing.empty()) {
      TimeSpan span("code of library calls that nobody compiled ahead");
      span.note(std::to_string(missing.size()) + " texts");
      std::vector<std::string> compiled = compile_units(missing, gpu_.info.arch(), 0);
      for (size_t i = 0; i < where.size(); ++i) call_cubins_[where[i]] = std::move(compiled[i]);
    }
    for (Pending& p : pending_) {
      const PlanStep& step = plan_.steps[p.step];
      LaunchScope scope;
      for (const BufferRef& ref : step.call.args) scope.arguments.push_back(address(ref));
      scope.workspace = placement_.workspace;
      scope.status = placement_.status;
      scope.commit = step.commit;
      scope.step = p.step;
      Launch l;
      l.name = p.launch.entry + " of " + step.call.name;
      l.entry = p.launch.entry;
      l.grid = p.launch.grid;
      l.block = p.launch.block;
      l.dynamic_shared = static_cast<unsigned>(p.launch.dynamic_shared);
      for (const TensorMap& map : p.launch.maps) l.maps.push_back(resolve(map, scope));
      for (const LaunchArg& arg : p.launch.args) l.args.push_back(resolve(arg, scope));
      uint64_t blocks = uint64_t{l.grid[0]} * l.grid[1] * l.grid[2];
      size_t ticket =
          code_.want(call_cubins_[p.unit], step.call.name, p.launch.entry, p.launch.dynamic_shared);
      if (blocks > 0) add_launch(p.step, std::move(l), ticket);
    }
  }

  const Plan& plan_;
  const std::vector<KernelCode>& kernels_;
  const Gpu& gpu_;
  const Placement& placement_;
  const CallTarget& target_;
  const LoadOptions& options_;
  bool guarded_ = false;
  std::vector<Missing> missing_;
  std::map<std::string, size_t> texts_;        // text -> index into units_
  std::vector<SourceUnit> units_;
  std::vector<Pending> pending_;
  std::vector<std::string> call_cubins_;  // by unit
  CodeSet code_;
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

int64_t call_workspace_bytes(const Plan& plan, const CallTarget& target) {
  int64_t most = 0;
  for (const PlanStep& step : plan.steps)
    if (step.kernel < 0)
      most = std::max(most, is_gemm(step) ? gemm_workspace(read_gemm(step.call))
                                          : call_workspace(step.call, target));
  return most;
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
  return Binder(plan, kernels, gpu, placement, target, options).bind();
}

}  // namespace fusec::cuda
