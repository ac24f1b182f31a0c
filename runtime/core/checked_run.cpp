// Step by step through a run: which values are finite. Exact elements are looked at: a kernel may
// write part of a buffer (concat), the rest of which is whatever the arena held before.
#include "fusec/core/checked_run.h"

#include <cmath>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace fusec {
namespace {

// A kernel with an infinite constant (a mask, the start of a maximum) may mean its infinities.
bool holds_infinity(const KernelProgram& k) {
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::constant && std::isinf(op.imm)) return true;
  return false;
}

// Calls f(element) for every element that `access` touches in a launch of length n.
template <class F>
void each_element(const KernelProgram& k, const KernelOp& store, int64_t n, F f) {
  ScheduleKind kind = k.schedule.kind;
  if (kind == ScheduleKind::flat || kind == ScheduleKind::flat_reduce) {
    int64_t count = kind == ScheduleKind::flat_reduce ? k.units(n) : n;
    int64_t stride = kind == ScheduleKind::flat_reduce ? 1 : store.access.strides[0];
    for (int64_t i = 0; i < count; ++i) f(store.access.offset + stride * i);
    return;
  }
  if (numel(k.extents) == 0) return;
  std::vector<int64_t> at(k.extents.size(), 0);
  for (bool more = true; more;) {
    int64_t element = store.access.offset;
    for (size_t d = 0; d < at.size(); ++d) element += store.access.strides[d] * at[d];
    f(element);
    more = false;
    for (size_t d = at.size(); d-- > 0 && !more;) {
      if (store.access.strides[d] == 0) continue;  // does not move the store
      more = ++at[d] < k.extents[d];
      if (!more) at[d] = 0;
    }
  }
}

// Remembers the first tensor that is not finite.
class Watch {
 public:
  using Look = std::function<const std::byte*(int buffer)>;
  // Looks at the leaves at once. strict: infinities count even where a constant may mean them.
  Watch(const Plan& plan, const Look& look, bool strict);
  // Call after each step, in order.
  void after(int step);
  const std::optional<NonFinite>& found() const { return found_; }

 private:
  enum class State : unsigned char { finite, infinite, nan };
  struct Fault {
    State state = State::finite;
    int64_t index = 0;
    double value = 0;
  };
  Fault scan(int buffer) const;
  Fault scan_written(const PlanStep& step, const Segment* segment, size_t arg) const;
  void leaf(int buffer);
  void wrote(int step, const std::vector<BufferRef>& args, size_t arg, size_t result, Fault fault,
             const std::vector<State>& before, bool infinity_is_meant);
  std::string name(int buffer) const;

  const Plan& plan_;
  const Look& look_;
  bool strict_;
  std::vector<State> state_;  // of each buffer's present value
  std::optional<NonFinite> found_;
};

Watch::Watch(const Plan& plan, const Look& look, bool strict)
    : plan_(plan), look_(look), strict_(strict), state_(plan.buffers.size(), State::finite) {
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    BufferClass c = plan.buffers[i].cls;
    if (c == BufferClass::input || is_persistent(c)) leaf(static_cast<int>(i));
  }
}

std::string Watch::name(int buffer) const {
  const PlanBuffer& b = plan_.buffers[buffer];
  if (b.cls == BufferClass::temporary || b.cls == BufferClass::constant) return b.type.str();
  return std::string(name_of(b.cls)) + " \"" + b.name + "\" " + b.type.str();
}

Watch::Fault Watch::scan(int buffer) const {
  const PlanBuffer& b = plan_.buffers[buffer];
  Fault fault;
  if (!holds_floats(b.type.dtype) || b.type.bytes() == 0) return fault;
  const std::byte* bytes = look_(buffer);
  for (int64_t i = 0, n = numel(b.type.shape); i < n && fault.state != State::nan; ++i) {
    double v = load_as_double(bytes, b.type.dtype, i);
    if (std::isnan(v) || (std::isinf(v) && fault.state == State::finite))
      fault = {std::isnan(v) ? State::nan : State::infinite, i, v};
  }
  return fault;
}

Watch::Fault Watch::scan_written(const PlanStep& step, const Segment* segment, size_t arg) const {
  if (!segment) return scan(step.call.args[arg].buffer);
  const KernelProgram& k = plan_.kernels[step.kernel];
  const BufferRef& ref = segment->args[arg];
  Fault fault;
  const std::byte* bytes = nullptr;
  for (const KernelOp& op : k.ops) {
    bool here = op.kind == KernelOp::Kind::store && op.access.param == static_cast<int>(arg);
    if (!here || !holds_floats(op.type)) continue;
    if (!bytes) bytes = look_(ref.buffer) + ref.byte_offset;
    each_element(k, op, segment->n, [&](int64_t i) {
      if (fault.state == State::nan) return;
      double v = load_as_double(bytes, op.type, i);
      if (std::isnan(v) || (std::isinf(v) && fault.state == State::finite))
        fault = {std::isnan(v) ? State::nan : State::infinite, i, v};
    });
  }
  return fault;
}

// An infinite input may be a mask; an infinite parameter never is.
void Watch::leaf(int buffer) {
  const PlanBuffer& b = plan_.buffers[buffer];
  Fault fault = scan(buffer);
  state_[buffer] = fault.state;
  bool meant = !strict_ && fault.state == State::infinite && b.cls != BufferClass::parameter &&
               b.cls != BufferClass::state;
  if (fault.state == State::finite || meant || found_ || b.cls == BufferClass::constant) return;
  found_ = NonFinite{-1, "", name(buffer), b.origin, fault.index, fault.value, {}};
}

void Watch::wrote(int step, const std::vector<BufferRef>& args, size_t arg, size_t result,
                  Fault fault, const std::vector<State>& before, bool infinity_is_meant) {
  int buffer = args[arg].buffer;
  state_[buffer] = fault.state;
  if (fault.state == State::finite || found_) return;
  if (fault.state == State::infinite && infinity_is_meant) return;
  const PlanStep& s = plan_.steps[step];
  NonFinite n;
  n.step = step;
  n.kernel = s.kernel >= 0 ? plan_.kernels[s.kernel].name : s.call.name;
  n.tensor = name(buffer);
  if (result < s.makes.size()) n.origin = s.makes[result];
  n.index = fault.index;
  n.value = fault.value;
  std::set<int> listed;
  for (const BufferRef& a : args)
    if (before[a.buffer] != State::finite && listed.insert(a.buffer).second)
      n.inputs.push_back(name(a.buffer));
  found_ = std::move(n);
}

void Watch::after(int index) {
  const PlanStep& step = plan_.steps[index];
  std::vector<State> before = state_;
  auto meant = [&](const std::vector<BufferRef>& args, bool itself) {
    bool fed = false;  // an infinity that was let pass
    for (const BufferRef& a : args) fed = fed || before[a.buffer] == State::infinite;
    return !strict_ && (itself || fed);
  };
  if (step.kernel >= 0) {
    const KernelProgram& k = plan_.kernels[step.kernel];
    bool constant = holds_infinity(k);
    for (const Segment& s : step.segments)
      for (size_t i = 0, result = 0; i < s.args.size(); ++i)
        if (k.params[i].written)
          wrote(index, s.args, i, result++, scan_written(step, &s, i), before,
                meant(s.args, constant));
    return;
  }
  size_t i = 0, result = 0;
  each_argument(plan_, step, [&](const BufferRef&, bool, bool write) {
    // The log-sum-exp of a row that sees no key is -inf by definition.
    bool lse = step.call.name == "attention" && i == 4;
    if (write)
      wrote(index, step.call.args, i, result++, scan_written(step, nullptr, i), before,
            lse || meant(step.call.args, false));
    ++i;
  });
}

// A copy of everything that the commit steps of a plan write.
class Backup {
 public:
  Backup(const Plan& plan, const CheckedSteps& device) : device_(device) {
    std::set<int> written;
    for (const PlanStep& step : plan.steps)
      if (step.commit)
        each_argument(plan, step, [&](const BufferRef& r, bool, bool write) {
          if (write) written.insert(r.buffer);
        });
    for (int b : written) {
      int64_t size = plan.buffers[b].type.bytes();
      if (size == 0) continue;
      const std::byte* bytes = device.look(b);
      copies_.emplace_back(b, std::vector<std::byte>(bytes, bytes + size));
    }
  }
  void restore() const {
    for (const auto& [buffer, bytes] : copies_) device_.restore(buffer, bytes.data());
  }

 private:
  const CheckedSteps& device_;
  std::vector<std::pair<int, std::vector<std::byte>>> copies_;
};

// One run of the steps under watch.
CheckedRun checked_pass(const Plan& plan, const CheckedSteps& device, bool commit, bool strict) {
  bool finite = true;
  Watch watch(plan, device.look, strict);
  int i = 0, count = static_cast<int>(plan.steps.size());
  for (; i < count && !plan.steps[i].commit; ++i) {
    device.execute(i);
    watch.after(i);
  }
  if (watch.found() || (i > 0 && device.stopped())) finite = false;
  if (commit && finite) {
    Backup backup(plan, device);
    for (; i < count; ++i) {
      device.execute(i);
      watch.after(i);
    }
    if (count > 0 && device.stopped()) finite = false;
    if (watch.found()) {
      finite = false;
      backup.restore();
    }
  }
  return {finite, watch.found()};
}

}  // namespace

CheckedRun run_checked(const Plan& plan, const CheckedSteps& device, bool commit) {
  CheckedRun result = checked_pass(plan, device, commit, false);
  // Only infinities that may be meant: name the first of them after all.
  if (!result.finite && !result.first) result.first = checked_pass(plan, device, false, true).first;
  return result;
}

}  // namespace fusec
