#include "bind_launches.h"

#include "fusec/base/timing.h"

namespace fusec::cuda {

bool is_gemm(const PlanStep& step) { return step.kernel < 0 && step.call.name == "gemm"; }

CuAddress address_of(const Plan& plan, const Placement& placement, const BufferRef& ref) {
  bool known = ref.buffer >= 0 && ref.buffer < static_cast<int>(placement.buffers.size());
  if (!known || ref.byte_offset < 0 || ref.byte_offset > plan.buffers[ref.buffer].type.bytes())
    fail_internal("plan " + plan.graph + " refers to byte " + std::to_string(ref.byte_offset) +
                  " of buffer " + std::to_string(ref.buffer) + ", which does not exist");
  return placement.buffers[ref.buffer] + static_cast<CuAddress>(ref.byte_offset);
}

void LaunchBinder::add(int step, Launch launch, const KernelCode& code) {
  size_t ticket = code_.want(code.cubin, launch.name, code.entry, code.dynamic_shared);
  missing_.push_back({step, std::move(launch), ticket});
}

void LaunchBinder::add_call(int step, std::vector<CallLaunch> launches) {
  for (CallLaunch& l : launches) {
    auto [it, fresh] = texts_.emplace(l.text, units_.size());
    if (fresh) units_.push_back({plan_.steps[step].call.name, l.text});
    pending_.push_back({step, it->second, std::move(l)});
  }
}

void LaunchBinder::compile_calls() {
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
    for (const BufferRef& ref : step.call.args)
      scope.arguments.push_back(address_of(plan_, placement_, ref));
    scope.workspace = placement_.workspace;
    scope.status = placement_.status;
    scope.counters = placement_.counters;
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
    if (blocks > 0) missing_.push_back({p.step, std::move(l), ticket});
  }
}

std::vector<std::unique_ptr<Code>> LaunchBinder::finish(std::vector<Step>& steps) {
  compile_calls();
  TimeSpan span("waiting for code");
  code_.start(options_.nvrtc);
  for (Missing& m : missing_)
    in_step(plan_, m.step, [&] {
      m.launch.kernel = code_.kernel(m.ticket);
      steps[m.step].launches.push_back(std::move(m.launch));
    });
  return code_.take();
}

}  // namespace fusec::cuda
