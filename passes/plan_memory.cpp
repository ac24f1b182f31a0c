// Plan without offsets -> Plan with lifetimes, in-place updates and arena offsets.
//
//   step 7: kernel adamw(p, g, m, v) -> t0 ; copy t0 -> p    becomes    kernel adamw(p, ..) -> p
//
// Refuses: overwriting an operand that is read at any other index than it is written.
#include "fusec/passes/plan_memory.h"

#include <algorithm>
#include <numeric>

namespace fusec::passes {
namespace {

// Visits every argument of a step: f(BufferRef&, reads, writes).
template <class F>
void each_arg(const Plan& plan, PlanStep& step, F f) {
  if (step.kernel >= 0) {
    const std::vector<KernelParam>& params = plan.kernels[step.kernel].params;
    for (Segment& s : step.segments)
      for (size_t i = 0; i < s.args.size(); ++i) f(s.args[i], params[i].read, params[i].written);
    return;
  }
  for (size_t i = 0; i < step.call.args.size(); ++i)
    f(step.call.args[i], reads_argument(step.call, i), writes_argument(step.call, i));
}

struct Uses {
  std::vector<int> writes, reads;  // step numbers, in order
};

std::vector<Uses> collect(Plan& plan) {
  std::vector<Uses> uses(plan.buffers.size());
  for (size_t s = 0; s < plan.steps.size(); ++s)
    each_arg(plan, plan.steps[s], [&](BufferRef& r, bool read, bool write) {
      if (read) uses[r.buffer].reads.push_back(static_cast<int>(s));
      if (write) uses[r.buffer].writes.push_back(static_cast<int>(s));
    });
  return uses;
}

void rename(Plan& plan, int from, int to) {
  for (PlanStep& step : plan.steps)
    each_arg(plan, step, [&](BufferRef& r, bool, bool) {
      if (r.buffer == from) r.buffer = to;
    });
}

// True if every load of buffer `in` in segment `s` uses the index at which `out` is stored, so that
// the kernel may overwrite it.
bool same_index(const KernelProgram& k, const Segment& s, int in, int out) {
  if (k.schedule.kind == ScheduleKind::columns || k.schedule.kind == ScheduleKind::flat_reduce)
    return false;
  const Access* store = nullptr;
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::store && s.args[op.access.param].buffer == out) {
      if (store) return false;
      store = &op.access;
    }
  if (!store) return false;
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::load && s.args[op.access.param].buffer == in)
      if (op.access.offset != store->offset || op.access.strides != store->strides ||
          s.args[op.access.param].byte_offset != s.args[store->param].byte_offset)
        return false;
  return true;
}

// The segment of a step that writes `buffer`, or null.
Segment* writer_segment(const Plan& plan, PlanStep& step, int buffer) {
  if (step.kernel < 0) return nullptr;
  for (Segment& s : step.segments)
    for (size_t i = 0; i < s.args.size(); ++i)
      if (s.args[i].buffer == buffer && plan.kernels[step.kernel].params[i].written) return &s;
  return nullptr;
}

// Removes the copies into parameters whose producer may write there directly.
void write_in_place(Plan& plan) {
  std::vector<Uses> uses = collect(plan);
  std::vector<bool> drop(plan.steps.size(), false);
  for (size_t c = 0; c < plan.steps.size(); ++c) {
    PlanStep& copy = plan.steps[c];
    if (copy.kernel >= 0 || copy.call.name != "copy") continue;
    int value = copy.call.args[0].buffer, target = copy.call.args[1].buffer;
    if (!is_persistent(plan.buffers[target].cls) || copy.call.args[0].byte_offset != 0 ||
        plan.buffers[value].cls != BufferClass::temporary || uses[value].writes.size() != 1 ||
        uses[target].writes.size() != 1)
      continue;
    int producer = uses[value].writes[0];
    bool free_target = true;
    for (int r : uses[target].reads)
      if (r > producer)
        free_target = false;
      else if (r == producer) {
        Segment* s = writer_segment(plan, plan.steps[producer], value);
        free_target = free_target && s &&
                      same_index(plan.kernels[plan.steps[producer].kernel], *s, target, value);
        for (Segment& other : plan.steps[producer].segments)  // read by another segment
          if (&other != s)
            for (const BufferRef& a : other.args) free_target = free_target && a.buffer != target;
      }
    if (!free_target) continue;
    drop[c] = true;
    rename(plan, value, target);
    for (int w : uses[value].writes) uses[target].writes.push_back(w);
    for (int r : uses[value].reads)
      if (r != static_cast<int>(c)) uses[target].reads.push_back(r);
  }
  std::vector<PlanStep> kept;
  for (size_t s = 0; s < plan.steps.size(); ++s)
    if (!drop[s]) kept.push_back(std::move(plan.steps[s]));
  plan.steps = std::move(kept);
}

bool is_arena(BufferClass c) { return !is_persistent(c); }

// Lets kernels overwrite temporaries that die in them.
void reuse_operands(Plan& plan) {
  std::vector<Uses> uses = collect(plan);
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    PlanStep& step = plan.steps[s];
    if (step.kernel < 0 || step.segments.size() != 1) continue;
    const KernelProgram& k = plan.kernels[step.kernel];
    Segment& segment = step.segments[0];
    for (size_t o = 0; o < segment.args.size(); ++o) {
      int out = segment.args[o].buffer;
      if (!k.params[o].written || plan.buffers[out].cls != BufferClass::temporary ||
          uses[out].writes.size() != 1)
        continue;
      for (size_t i = 0; i < segment.args.size(); ++i) {
        int in = segment.args[i].buffer;
        if (!k.params[i].read || in == out || plan.buffers[in].cls != BufferClass::temporary ||
            plan.buffers[in].type.bytes() != plan.buffers[out].type.bytes() ||
            plan.buffers[in].type.dtype != plan.buffers[out].type.dtype ||
            uses[in].reads.back() != static_cast<int>(s) ||
            uses[in].writes.empty() ||  // an empty tensor that nothing fills
            uses[in].writes.back() >= static_cast<int>(s) || !same_index(k, segment, in, out))
          continue;
        rename(plan, out, in);
        uses[in].writes.insert(uses[in].writes.end(), uses[out].writes.begin(),
                               uses[out].writes.end());
        uses[in].reads.insert(uses[in].reads.end(), uses[out].reads.begin(), uses[out].reads.end());
        std::sort(uses[in].reads.begin(), uses[in].reads.end());
        break;
      }
    }
  }
}

void drop_unused(Plan& plan) {
  std::vector<int> now(plan.buffers.size(), -1);
  std::vector<PlanBuffer> kept;
  std::vector<bool> used(plan.buffers.size(), false);
  for (PlanStep& step : plan.steps)
    each_arg(plan, step, [&](BufferRef& r, bool, bool) { used[r.buffer] = true; });
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    BufferClass c = plan.buffers[i].cls;
    if (!used[i] && (c == BufferClass::temporary || c == BufferClass::constant)) continue;
    now[i] = static_cast<int>(kept.size());
    kept.push_back(std::move(plan.buffers[i]));
  }
  plan.buffers = std::move(kept);
  for (PlanStep& step : plan.steps)
    each_arg(plan, step, [&](BufferRef& r, bool, bool) { r.buffer = now[r.buffer]; });
}

void find_lifetimes(Plan& plan) {
  int end = std::max<int>(0, static_cast<int>(plan.steps.size()) - 1);
  std::vector<Uses> uses = collect(plan);
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    PlanBuffer& b = plan.buffers[i];
    b.first = 0, b.last = end;
    if (b.cls == BufferClass::input || is_persistent(b.cls)) continue;
    const Uses& u = uses[i];
    if (u.writes.empty()) continue;
    b.first = *std::min_element(u.writes.begin(), u.writes.end());
    if (b.cls == BufferClass::temporary) {
      b.last = b.first;
      for (int s : u.reads) b.last = std::max(b.last, s);
      for (int s : u.writes) b.last = std::max(b.last, s);
    }
  }
}

// Best fit by decreasing size: each buffer takes the tightest gap among those already placed whose
// lifetimes meet its own.
void place(Plan& plan) {
  std::vector<int> order;
  for (size_t i = 0; i < plan.buffers.size(); ++i)
    if (is_arena(plan.buffers[i].cls)) order.push_back(static_cast<int>(i));
  auto size = [&](int i) { return reserved_bytes(plan.buffers[i].type); };
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return size(a) > size(b); });
  std::vector<int> placed;  // by offset
  plan.arena_bytes = 0;
  for (int i : order) {
    PlanBuffer& b = plan.buffers[i];
    int64_t best = -1, best_gap = INT64_MAX, cursor = 0;
    for (int j : placed) {
      const PlanBuffer& o = plan.buffers[j];
      if (o.last < b.first || b.last < o.first) continue;
      int64_t gap = o.offset - cursor;
      if (gap >= size(i) && gap < best_gap) best = cursor, best_gap = gap;
      cursor = std::max(cursor, o.offset + size(j));
    }
    b.offset = best >= 0 ? best : cursor;
    plan.arena_bytes = std::max(plan.arena_bytes, b.offset + size(i));
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](int x, int y) {
                                     return plan.buffers[x].offset < plan.buffers[y].offset;
                                   }),
                  i);
  }
}

}  // namespace

void plan_memory(Plan& plan) {
  write_in_place(plan);
  drop_unused(plan);
  plan.sum_of_temporaries = 0;
  for (const PlanBuffer& b : plan.buffers)
    if (is_arena(b.cls)) plan.sum_of_temporaries += reserved_bytes(b.type);
  reuse_operands(plan);
  drop_unused(plan);
  find_lifetimes(plan);
  place(plan);
}

}  // namespace fusec::passes
