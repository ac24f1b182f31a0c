// KernelProgram (of few dimensions) -> Analysis: dependence, liveness, stages, lanes, access
// widths.
#include "analysis.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "fusec/base/error.h"

namespace fusec::codegen_cuda {
namespace {

using Kind = KernelOp::Kind;

constexpr double kUnknown = -std::numeric_limits<double>::infinity();
constexpr int64_t kWidest = 16;  // bytes of the widest access
constexpr int64_t kTileBytes = 40 << 10;

bool one_dim(const KernelProgram& k) {
  return k.schedule.kind == ScheduleKind::flat || k.schedule.kind == ScheduleKind::flat_reduce;
}

int own_cost(const KernelOp& op) {
  if (op.kind == Kind::cast) return op.type == DType::f8e4m3 ? 4 : is_narrow_float(op.type) ? 2 : 1;
  if (op.kind != Kind::prim) return 1;
  switch (op.prim) {
    case Prim::div: case Prim::sqrt: return 8;
    case Prim::exp: case Prim::exp2: case Prim::log: return 10;
    case Prim::log1p: case Prim::pow: case Prim::sin: case Prim::cos: case Prim::tanh:
    case Prim::erf: case Prim::philox: return 24;
    default: return 1;
  }
}

// A lower bound of a float value, for cheaper division; NaN may pass.
double lower_bound(const KernelProgram& k, const Analysis& a, const KernelOp& op) {
  auto arg = [&](size_t i) { return a.ops[op.args[i]].at_least; };
  if (op.kind == Kind::constant) return op.imm;
  if (op.kind == Kind::cast)  // f8e4m3 saturates
    return is_float(k.ops[op.args[0]].type) && op.type != DType::f8e4m3 ? arg(0) : kUnknown;
  if (op.kind == Kind::reduce)
    return op.reduce != ReduceKind::sum ? arg(0) : arg(0) >= 0 ? 0 : kUnknown;
  if (op.kind != Kind::prim || !is_float(op.type)) return kUnknown;
  const bool both = op.args.size() > 1 && arg(0) >= 0 && arg(1) >= 0;
  switch (op.prim) {
    case Prim::exp: case Prim::exp2: case Prim::abs: return 0;
    case Prim::sqrt: return arg(0) > 0 ? std::sqrt(arg(0)) : 0;
    case Prim::add: return arg(0) + arg(1);
    case Prim::mul: return both || op.args[0] == op.args[1] ? 0 : kUnknown;
    case Prim::div: return both ? 0 : kUnknown;
    case Prim::max: return std::max(arg(0), arg(1));
    case Prim::min: return std::min(arg(0), arg(1));
    case Prim::select: return std::min(arg(1), arg(2));
    default: return kUnknown;
  }
}

void find_dependence(const KernelProgram& k, Analysis& a) {
  const uint64_t last = uint64_t{1} << (k.extents.size() - 1);
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const KernelOp& op = k.ops[i];
    OpFacts& f = a.ops[i];
    for (size_t d = 0; d < op.access.strides.size(); ++d)
      if (op.access.strides[d] != 0 && (one_dim(k) || k.extents[d] != 1))
        f.dims |= uint64_t{1} << d;
    f.whole = is_memory(op) && std::popcount(f.dims) == static_cast<int>(k.extents.size());
    for (int arg : op.args) {
      f.dims |= a.ops[arg].dims;
      f.stage = std::max(f.stage, a.ops[arg].stage);
      f.cost += a.ops[arg].level == Level::inner ? a.ops[arg].cost : 0;
      f.after = f.after || a.ops[arg].after;
    }
    if (op.over_rows) {
      f.dims = (f.dims & ~a.walked_dims) | a.inner_dims;
      f.after = true;
      f.cost = 0;
    } else if (op.kind == Kind::reduce) {
      f.dims &= ~a.inner_dims;
      if (k.schedule.kind == ScheduleKind::columns) f.dims |= last;
      ++f.stage;
      f.cost = 0;
    }
    // One element a unit, whatever the stride says.
    if (k.schedule.kind == ScheduleKind::flat_reduce && op.kind == Kind::store) f.dims = 0;
    f.varies = (f.dims & last) != 0;
    f.walks = (f.dims & a.walked_dims) != 0;
    f.level = (f.dims & a.inner_dims) != 0 ? Level::inner : Level::unit;
    f.cost = std::min(f.cost + own_cost(op), 1 << 20);
    f.at_least = lower_bound(k, a, op);
    a.stages = std::max(a.stages, f.stage);
  }
}

void find_live(const KernelProgram& k, Analysis& a) {
  std::vector<char> other_use(k.ops.size(), 0);
  for (size_t i = k.ops.size(); i-- > 0;) {
    const KernelOp& op = k.ops[i];
    OpFacts& f = a.ops[i];
    if (op.kind == Kind::store) f.live = true;
    if (!f.live) continue;
    f.rounded_by_store = op.kind == Kind::cast && compute_type(op.type) != op.type && !other_use[i];
    for (int arg : op.args) {
      a.ops[arg].live = true;
      if (op.kind != Kind::store) other_use[arg] = 1;
    }
  }
}

// Neighbours that one thread takes: as many as the widest element that is packed allows in one
// access, so that the accesses of a warp lie side by side for every type. Of a panel, what is read
// or written once does not count.
int choose_lanes(const KernelProgram& k, const Analysis& a) {
  const KernelSchedule& s = k.schedule;
  if (s.kind == ScheduleKind::columns) {
    auto last = static_cast<uint64_t>(std::max<int64_t>(k.extents.back(), 1));
    return static_cast<int>(std::min<uint64_t>(s.vector, std::bit_ceil(last)));
  }
  int64_t widest = 1;
  for (size_t i = 0; i < k.ops.size(); ++i)
    if (a.ops[i].live && is_memory(k.ops[i]) && last_stride(k.ops[i]) == 1 &&
        (k.walk_dims == 0 || a.ops[i].walks))
      widest = std::max(widest, size_of(k.ops[i].type));
  int64_t lanes = std::min<int64_t>(s.vector, kWidest / widest);
  if (s.kind == ScheduleKind::rows)
    while (lanes > 1 && k.extents.back() % lanes != 0) lanes /= 2;
  return static_cast<int>(lanes);
}

void find_accesses(const KernelProgram& k, Analysis& a) {
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const KernelOp& op = k.ops[i];
    if (op.kind == Kind::index) {
      int64_t reach = std::abs(op.access.offset);
      for (size_t d = 0; d < k.extents.size(); ++d)
        reach += std::abs(op.access.strides[d]) * std::max<int64_t>(k.extents[d], 1);
      a.ops[i].wide = one_dim(k) || reach >= (int64_t{1} << 31);
    }
    if (!is_memory(op)) continue;
    OpFacts& f = a.ops[i];
    int64_t size = size_of(op.type), step = std::gcd(int64_t{a.lanes}, op.access.offset);
    int64_t reach = std::abs(op.access.offset) + 64;
    if (k.schedule.kind == ScheduleKind::flat_reduce) step = std::gcd(step, k.schedule.chunk);
    for (size_t d = 0; d < k.extents.size(); ++d) {
      if (d + 1 < k.extents.size() && k.extents[d] > 1) step = std::gcd(step, op.access.strides[d]);
      reach += std::abs(op.access.strides[d]) * std::max<int64_t>(k.extents[d], 1);
    }
    f.bytes = static_cast<int>(last_stride(op) == 1 ? std::min(step * size, kWidest) : size);
    f.wide = !one_dim(k) && reach >= (int64_t{1} << 31);
  }
}

// Loads of tiles that go through shared memory. The padding of a word sets neighbouring rows a bank
// apart.
void find_tiles(const KernelProgram& k, Analysis& a) {
  const size_t rank = k.extents.size();
  if (k.schedule.kind != ScheduleKind::rows || k.walk_dims > 0 || a.stages > 0 ||
      k.schedule.team != k.schedule.block || static_cast<int>(rank) != k.row_dims + 2)
    return;
  const int64_t length = k.extents[rank - 2], lines = k.extents[rank - 1];
  int64_t left = kTileBytes;
  for (size_t i = 0; i < k.ops.size(); ++i) {
    const KernelOp& op = k.ops[i];
    OpFacts& f = a.ops[i];
    if (op.kind != Kind::load || !f.live || length <= 1 || lines <= 1 ||
        op.access.strides[rank - 2] != 1 || std::abs(op.access.strides[rank - 1]) <= 1)
      continue;
    const int64_t size = size_of(op.type);
    int64_t piece = kWidest / size;
    while (piece > 1 && length % piece != 0) piece /= 2;
    const int64_t pitch = length * size + std::max<int64_t>(size, 4);
    if (piece * size % 4 != 0 || pitch * lines > left) continue;
    int64_t step = std::gcd(piece, op.access.offset);
    for (size_t d = 0; d < rank; ++d)
      if (d != rank - 2 && k.extents[d] > 1) step = std::gcd(step, op.access.strides[d]);
    left -= pitch * lines;
    f.piece = static_cast<int>(piece);
    f.piece_bytes = static_cast<int>(std::min(step * size, kWidest));
    f.pitch = static_cast<int>(pitch);
  }
}

}  // namespace

void fail_kernel(const KernelProgram& kernel, const std::string& what) {
  std::string from = kernel.origins.empty() ? "" : " (from " + kernel.origins.front() + ")";
  fail_internal("kernel " + kernel.name + from + ": " + what +
                "; this is a defect of Fusec, please report the kernel's text");
}

Analysis analyse(const KernelProgram& k) {
  if (k.schedule.ragged) fail_kernel(k, "a hook's kernel is no kernel of its own here");
  const KernelSchedule& s = k.schedule;
  if (s.block <= 0 || s.team <= 0)
    fail_kernel(k, "expected a schedule for blocks of threads, found block " +
                       std::to_string(s.block) + " team " + std::to_string(s.team));
  const size_t rank = k.extents.size();
  if (rank == 0 || rank > 60) fail_kernel(k, "it has " + std::to_string(rank) + " dimensions");
  Analysis a;
  a.ops.resize(k.ops.size());
  const bool columns = s.kind == ScheduleKind::columns;
  const size_t first = one_dim(k) ? 0 : k.row_dims, end = columns ? rank - 1 : rank;
  for (size_t d = first; d < end; ++d) a.inner_dims |= uint64_t{1} << d;
  for (size_t d = first; d + 1 < rank; ++d) a.lines *= k.extents[d];
  a.walk = k.walk_dims > 0 ? 1 : 0;
  for (int d = k.row_dims - k.walk_dims; d < k.row_dims; ++d)
    a.walked_dims |= uint64_t{1} << d, a.walk *= k.extents[d];
  find_dependence(k, a);
  find_live(k, a);
  a.lanes = choose_lanes(k, a);
  a.steps = columns ? a.lines : one_dim(k) ? 0 : a.lines * (k.extents.back() / a.lanes);
  a.turns = (a.steps + s.team - 1) / s.team;
  find_accesses(k, a);
  find_tiles(k, a);
  if (s.kind == ScheduleKind::flat_reduce && a.stages > 1)
    fail_kernel(k, "flat_reduce with a reduction of a reduction");
  return a;
}

}  // namespace fusec::codegen_cuda
