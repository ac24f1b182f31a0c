// Chooses what a thread keeps of its part of a row. A row that fits is read once: packed as it lies
// in memory, so that 64 bf16 take 32 registers. Results of costly functions that two passes need
// are kept instead of computed twice, where there is room. What does not fit is read again in each
// pass, mostly from L2.
#include "residency.h"

#include <algorithm>

namespace fusec::codegen_cuda {
namespace {

using Kind = KernelOp::Kind;

constexpr int kCostly = 20;          // instructions; recomputing less beats a register
constexpr int64_t kMaxCode = 12000;  // operations of straight-line code

// Registers for what is kept: half of what a thread has in a block of this size. One pass keeps
// nothing, so more would only let fewer threads run.
int budget(const KernelProgram& k, const Analysis& a) {
  if (k.walk_dims > 0) return 64;  // see Emitter::signature: at least 128 registers a thread
  if (a.stages == 0) return kWordsInFlight;
  // Long rows share a processor with another block, at 64 registers a thread.
  return k.schedule.block > 512 || (k.schedule.block == 512 && a.turns > 8) ? 16 : 64;
}

void find_needed(const KernelProgram& k, const Analysis& a, Residency& r) {
  r.first_pass.assign(k.ops.size(), -1);
  r.needed.assign(a.stages + 1, std::vector<char>(k.ops.size(), 0));
  for (int pass = 0; pass <= a.stages; ++pass) {
    std::vector<char>& needed = r.needed[pass];
    auto mark = [&](auto& self, int id) -> void {
      if (a.ops[id].level != Level::inner || needed[id]) return;
      if (r.values[id] && r.first_pass[id] >= 0 && r.first_pass[id] < pass) return;
      needed[id] = 1;
      if (r.first_pass[id] < 0) r.first_pass[id] = pass;
      for (int arg : k.ops[id].args) self(self, arg);
    };
    for (int id : reduces_of(k, a, pass))
      if (r.joined_max[id] < 0) mark(mark, k.ops[id].args[0]);
    if (pass < a.stages) continue;
    for (int id : stores_at(k, a, Level::inner)) mark(mark, k.ops[id].args[0]);
    for (int id : sums_over_rows(k, a)) mark(mark, k.ops[id].args[0]);
  }
}

bool is_lane_load(const KernelProgram& k, const Analysis& a, size_t i) {
  return k.ops[i].kind == Kind::load && a.ops[i].varies && a.ops[i].level == Level::inner;
}

int passes_needing(const Residency& r, size_t op) {
  return static_cast<int>(std::count_if(r.needed.begin(), r.needed.end(),
                                        [&](const auto& needed) { return needed[op] != 0; }));
}

// Values that are worth a register: costly, needed by several passes.
std::vector<char> costly_values(const KernelProgram& k, const Analysis& a, const Residency& r) {
  std::vector<char> costly(k.ops.size(), 0);
  for (size_t i = 0; i < k.ops.size(); ++i)
    costly[i] = k.ops[i].kind == Kind::prim && a.ops[i].varies && a.ops[i].cost >= kCostly &&
                passes_needing(r, i) > 1;
  return costly;
}

// Drops values that no later pass reads: those below others that are kept.
void keep_only_read(const KernelProgram& k, const Analysis& a, Residency& r) {
  std::vector<char> read(k.ops.size(), 0);
  for (int pass = 0; pass <= a.stages; ++pass) {
    auto visit = [&](int id) {
      if (r.values[id] && r.first_pass[id] < pass && r.first_pass[id] >= 0) read[id] = 1;
    };
    for (size_t i = 0; i < k.ops.size(); ++i)
      if (r.needed[pass][i])
        for (int arg : k.ops[i].args) visit(arg);
    for (int id : reduces_of(k, a, pass))
      if (r.joined_max[id] < 0) visit(k.ops[id].args[0]);
    if (pass == a.stages)
      for (int id : stores_at(k, a, Level::inner)) visit(k.ops[id].args[0]);
    if (pass == a.stages)
      for (int id : sums_over_rows(k, a)) visit(k.ops[id].args[0]);
  }
  r.values = read;
}

// Where a row is read again in each pass, a sum of exp(value - maximum of the values) needs no pass
// of its own: it is kept relative to the maximum so far. One sum for each maximum.
void join_maxima(const KernelProgram& k, const Analysis& a, Residency& r) {
  std::vector<char> taken(k.ops.size(), 0);
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const KernelOp& sum = k.ops[i];
    if (sum.kind != Kind::reduce || sum.reduce != ReduceKind::sum || sum.type != DType::f32 ||
        sum.over_rows || !a.ops[i].live)
      continue;
    const KernelOp& power = k.ops[sum.args[0]];
    if (power.kind != Kind::prim || power.prim != Prim::exp ||
        power.type != DType::f32)
      continue;
    const KernelOp& difference = k.ops[power.args[0]];
    if (difference.kind != Kind::prim || difference.prim != Prim::sub) continue;
    const int value = difference.args[0], max = difference.args[1];
    const KernelOp& top = k.ops[max];
    if (top.kind != Kind::reduce || top.reduce != ReduceKind::max || top.type != DType::f32 ||
        top.over_rows || top.args[0] != value || !a.ops[value].varies || taken[max])
      continue;
    taken[max] = 1;
    r.joined_max[i] = max;
  }
}

int64_t words_of_values(const KernelProgram& k, const Analysis& a, const Residency& r) {
  int64_t words = 0;
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (r.values[i])
      words += a.turns * a.lanes * (size_of(compute_type(k.ops[i].type)) == 8 ? 2 : 1);
  return words;
}

// Marks the loads that several passes need; returns their words.
int64_t keep_shared_loads(const KernelProgram& k, const Analysis& a, Residency& r) {
  int64_t words = 0;
  r.loads.assign(k.ops.size(), 0);
  for (size_t i = 0; i < k.ops.size(); ++i) {
    if (!is_lane_load(k, a, i) || passes_needing(r, i) < 2) continue;
    r.loads[i] = 1;
    words += a.turns * words_of(k.ops[i].type, a.lanes);
  }
  return words;
}

}  // namespace

int words_of(DType type, int lanes) {
  return std::max(1, static_cast<int>(size_of(type)) * lanes / 4);
}

std::vector<int> reduces_of(const KernelProgram& k, const Analysis& a, int pass) {
  std::vector<int> found;
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (k.ops[i].kind == Kind::reduce && !k.ops[i].over_rows && a.ops[i].live &&
        a.ops[i].stage == pass + 1)
      found.push_back(static_cast<int>(i));
  return found;
}

std::vector<int> sums_over_rows(const KernelProgram& k, const Analysis& a) {
  std::vector<int> found;
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (k.ops[i].over_rows && a.ops[i].live) found.push_back(static_cast<int>(i));
  return found;
}

std::vector<int> reduces_in(const KernelProgram& k, const Analysis& a, const Residency& r,
                            int pass) {
  std::vector<int> found, joining;
  for (int id : reduces_of(k, a, pass))
    if (r.joined_max[id] < 0) found.push_back(id);
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (int max = r.joined_max[i]; max >= 0 && a.ops[max].stage == pass + 1)
      joining.push_back(static_cast<int>(i));
  found.insert(found.end(), joining.begin(), joining.end());
  return found;
}

std::vector<int> stores_at(const KernelProgram& k, const Analysis& a, Level level) {
  std::vector<int> found;
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (k.ops[i].kind == Kind::store && a.ops[i].level == level && !a.ops[i].after)
      found.push_back(static_cast<int>(i));
  return found;
}

Residency choose_residency(const KernelProgram& k, const Analysis& a) {
  Residency r;
  r.joined_max.assign(k.ops.size(), -1);
  const int64_t room = budget(k, a);
  auto nothing = [&] {
    r.values.assign(k.ops.size(), 0);
    r.loads.assign(k.ops.size(), 0);
    find_needed(k, a, r);
  };
  nothing();
  const std::vector<char> costly = costly_values(k, a, r);
  r.values = costly;
  find_needed(k, a, r);
  keep_only_read(k, a, r);
  find_needed(k, a, r);
  int64_t used = words_of_values(k, a, r) + keep_shared_loads(k, a, r);
  if (used > room) {
    nothing();
    used = keep_shared_loads(k, a, r);
  }
  int64_t code = 0, fetched = 0;
  if (a.stages == 0)  // all loads at once, or a loop
    for (size_t i = 0; i < k.ops.size(); ++i)
      if (is_lane_load(k, a, i) && r.first_pass[i] >= 0)
        used += a.turns * words_of(k.ops[i].type, a.lanes);
  for (const auto& needed : r.needed) code += std::count(needed.begin(), needed.end(), 1);
  code *= a.turns * a.lanes;
  r.unrolled = used <= room && code <= kMaxCode && a.turns <= 64;
  if (!r.unrolled) {
    join_maxima(k, a, r);
    nothing();
  } else {
    // What is left of the room lets more loads start before the first reduction.
    if (a.stages == 0) used = 0;
    for (size_t i = 0; i < k.ops.size(); ++i) {
      int64_t words = a.turns * words_of(k.ops[i].type, a.lanes);
      if (!is_lane_load(k, a, i) || r.loads[i] || r.first_pass[i] < 0 || used + words > room)
        continue;
      r.loads[i] = 1;
      used += words;
    }
  }
  for (const auto& needed : r.needed) {
    int64_t words = 0;
    for (size_t i = 0; i < k.ops.size(); ++i)
      if (needed[i] && is_lane_load(k, a, i) && !r.loads[i])
        words += words_of(k.ops[i].type, a.lanes);
    fetched = std::max(fetched, words);
  }
  int64_t group = std::max<int64_t>(1, kWordsInFlight / std::max<int64_t>(fetched, 1));
  r.group = static_cast<int>(std::max<int64_t>(1, std::min({group, a.turns, int64_t{8}})));
  return r;
}

}  // namespace fusec::codegen_cuda
