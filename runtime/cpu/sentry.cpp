// Step by step through a run: which values are finite. Exact elements are looked at: a kernel may
// write part of a buffer (concat), the rest of which is whatever the arena held before.
#include "sentry.h"

#include <cmath>
#include <cstring>
#include <set>

namespace fusec::cpu {
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

}  // namespace

Sentry::Sentry(const Plan& plan, const std::vector<std::byte*>& addresses, bool strict)
    : plan_(plan),
      addresses_(addresses),
      strict_(strict),
      state_(plan.buffers.size(), State::finite) {
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    BufferClass c = plan.buffers[i].cls;
    if (c == BufferClass::input || is_persistent(c)) leaf(static_cast<int>(i));
  }
}

std::string Sentry::name(int buffer) const {
  const PlanBuffer& b = plan_.buffers[buffer];
  if (b.cls == BufferClass::temporary || b.cls == BufferClass::constant) return b.type.str();
  return std::string(name_of(b.cls)) + " \"" + b.name + "\" " + b.type.str();
}

Sentry::Fault Sentry::scan(int buffer) const {
  const PlanBuffer& b = plan_.buffers[buffer];
  Fault fault;
  if (!is_float(b.type.dtype)) return fault;
  for (int64_t i = 0, n = numel(b.type.shape); i < n && fault.state != State::nan; ++i) {
    double v = load_as_double(addresses_[buffer], b.type.dtype, i);
    if (std::isnan(v) || (std::isinf(v) && fault.state == State::finite))
      fault = {std::isnan(v) ? State::nan : State::infinite, i, v};
  }
  return fault;
}

Sentry::Fault Sentry::scan_written(const PlanStep& step, const Segment* segment, size_t arg) const {
  if (!segment) return scan(step.call.args[arg].buffer);
  const KernelProgram& k = plan_.kernels[step.kernel];
  const BufferRef& ref = segment->args[arg];
  Fault fault;
  for (const KernelOp& op : k.ops) {
    bool here = op.kind == KernelOp::Kind::store && op.access.param == static_cast<int>(arg);
    if (!here || !is_float(op.type)) continue;
    each_element(k, op, segment->n, [&](int64_t i) {
      if (fault.state == State::nan) return;
      double v = load_as_double(addresses_[ref.buffer] + ref.byte_offset, op.type, i);
      if (std::isnan(v) || (std::isinf(v) && fault.state == State::finite))
        fault = {std::isnan(v) ? State::nan : State::infinite, i, v};
    });
  }
  return fault;
}

// An infinite input may be a mask; an infinite parameter never is.
void Sentry::leaf(int buffer) {
  const PlanBuffer& b = plan_.buffers[buffer];
  Fault fault = scan(buffer);
  state_[buffer] = fault.state;
  bool meant = !strict_ && fault.state == State::infinite && b.cls != BufferClass::parameter &&
               b.cls != BufferClass::state;
  if (fault.state == State::finite || meant || found_ || b.cls == BufferClass::constant) return;
  found_ = NonFinite{-1, "", name(buffer), b.origin, fault.index, fault.value, {}};
}

void Sentry::wrote(int step, const std::vector<BufferRef>& args, size_t arg, size_t result,
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

void Sentry::after(int index) {
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

PersistentBackup::PersistentBackup(const Plan& plan, const std::vector<std::byte*>& addresses) {
  std::set<int> written;
  for (const PlanStep& step : plan.steps)
    if (step.commit)
      each_argument(plan, step, [&](const BufferRef& r, bool, bool write) {
        if (write) written.insert(r.buffer);
      });
  for (int b : written) {
    std::byte* from = addresses[b];
    copies_.push_back({from, {from, from + plan.buffers[b].type.bytes()}});
  }
}

void PersistentBackup::restore() const {
  for (const Copy& c : copies_) std::memcpy(c.from, c.bytes.data(), c.bytes.size());
}

}  // namespace fusec::cpu
