// KernelProgram -> Analysis: dependence, liveness, stages, lanes, row buffers. Exists so that the
// emitters only spell decisions. Refuses kernels whose accesses do not fit their schedule.
#include "analysis.h"

#include <algorithm>
#include <bit>

#include "fusec/base/error.h"

namespace fusec::codegen_cpu {
namespace {

using Kind = KernelOp::Kind;

constexpr int kCheap = 12;                   // recomputing up to this cost beats a row buffer
constexpr int64_t kBufferBytes = 64 << 10;   // one row buffer
constexpr int64_t kStackBytes = 256 << 10;   // all row buffers of a kernel
constexpr int64_t kUnrolledLanes = 128;

bool is_wide_type(DType t) { return size_of(t) == 8; }

uint32_t access_dims(const std::vector<int64_t>& strides) {
  uint32_t mask = 0;
  for (size_t d = 0; d < strides.size(); ++d) mask |= strides[d] != 0 ? 1u << d : 0;
  return mask;
}

// Work of the op itself.
int own_cost(const KernelOp& op, const OpFacts& f) {
  switch (op.kind) {
    case Kind::load: {
      int64_t s = last_stride(f);
      return s == 0 || s == 1 || s == -1 ? 1 : kCheap;
    }
    case Kind::prim:
      if (is_transcendental(op.prim)) return kCheap;
      return op.prim == Prim::div || op.prim == Prim::sqrt ? 4 : 1;
    case Kind::cast: return op.type == DType::f8e4m3 ? 8 : is_narrow_float(op.type) ? 3 : 1;
    case Kind::constant: case Kind::index: case Kind::reduce: case Kind::store: return 0;
  }
  return 0;
}

void find_dependence(const KernelProgram& k, Analysis& a) {
  const uint32_t last = k.extents.empty() ? 0 : 1u << (k.extents.size() - 1);
  const ScheduleKind kind = k.schedule.kind;
  const bool sized = kind == ScheduleKind::rows || kind == ScheduleKind::columns;
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const KernelOp& op = k.ops[i];
    OpFacts& f = a.ops[i];
    if (op.kind == Kind::load || op.kind == Kind::store || op.kind == Kind::index) {
      if (op.access.strides.size() != k.extents.size()) {
        fail_kernel(k, "op " + std::to_string(i) + " has " +
                           std::to_string(op.access.strides.size()) + " strides for " +
                           std::to_string(k.extents.size()) + " dimensions");
      }
      f.strides = op.access.strides;
      for (size_t d = 0; sized && d < k.extents.size(); ++d) {
        if (k.extents[d] == 1) f.strides[d] = 0;
      }
      f.dims = access_dims(f.strides);
    }
    bool launch = !(op.kind == Kind::load && k.params[op.access.param].written);
    for (int arg : op.args) {
      f.dims |= a.ops[arg].dims;
      f.stage = std::max(f.stage, a.ops[arg].stage);
      launch &= a.ops[arg].level == Level::launch;
      f.cost += a.ops[arg].level == Level::inner ? a.ops[arg].cost : 0;
    }
    if (op.kind == Kind::reduce) {
      f.dims &= ~a.inner_dims;
      if (k.schedule.kind == ScheduleKind::columns && k.extents.back() > 1) f.dims |= last;
      ++f.stage;
      f.cost = 0;
      launch = false;
    }
    f.varies = (f.dims & last) != 0;
    f.level = (f.dims & a.inner_dims) != 0 ? Level::inner
              : launch && f.dims == 0 && op.kind != Kind::store ? Level::launch
                                                                 : Level::unit;
    if (k.schedule.kind == ScheduleKind::flat_reduce && op.kind == Kind::store) {
      if (a.ops[op.args[0]].level == Level::inner) {
        fail_kernel(k, "flat_reduce stores a value that is not reduced");
      }
      f.level = Level::unit;
    }
    f.cost = std::min(f.cost + own_cost(op, f), 1 << 20);
    a.stages = std::max(a.stages, f.stage);
  }
}

void find_live(const KernelProgram& k, Analysis& a) {
  for (size_t i = k.ops.size(); i-- > 0;) {
    const KernelOp& op = k.ops[i];
    OpFacts& f = a.ops[i];
    if (op.kind == Kind::store) f.live = true;
    if (!f.live) continue;
    for (int arg : op.args) {
      a.ops[arg].live = true;
      bool as_is = op.kind == Kind::store && op.type == k.ops[arg].type;
      (as_is ? a.ops[arg].packed : a.ops[arg].wide) = true;
    }
  }
}

int choose_lanes(const KernelProgram& k, const Analysis& a, const CpuTarget& target) {
  const int native = target.vector_bits / 32;
  if (k.schedule.kind == ScheduleKind::columns) {
    int unit = std::min(k.schedule.vector, 64);
    uint64_t last = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(k.extents.back(), 1)));
    return static_cast<int>(std::min<uint64_t>(unit, last));
  }
  int lanes = 4 * native, work = 0;
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const OpFacts& f = a.ops[i];
    if (!f.live || !f.varies || f.level != Level::inner) continue;
    const KernelOp& op = k.ops[i];
    ++work;
    if (is_wide_type(op.type)) lanes = std::min(lanes, 2 * native);
    bool access = op.kind == Kind::load || op.kind == Kind::store;
    if (access && own_cost(op, f) >= kCheap) lanes = std::min(lanes, native);
    if (op.kind == Kind::prim && is_wide_type(op.type) && is_transcendental(op.prim)) {
      lanes = std::min(lanes, 8);
    }
  }
  // Long programs: fewer lanes live at once than registers, and less code.
  if (work > 32) lanes = std::min(lanes, 2 * native);
  if (work > 96) lanes = std::min(lanes, native);
  return lanes;
}

// Marks what a pass computes, stopping at values that an earlier pass computed and that are worth
// keeping: those become row buffers, the largest expressions first.
void mark_pass(const KernelProgram& k, Analysis& a, int pass, int id, std::vector<int>& seen) {
  OpFacts& f = a.ops[id];
  if (f.level != Level::inner || seen[id] == pass) return;
  seen[id] = pass;
  const bool earlier = f.first_pass >= 0;
  if (earlier && f.varies && f.cost >= kCheap) {
    f.buffered = true;
    return;
  }
  if (!earlier) f.first_pass = pass;
  for (int arg : k.ops[id].args) mark_pass(k, a, pass, arg, seen);
}

void choose_buffers(const KernelProgram& k, Analysis& a) {
  std::vector<int> seen(k.ops.size(), -1);
  for (int pass = 0; pass <= a.stages; ++pass) {
    for (size_t i = 0; i < k.ops.size(); ++i) {
      const KernelOp& op = k.ops[i];
      const OpFacts& f = a.ops[i];
      if (!f.live) continue;
      bool root = op.kind == Kind::reduce ? f.stage == pass + 1
                                          : op.kind == Kind::store && pass == a.stages;
      if (root) mark_pass(k, a, pass, op.args[0], seen);
    }
  }
  int64_t padded = (k.extents.back() + a.lanes - 1) / a.lanes * a.lanes, left = kStackBytes;
  for (size_t i = 0; i < k.ops.size(); ++i) {
    if (!a.ops[i].buffered) continue;
    int64_t bytes = a.inner_rows * padded * size_of(compute_type(k.ops[i].type));
    if (bytes > kBufferBytes || bytes > left) {
      a.ops[i].buffered = false;
    } else {
      left -= bytes;
    }
  }
}

}  // namespace

void fail_kernel(const KernelProgram& kernel, const std::string& what) {
  std::string from = kernel.origins.empty() ? "" : " (from " + kernel.origins.front() + ")";
  fail_internal("kernel " + kernel.name + from + ": " + what +
                "; this is a defect of Fusec, please report the kernel's text");
}

Analysis analyse(const KernelProgram& k, const CpuTarget& target) {
  const int rank = static_cast<int>(k.extents.size());
  const bool one_dim =
      k.schedule.kind == ScheduleKind::flat || k.schedule.kind == ScheduleKind::flat_reduce;
  if (rank == 0 || rank > 30 || (one_dim && rank != 1)) {
    fail_kernel(k, "a " + std::string(name_of(k.schedule.kind)) + " kernel can not have " +
                       std::to_string(rank) + " dimensions");
  }
  if (k.walk_dims > 0) fail_kernel(k, "the CPU keeps no sums over rows beside them");
  Analysis a;
  a.ops.resize(k.ops.size());
  int first = one_dim ? 0 : k.row_dims, end = rank;
  if (k.schedule.kind == ScheduleKind::columns) end = rank - 1;
  for (int d = first; d < end; ++d) a.inner_dims |= 1u << d;
  for (int d = first; d < rank - 1; ++d) a.inner_rows *= k.extents[d];

  find_dependence(k, a);
  find_live(k, a);
  a.lanes = choose_lanes(k, a, target);
  if (k.schedule.kind != ScheduleKind::rows) return a;

  const int64_t last = std::max<int64_t>(k.extents.back(), 1);
  const uint64_t power = std::bit_ceil(static_cast<uint64_t>(last));
  a.lanes = static_cast<int>(std::min<uint64_t>(a.lanes, power));
  if (k.schedule.ragged) {
    if (a.stages > 0 || k.row_dims != 1 || rank != 2)
      fail_kernel(k, "a ragged kernel has two dimensions and no reduction");
    a.lanes = std::min(a.lanes, 16);
  }
  const int64_t work = std::count_if(a.ops.begin(), a.ops.end(), [](const OpFacts& f) {
    return f.live && f.level == Level::inner;
  });
  // Both bounds keep the code of one row within what the registers and a few ms of compiling bear.
  const int64_t row = a.inner_rows * last;
  a.unrolled = a.stages > 0 && row > 0 && row <= kUnrolledLanes && a.inner_rows <= 8 && work <= 64;
  if (!a.unrolled && a.stages > 0) choose_buffers(k, a);
  return a;
}

}  // namespace fusec::codegen_cpu
