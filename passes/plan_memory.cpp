// Plan without offsets -> Plan with lifetimes, in-place updates and arena offsets.
//
//   step 7: kernel adamw(p, g, m, v) -> t0 ; copy t0 -> p    becomes    kernel adamw(p, ..) -> p
//   step 9: gemm(a, b, t2, addend t1) "add"                  becomes    gemm(a, b, t1, addend t1)
//
// With guards, steps that write persistent memory become commit steps at the end.
//
// Refuses: overwriting an operand that is read at any other index than it is written; products in
// place of an addend that is needed later, is no temporary, has another type or size, or is an
// operand of the same product.
#include "fusec/passes/plan_memory.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>

namespace fusec::passes {
namespace {

struct Uses {
  std::vector<int> writes, reads;  // step numbers, in order
};

std::vector<Uses> collect(Plan& plan) {
  std::vector<Uses> uses(plan.buffers.size());
  for (size_t s = 0; s < plan.steps.size(); ++s)
    each_argument(plan, plan.steps[s], [&](BufferRef& r, bool read, bool write) {
      if (read) uses[r.buffer].reads.push_back(static_cast<int>(s));
      if (write) uses[r.buffer].writes.push_back(static_cast<int>(s));
    });
  return uses;
}

// `uses`: of `from`.
void rename(Plan& plan, const Uses& uses, int from, int to) {
  for (const std::vector<int>* steps : {&uses.writes, &uses.reads})
    for (int s : *steps)
      each_argument(plan, plan.steps[s], [&](BufferRef& r, bool, bool) {
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
  bool scalar = k.schedule.kind == ScheduleKind::flat && s.n == 1;  // strides do not matter
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::load && s.args[op.access.param].buffer == in)
      if (op.access.offset != store->offset || (!scalar && op.access.strides != store->strides) ||
          s.args[op.access.param].byte_offset != s.args[store->param].byte_offset)
        return false;
  return true;
}

// The segment of a step that writes `buffer`, or null.
const Segment* writer_segment(const Plan& plan, const PlanStep& step, int buffer) {
  if (step.kernel < 0) return nullptr;
  for (const Segment& s : step.segments)
    for (size_t i = 0; i < s.args.size(); ++i)
      if (s.args[i].buffer == buffer && plan.kernels[step.kernel].params[i].written) return &s;
  return nullptr;
}

// Copies into persistent memory whose producer may write there itself: step of the copy ->
// producer.
std::map<int, int> direct_writes(const Plan& plan, const std::vector<Uses>& uses) {
  std::map<int, int> out;
  std::set<int> taken;  // a value becomes one parameter; others copy from there
  for (size_t c = 0; c < plan.steps.size(); ++c) {
    const PlanStep& copy = plan.steps[c];
    if (copy.kernel >= 0 || copy.call.name != "copy") continue;
    int value = copy.call.args[0].buffer, target = copy.call.args[1].buffer;
    if (!is_persistent(plan.buffers[target].cls) || copy.call.args[0].byte_offset != 0 ||
        plan.buffers[value].type.bytes() != plan.buffers[target].type.bytes() ||
        plan.buffers[value].cls != BufferClass::temporary || uses[value].writes.size() != 1 ||
        uses[target].writes.size() != 1)
      continue;
    int producer = uses[value].writes[0];
    bool free_target = true;
    for (int r : uses[target].reads)
      if (r > producer)
        free_target = false;
      else if (r == producer) {
        const Segment* s = writer_segment(plan, plan.steps[producer], value);
        free_target = free_target && s &&
                      same_index(plan.kernels[plan.steps[producer].kernel], *s, target, value);
        for (const Segment& other : plan.steps[producer].segments)  // read by another segment
          if (&other != s)
            for (const BufferRef& a : other.args) free_target = free_target && a.buffer != target;
      }
    if (free_target && taken.insert(value).second) out[static_cast<int>(c)] = producer;
  }
  return out;
}

// A guarded step is skipped as a whole: it may write nothing that a step which is not skipped
// needs. Drops the copies of producers that do from `direct`.
void keep_skippable(const Plan& plan, const std::vector<Uses>& uses, std::map<int, int>& direct) {
  std::set<int> skipped;
  for (const auto& [copy, producer] : direct) skipped.insert(producer);
  for (bool again = true; again;) {
    again = false;
    for (int producer : std::set<int>(skipped)) {
      bool whole = true;
      each_argument(plan, plan.steps[producer], [&](const BufferRef& r, bool, bool write) {
        if (!write) return;
        whole = whole && plan.buffers[r.buffer].cls == BufferClass::temporary;
        for (int reader : uses[r.buffer].reads)
          whole = whole && (direct.count(reader) || skipped.count(reader));
      });
      if (whole) continue;
      skipped.erase(producer);
      std::erase_if(direct, [&](const auto& pair) { return pair.second == producer; });
      again = true;
    }
  }
}

// Removes the copies into parameters whose producer may write there directly.
void write_in_place(Plan& plan, bool guarded) {
  std::vector<Uses> uses = collect(plan);
  std::map<int, int> direct = direct_writes(plan, uses);
  if (guarded) keep_skippable(plan, uses, direct);
  for (const auto& [copy, producer] : direct) {
    const std::vector<BufferRef>& args = plan.steps[copy].call.args;
    const int value = args[0].buffer, target = args[1].buffer;
    rename(plan, uses[value], value, target);
  }
  std::vector<PlanStep> kept;
  for (size_t s = 0; s < plan.steps.size(); ++s)
    if (!direct.count(static_cast<int>(s))) kept.push_back(std::move(plan.steps[s]));
  plan.steps = std::move(kept);
}

// A scatter into persistent memory that its result is assigned to:
//
//   copy p -> t ; scatter(t, i, x) ; .. reads of t .. ; copy t -> p    becomes    scatter(p, i, x)
//
// if nothing reads p between the scatter and the end. Not under a guard, which may still refuse.
void scatter_in_place(Plan& plan) {
  std::vector<Uses> uses = collect(plan);
  auto whole_copy = [&](int s) {
    const PlanStep& step = plan.steps[s];
    return step.kernel < 0 && step.call.name == "copy" && step.call.args[0].byte_offset == 0 &&
           step.call.args[1].byte_offset == 0 &&
           plan.buffers[step.call.args[0].buffer].type.bytes() == step.call.integer("bytes") &&
           plan.buffers[step.call.args[1].buffer].type.bytes() == step.call.integer("bytes");
  };
  std::set<int> gone;
  for (size_t c = 0; c < plan.steps.size(); ++c) {
    int last = static_cast<int>(c);
    if (!whole_copy(last)) continue;
    int t = plan.steps[c].call.args[0].buffer, p = plan.steps[c].call.args[1].buffer;
    if (!is_persistent(plan.buffers[p].cls) || plan.buffers[t].cls != BufferClass::temporary ||
        uses[p].writes.size() != 1 || uses[t].writes.size() < 2)
      continue;
    int first = uses[t].writes[0], scatter = uses[t].writes[1];
    bool fits = whole_copy(first) && plan.steps[first].call.args[0].buffer == p;
    for (size_t w = 1; w < uses[t].writes.size(); ++w) {
      const PlanStep& step = plan.steps[uses[t].writes[w]];
      fits = fits && step.kernel < 0 && step.call.name == "scatter";
    }
    for (int r : uses[t].reads) fits = fits && r >= scatter;
    for (int r : uses[p].reads) fits = fits && r < scatter;
    if (!fits) continue;
    for (size_t w = 1; w < uses[t].writes.size(); ++w) {  // the rest of p is not touched
      PlanStep& step = plan.steps[uses[t].writes[w]];
      int64_t count = step.call.integer("count");
      step.bytes = step.unfused_bytes =
          count * (step.call.text("index_type") == "i64" ? 8 : 4) +
          2 * count * step.call.integer("width") * size_of(plan.buffers[p].type.dtype);
    }
    rename(plan, uses[t], t, p);
    gone.insert({first, last});
  }
  std::vector<PlanStep> kept;
  for (size_t s = 0; s < plan.steps.size(); ++s)
    if (!gone.count(static_cast<int>(s))) kept.push_back(std::move(plan.steps[s]));
  plan.steps = std::move(kept);
}

// Marks the steps that write persistent memory and moves them behind all others, in their order:
// by then every guard has spoken. Nothing reads what they write, or write_in_place had left it.
void commit_last(Plan& plan) {
  for (PlanStep& step : plan.steps)
    each_argument(plan, step, [&](BufferRef& r, bool, bool write) {
      step.commit = step.commit || (write && is_persistent(plan.buffers[r.buffer].cls));
    });
  std::stable_partition(plan.steps.begin(), plan.steps.end(),
                        [](const PlanStep& s) { return !s.commit; });
}

bool is_arena(BufferClass c) { return !is_persistent(c); }

// Whether `in` and `out`, which step `s` alone writes, may be one: values of this run, of one type
// and size, `in` a temporary that is written before and read for the last time here.
bool dies_into(const Plan& plan, const std::vector<Uses>& uses, int s, int in, int out) {
  const PlanBuffer &from = plan.buffers[in], &to = plan.buffers[out];
  return in != out && from.cls == BufferClass::temporary && is_arena(to.cls) &&
         from.type.bytes() == to.type.bytes() && from.type.dtype == to.type.dtype &&
         uses[out].writes.size() == 1 && !uses[in].reads.empty() && uses[in].reads.back() == s &&
         !uses[in].writes.empty() &&  // else an empty tensor that nothing fills
         uses[in].writes.back() < s;
}

// What was in `gone` is in `kept` from here on.
void join(Plan& plan, std::vector<Uses>& uses, int kept, int gone) {
  rename(plan, uses[gone], gone, kept);
  Uses &all = uses[kept], &more = uses[gone];
  all.writes.insert(all.writes.end(), more.writes.begin(), more.writes.end());
  all.reads.insert(all.reads.end(), more.reads.begin(), more.reads.end());
  std::sort(all.writes.begin(), all.writes.end());
  std::sort(all.reads.begin(), all.reads.end());
  more = {};
}

// A product accumulates where its addend lies: tensors that are whole buffers, and no operand's.
void accumulate_in_place(Plan& plan, std::vector<Uses>& uses, int s) {
  const LibraryCall& call = plan.steps[s].call;
  if (call.name != "gemm") return;
  GemmEpilogue e = epilogue_of(call);
  if (!e.add) return;
  const BufferRef c = call.args[2], addend = call.args[e.addend_at()];
  if (c.byte_offset != 0 || addend.byte_offset != 0) return;
  for (size_t i = 0; i < call.args.size(); ++i)
    if (i != e.addend_at() && call.args[i].buffer == addend.buffer) return;
  if (!dies_into(plan, uses, s, addend.buffer, c.buffer)) return;
  if (plan.buffers[c.buffer].cls == BufferClass::temporary)
    return join(plan, uses, addend.buffer, c.buffer);
  for (int writer : uses[addend.buffer].writes)
    if (plan.steps[writer].commit) return;  // one that may be skipped writes no output
  join(plan, uses, c.buffer, addend.buffer);
}

// Lets kernels overwrite temporaries that die in them, and products add in place.
void reuse_operands(Plan& plan) {
  std::vector<Uses> uses = collect(plan);
  for (size_t at = 0; at < plan.steps.size(); ++at) {
    int s = static_cast<int>(at);
    PlanStep& step = plan.steps[at];
    if (step.kernel < 0) accumulate_in_place(plan, uses, s);
    if (step.kernel < 0 || step.segments.size() != 1) continue;
    const KernelProgram& k = plan.kernels[step.kernel];
    Segment& segment = step.segments[0];
    for (size_t o = 0; o < segment.args.size(); ++o) {
      int out = segment.args[o].buffer;
      if (!k.params[o].written || plan.buffers[out].cls != BufferClass::temporary) continue;
      for (size_t i = 0; i < segment.args.size(); ++i) {
        int in = segment.args[i].buffer;
        if (!k.params[i].read || !dies_into(plan, uses, s, in, out) ||
            !same_index(k, segment, in, out))
          continue;
        join(plan, uses, in, out);
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
    each_argument(plan, step, [&](BufferRef& r, bool, bool) { used[r.buffer] = true; });
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    BufferClass c = plan.buffers[i].cls;
    if (!used[i] && (c == BufferClass::temporary || c == BufferClass::constant)) continue;
    now[i] = static_cast<int>(kept.size());
    kept.push_back(std::move(plan.buffers[i]));
  }
  plan.buffers = std::move(kept);
  for (PlanStep& step : plan.steps)
    each_argument(plan, step, [&](BufferRef& r, bool, bool) { r.buffer = now[r.buffer]; });
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

// A buffer of the arena, on its own: the search below looks at each of them very often.
struct Block {
  int buffer = 0, first = 0, last = 0;
  int64_t size = 0, offset = -1;
};

// Best fit: each block, in the given order, takes the tightest gap among those already placed
// whose lifetimes meet its own. Fills their offsets; returns the bytes of the arena.
int64_t best_fit(std::vector<Block>& order) {
  std::vector<Block> placed;  // by offset
  placed.reserve(order.size());
  int64_t total = 0;
  for (Block& b : order) {
    int64_t best = -1, best_gap = INT64_MAX, cursor = 0;
    for (const Block& o : placed) {
      if (o.last < b.first || b.last < o.first) continue;
      int64_t gap = o.offset - cursor;
      if (gap >= b.size && gap < best_gap) best = cursor, best_gap = gap;
      cursor = std::max(cursor, o.offset + o.size);
    }
    b.offset = best >= 0 ? best : cursor;
    total = std::max(total, b.offset + b.size);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [](const Block& x, const Block& y) {
                                     return x.offset < y.offset;
                                   }),
                  b);
  }
  return total;
}

// The smallest arena of three orders: by size, by lifetime, and by both multiplied.
void place(Plan& plan) {
  std::vector<Block> blocks;
  for (size_t i = 0; i < plan.buffers.size(); ++i) {
    const PlanBuffer& b = plan.buffers[i];
    if (is_arena(b.cls))
      blocks.push_back({static_cast<int>(i), b.first, b.last, reserved_bytes(b.type)});
  }
  auto size = [](const Block& b) { return static_cast<double>(b.size); };
  auto life = [](const Block& b) { return 1.0 + b.last - b.first; };
  const std::function<double(const Block&)> keys[] = {
      size, [&](const Block& b) { return size(b) * life(b); }, life};
  plan.arena_bytes = INT64_MAX;
  for (const auto& key : keys) {
    std::vector<Block> order = blocks;
    std::stable_sort(order.begin(), order.end(),
                     [&](const Block& a, const Block& b) { return key(a) > key(b); });
    int64_t total = best_fit(order);
    if (total >= plan.arena_bytes) continue;
    plan.arena_bytes = total;
    for (const Block& b : order) plan.buffers[b.buffer].offset = b.offset;
  }
}

}  // namespace

void plan_memory(Plan& plan, bool guarded) {
  for (const PlanStep& s : plan.steps) guarded = guarded || s.call.name == "guard";
  if (!guarded) scatter_in_place(plan);
  write_in_place(plan, guarded);
  if (guarded) commit_last(plan);
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
