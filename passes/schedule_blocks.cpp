// The kernels of a plan -> the same with threads: how many share a row, how wide they load.
//
//   rows 32768 x 2048 bf16   ->  vector 8 (16 bytes), team 64: four steps of the team walk a row
//   transpose 1024 x 512 bf16   ->  tiles of 64 x 64 through shared memory, block 256
//   columns 64 x 256 x 1280  ->  vector 8, block 512 = 32 units x team 16 down the reduced rows
//
// The rules aim at 16 bytes a load and at two to eight loads in flight for each thread; they read
// sizes only, so equal kernels get equal schedules. It works on the plan because it may change the
// loops themselves, which the dialect leaves to build_kernel().
#include "fusec/passes/schedule_blocks.h"

#include <algorithm>
#include <bit>

namespace fusec::passes {
namespace {

constexpr int kVectorBytes = 16;
constexpr int kBlock = 256;
constexpr int64_t kStepsOfRow = 4;     // vectors of a row for each thread of its team
constexpr int64_t kRowsOfMember = 8;   // reduced rows for each member of a columns team
constexpr int64_t kPieceOfRow = 2048;  // elements of a long row of a map that one team takes
constexpr int64_t kMostSide = 64, kLeastSide = 16;  // of a tile
constexpr int64_t kRowWords = 64;  // of a row that a thread of up to 512 keeps, of 32 bits
constexpr int64_t kRowNumbers = 16;    // of a whole row, beside which 64 registers are enough

int64_t power_at_least(int64_t n) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(1, n))));
}

// Elements of the narrowest tensor that is walked along the last dimension in 16 bytes.
int widest_vector(const KernelProgram& k) {
  int64_t narrowest = 0;
  for (const KernelOp& op : k.ops) {
    bool memory = op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store;
    if (!memory || op.access.strides.back() == 0) continue;
    int64_t size = size_of(op.type);
    narrowest = narrowest == 0 ? size : std::min(narrowest, size);
  }
  return narrowest == 0 ? 1 : static_cast<int>(kVectorBytes / narrowest);
}

// The same, if that divides `length`; else the largest power of two that does.
int vector_for(const KernelProgram& k, int64_t length) {
  int vector = std::min(widest_vector(k), 8);
  while (vector > 1 && length % vector != 0) vector /= 2;
  return vector;
}

// Elements of one step of a thread: 16 bytes of the widest tensor along the last dimension.
int64_t lanes_of(const KernelProgram& k, int vector) {
  int64_t widest = 1;
  for (const KernelOp& op : k.ops) {
    bool memory = op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store;
    if (memory && op.access.strides.back() == 1) widest = std::max(widest, size_of(op.type));
  }
  return std::min<int64_t>(vector, kVectorBytes / widest);
}

int64_t product(const KernelProgram& k, size_t from, size_t to) {
  int64_t n = 1;
  for (size_t d = from; d < to; ++d) n *= k.extents[d];
  return n;
}

bool has_reduction(const KernelProgram& k) {
  return std::any_of(k.ops.begin(), k.ops.end(),
                     [](const KernelOp& op) { return op.kind == KernelOp::Kind::reduce; });
}

// Numbers that each thread of a team holds for its whole row: loads that do not walk it.
int64_t row_numbers(const KernelProgram& k) {
  return std::count_if(k.ops.begin(), k.ops.end(), [&](const KernelOp& op) {
    const std::vector<int64_t>& strides = op.access.strides;
    return op.kind == KernelOp::Kind::load &&
           std::all_of(strides.begin() + k.row_dims, strides.end(),
                       [](int64_t stride) { return stride == 0; });
  });
}

// [rows][length] -> [rows, pieces][piece]: legal for a map, whose elements are independent.
void cut_rows(KernelProgram& k) {
  int64_t length = k.extents.back(), piece = kPieceOfRow;
  if (length < 2 * piece) return;
  while (piece >= kBlock && length % piece != 0) piece /= 2;
  if (piece < kBlock) return;
  for (KernelOp& op : k.ops) {
    std::vector<int64_t>& strides = op.access.strides;
    if (strides.size() != k.extents.size()) continue;
    int64_t step = strides.back();
    strides.back() = step * piece;
    strides.push_back(step);
  }
  k.extents.back() = length / piece;
  k.extents.push_back(piece);
  ++k.row_dims;
}

// Largest divisor of `length` that makes a side of a tile, 0 if there is none.
int64_t side_of(int64_t length) {
  for (int64_t side = kMostSide; side >= kLeastSide; side -= 4)
    if (length % side == 0) return side;
  return 0;
}

// A map that reads memory along another dimension than it writes: tiles of both dimensions, which
// pass through shared memory. Legal, as elements of a map are independent.
//   [8, 1024 i, 512 j]: y[i, j] = x[j, i]   ->  [8, 16, 8, 64 i, 64 j], a row of 64 x 64
bool cut_tiles(KernelProgram& k) {
  const size_t last = k.extents.size() - 1;
  size_t across = last;
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::load && std::abs(op.access.strides[last]) > 1)
      for (size_t d = 0; d < last && across == last; ++d)
        if (op.access.strides[d] == 1 && side_of(k.extents[d]) > 0) across = d;
  if (across == last) return false;
  const int64_t i = side_of(k.extents[across]), j = side_of(k.extents[last]);
  if (j == 0) return false;
  auto cut = [&](std::vector<int64_t>& v, int64_t i_tiles, int64_t j_tiles, int64_t i_side,
                 int64_t j_side) {
    v.pop_back();
    v.erase(v.begin() + static_cast<int64_t>(across));
    v.insert(v.end(), {i_tiles, j_tiles, i_side, j_side});
  };
  for (KernelOp& op : k.ops) {
    std::vector<int64_t>& s = op.access.strides;
    if (s.size() != k.extents.size()) continue;
    const int64_t si = s[across], sj = s[last];
    cut(s, si * i, sj * j, si, sj);
  }
  cut(k.extents, k.extents[across] / i, k.extents[last] / j, i, j);
  k.row_dims = static_cast<int>(k.extents.size()) - 2;
  KernelSchedule& s = k.schedule;
  s.vector = vector_for(k, j);
  const int64_t threads = power_at_least(i * j / lanes_of(k, s.vector) / 2);
  s.block = s.team = static_cast<int>(std::clamp<int64_t>(threads, 32, kBlock));
  return true;
}

// A team shares a row, and keeps the column sums of its rows. Short rows: some teams a block, each
// with two steps of a row at most. Long rows: one team, of up to 384 threads with as few turns.
//   panels 256 x 128 rows x 2048 bf16   ->  vector 8, team 256 of block 256
void panels(KernelProgram& k) {
  KernelSchedule& s = k.schedule;
  s.vector = vector_for(k, k.extents.back());
  int64_t widest = 1;  // of what is read or written for each row
  for (const KernelOp& op : k.ops) {
    const bool memory = op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store;
    const auto begin = op.access.strides.begin();
    if (memory && op.access.strides.back() == 1 &&
        std::any_of(begin + k.row_dims - k.walk_dims, begin + k.row_dims,
                    [](int64_t stride) { return stride != 0; }))
      widest = std::max(widest, size_of(op.type));
  }
  const int64_t lanes = std::min<int64_t>(s.vector, kVectorBytes / widest);
  const int64_t steps = (product(k, k.row_dims, k.extents.size()) + lanes - 1) / lanes;
  if (steps <= 128) {
    s.team = static_cast<int>(power_at_least((steps + 1) / 2));
    s.block = kBlock;
    return;
  }
  const int64_t turns = (steps + 383) / 384, threads = (steps + turns - 1) / turns;
  s.block = s.team = static_cast<int>((threads + 31) / 32 * 32);
}

// The least team from `team` on that keeps a row of `steps` in its registers between reductions, if
// a block of 512 threads can; else `team`.
int64_t keeping_team(const KernelProgram& k, int64_t steps, int64_t lanes, int64_t team) {
  int64_t words = 0;  // of one step
  for (const KernelOp& op : k.ops)
    if (op.kind == KernelOp::Kind::load && op.access.strides.back() != 0)
      words += std::max<int64_t>(1, size_of(op.type) * lanes / 4);
  for (int64_t larger = team; larger <= std::min<int64_t>(512, steps); larger *= 2)
    if ((steps + larger - 1) / larger * words <= kRowWords) return larger;
  return team;
}

void rows(KernelProgram& k) {
  if (k.walk_dims > 0) return panels(k);
  if (!has_reduction(k) && cut_tiles(k)) return;
  if (!has_reduction(k)) cut_rows(k);
  KernelSchedule& s = k.schedule;
  s.vector = vector_for(k, k.extents.back());
  int64_t steps = (product(k, k.row_dims, k.extents.size()) + s.vector - 1) / s.vector;
  int64_t team = power_at_least(has_reduction(k) ? (steps + kStepsOfRow - 1) / kStepsOfRow
                                                 : (steps + 1) / 2);
  // A warp shares a row of more than a few steps; fewer threads would leave it without work.
  if (has_reduction(k) && steps >= 32) team = std::max<int64_t>(team, 32);
  // A row of a few short lines (the halves that RoPE turns): a team as long as a line, so that the
  // turns of a thread differ in the line alone. Loads that all lines share, and those that one turn
  // repeats of another, are then one load, and the row stays in registers.
  const int64_t length = k.extents.back(), lines = product(k, k.row_dims, k.extents.size() - 1);
  const int64_t lanes = lanes_of(k, s.vector), line = length / lanes;
  if (has_reduction(k))
    team = keeping_team(k, product(k, k.row_dims, k.extents.size()) / lanes, lanes, team);
  if (has_reduction(k) && lines >= 2 && lines <= 4 && length % lanes == 0 && line >= 8 &&
      line <= 32 && std::has_single_bit(static_cast<uint64_t>(line)))
    team = line;
  // Of a row that no block keeps in registers, two blocks share a processor: one computes while the
  // other joins its threads or waits for memory. So does a thread of 512 have 128 registers, of 1024
  // only 64, where many numbers of a row are held.
  const int64_t most = steps > 4096 || row_numbers(k) > kRowNumbers ? 512 : 1024;
  s.team = static_cast<int>(std::min(team, most));
  s.block = std::max(s.team, kBlock);
}

void columns(KernelProgram& k) {
  KernelSchedule& s = k.schedule;
  s.vector = vector_for(k, k.extents.back());
  int64_t units = (k.extents.back() + s.vector - 1) / s.vector;
  int64_t side = std::min<int64_t>(32, power_at_least(units));
  int64_t reduced = product(k, k.row_dims, k.extents.size() - 1);
  int64_t team = std::min<int64_t>(power_at_least((reduced + kRowsOfMember - 1) / kRowsOfMember),
                                   side >= 32 ? 16 : 512 / side);
  s.team = static_cast<int>(team);
  s.block = static_cast<int>(std::max<int64_t>(32, side * team));
}

void schedule_kernel(KernelProgram& k) {
  KernelSchedule& s = k.schedule;
  if (s.block > 0) return;  // chosen by who wrote the plan
  s.grain = 1;
  switch (s.kind) {
    case ScheduleKind::flat:
      s.vector = std::min(widest_vector(k), 8);
      s.block = kBlock;
      s.team = 1;
      return;
    case ScheduleKind::rows: return rows(k);
    case ScheduleKind::columns: return columns(k);
    case ScheduleKind::flat_reduce:
      s.vector = std::min(widest_vector(k), 8);
      s.block = s.team = 2 * kBlock;
      return;
  }
}

}  // namespace

void schedule_blocks(Plan& plan, const TargetInfo& target) {
  if (target.cores == 0) return;
  for (KernelProgram& k : plan.kernels) schedule_kernel(k);
}

}  // namespace fusec::passes
