// Loop order: rows keep the reduced dimensions innermost; when the innermost dimension of the
// tensors is not reduced, columns put it last so that loads stay contiguous. Neighbouring
// dimensions that every access crosses with one stride are merged, so most pointwise kernels
// become flat.
#include "kernel_layout.h"

#include <algorithm>
#include <cstdlib>

namespace fusec::ir {
namespace {

template <class F>
void each_access(KernelProgram& p, F f) {
  for (KernelOp& op : p.ops)
    if (op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store ||
        op.kind == KernelOp::Kind::index)
      f(op.access);
}

void reorder(KernelProgram& p, const std::vector<size_t>& order) {
  auto apply = [&](std::vector<int64_t>& v) {
    std::vector<int64_t> out;
    for (size_t d : order) out.push_back(v[d]);
    v = out;
  };
  apply(p.extents);
  each_access(p, [&](Access& a) { apply(a.strides); });
}

void erase_dim(KernelProgram& p, std::vector<int>& group, size_t d) {
  p.extents.erase(p.extents.begin() + d);
  each_access(p, [&](Access& a) { a.strides.erase(a.strides.begin() + d); });
  group.erase(group.begin() + d);
}

// Merges dimension d + 1 into d where every access allows it.
bool merge(KernelProgram& p, std::vector<int>& group, size_t d) {
  bool ok = group[d] == group[d + 1];
  each_access(p,
              [&](Access& a) { ok = ok && a.strides[d] == a.strides[d + 1] * p.extents[d + 1]; });
  if (!ok) return false;
  p.extents[d + 1] *= p.extents[d];
  erase_dim(p, group, d);
  return true;
}

int lanes_for(int64_t extent, int most) {
  int lanes = 1;
  while (lanes < most && lanes < extent) lanes *= 2;
  return lanes;
}

// Work units that keep the cores of most machines busy.
constexpr int64_t kEnoughUnits = 16;

// A load that walks memory along another dimension than the rows do (a transpose) touches a cache
// line for every element, and comes back to it only rows later. So the rows are cut: rows of
// `kTile` elements, numbered so that those that share lines follow each other.
//   for i: for j in [0, n): y[i, j] = x[j, i]
//   ->  for jt: for i: for j in [0, kTile): y[i, jt * kTile + j] = x[jt * kTile + j, i]
constexpr int64_t kTile = 64, kLeastTile = 16;

void tile_transpose(KernelProgram& p) {
  size_t last = p.extents.size() - 1, across = last;
  for (const KernelOp& op : p.ops)
    if (op.kind == KernelOp::Kind::load || op.kind == KernelOp::Kind::store)
      for (size_t d = 0; d < last; ++d)
        if (std::abs(op.access.strides[d]) == 1 && std::abs(op.access.strides[last]) > 1 &&
            p.extents[d] >= kLeastTile)
          across = d;
  int64_t tile = std::min(kTile, p.extents[last]);
  while (tile >= kLeastTile && p.extents[last] % tile != 0) --tile;
  if (across == last || tile < kLeastTile || tile == p.extents[last]) return;
  auto cut = [&](std::vector<int64_t>& v, int64_t outer, int64_t inner) {
    int64_t moved = v[across];
    v.erase(v.begin() + across);
    v.back() = outer;
    v.push_back(moved);
    v.push_back(inner);
  };
  each_access(p, [&](Access& a) { cut(a.strides, a.strides[last] * tile, a.strides[last]); });
  cut(p.extents, p.extents[last] / tile, tile);
}

// Work units that make a task of at least ~16K scalar operations.
int64_t grain_for(const KernelProgram& p, int64_t elements_a_unit) {
  int64_t work = std::max<int64_t>(1, elements_a_unit * static_cast<int64_t>(p.ops.size()));
  return std::max<int64_t>(1, 16384 / work);
}

// [panels ...][walked rows ...][inner ...], each group with as few dimensions as its accesses need.
void layout_panels(KernelProgram& p, const Domain& domain) {
  std::vector<int> group;
  for (size_t d = 0; d < domain.rank(); ++d)
    group.push_back(domain.reduced[d] ? 2 : domain.walked[d] ? 1 : 0);
  for (size_t d = p.extents.size(); d-- > 0;)
    if (p.extents[d] == 1 &&
        (group[d] == 0 || std::count(group.begin(), group.end(), group[d]) > 1))
      erase_dim(p, group, d);
  for (size_t d = p.extents.size() - 1; d-- > 0;) merge(p, group, d);
  p.walk_dims = static_cast<int>(std::count(group.begin(), group.end(), 1));
  p.row_dims = static_cast<int>(std::count(group.begin(), group.end(), 0)) + p.walk_dims;
  p.schedule = {ScheduleKind::rows, lanes_for(p.extents.back(), 16), 0, 1};
}

}  // namespace

std::string layout_kernel(KernelProgram& p, const Domain& domain, int64_t chunk) {
  const std::vector<bool>& reduced = domain.reduced;
  if (chunk > 0) {
    std::vector<int> one(p.extents.size(), 0);
    for (size_t d = p.extents.size() - 1; d-- > 0;) merge(p, one, d);
    bool flat = p.extents.size() == 1;
    for (const KernelOp& op : p.ops)
      if (op.kind == KernelOp::Kind::load)
        flat =
            flat && op.access.offset == 0 && op.access.strides[0] >= 0 && op.access.strides[0] <= 1;
    if (!flat) return "a reduction in chunks over strided data";
    p.schedule = {ScheduleKind::flat_reduce, 16, chunk, 1};
    p.row_dims = 0;
    return "";
  }
  if (std::find(domain.walked.begin(), domain.walked.end(), true) != domain.walked.end()) {
    layout_panels(p, domain);
    return "";
  }
  size_t rank = p.extents.size();
  bool any_reduced = std::find(reduced.begin(), reduced.end(), true) != reduced.end();
  size_t last = rank;  // innermost dimension with more than one iteration
  for (size_t d = 0; d < rank; ++d)
    if (p.extents[d] != 1) last = d;
  // With only size-1 dimensions reduced (or all of them), rows serve as well as columns.
  bool columns = any_reduced && last < rank && !reduced[last];
  if (columns) {
    bool real = false;
    for (size_t d = 0; d < rank; ++d) real = real || (reduced[d] && p.extents[d] != 1);
    if (!real) columns = false;
  }

  std::vector<size_t> order;
  std::vector<int> group;  // 0 outer, 1 reduced or inner, 2 vector dimension of columns
  auto take = [&](bool want_reduced, int g) {
    for (size_t d = 0; d < rank; ++d)
      if (reduced[d] == want_reduced && !(columns && d == last))
        order.push_back(d), group.push_back(g);
  };
  take(false, 0);
  if (any_reduced) take(true, 1);
  if (columns) order.push_back(last), group.push_back(2);
  reorder(p, order);
  for (size_t d = p.extents.size(); d-- > 0;)
    if (p.extents[d] == 1 && p.extents.size() > 1 &&
        (std::count(group.begin(), group.end(), group[d]) > 1 || group[d] == 0))
      erase_dim(p, group, d);
  if (p.extents.empty()) {
    p.extents = {1};
    group = {0};
    each_access(p, [&](Access& a) { a.strides = {0}; });
  }
  if (columns) {  // outer dimensions next to the vector dimension may join it
    for (size_t d = group.size() - 1; d-- > 0;)
      if (group[d] == 0) {
        bool ok = true;
        size_t v = group.size() - 1;
        each_access(p, [&](Access& a) { ok = ok && a.strides[d] == a.strides[v] * p.extents[v]; });
        if (!ok) break;
        p.extents[v] *= p.extents[d];
        erase_dim(p, group, d);
      }
  }
  for (size_t d = p.extents.size() - 1; d-- > 0;) merge(p, group, d);

  if (columns) {
    for (const KernelOp& op : p.ops)
      if (op.kind == KernelOp::Kind::store)
        for (size_t d = 0; d < group.size(); ++d)
          if (group[d] == 1 && op.access.strides[d] != 0)
            return "a column reduction together with a result on its whole domain";
    p.row_dims = static_cast<int>(std::count(group.begin(), group.end(), 0));
    // The widest units that still leave enough of them: whole rows read best.
    int64_t outer = 1;
    for (int d = 0; d < p.row_dims; ++d) outer *= p.extents[d];
    int lanes = lanes_for(p.extents.back(), 1024);
    while (lanes > 64 && outer * ((p.extents.back() + lanes - 1) / lanes) < kEnoughUnits)
      lanes /= 2;
    p.schedule = {ScheduleKind::columns, lanes, 0, 1};
    int64_t reduced_count = 1;
    for (size_t d = 0; d < group.size(); ++d)
      if (group[d] == 1) reduced_count *= p.extents[d];
    p.schedule.grain = grain_for(p, reduced_count * lanes);
    return "";
  }
  if (any_reduced) {
    p.row_dims = static_cast<int>(std::count(group.begin(), group.end(), 0));
    int64_t inner = 1;
    for (size_t d = p.row_dims; d < p.extents.size(); ++d) inner *= p.extents[d];
    p.schedule = {ScheduleKind::rows, lanes_for(p.extents.back(), 16), 0, grain_for(p, inner)};
    return "";
  }
  bool flat = p.extents.size() == 1;
  for (const KernelOp& op : p.ops) {
    if (op.kind != KernelOp::Kind::load && op.kind != KernelOp::Kind::store) continue;
    int64_t s = op.access.strides[0];
    bool store = op.kind == KernelOp::Kind::store;
    // A flat kernel may run past the end: stores must fill their buffer from its start.
    if (store && (op.access.offset != 0 || (s != 1 && p.extents[0] != 1))) flat = false;
    if (!store && (s < 0 || s > 1)) flat = false;
  }
  if (flat) {
    if (p.extents[0] == 1)  // a scalar: strides are free; 1 keeps it in the flat form
      for (KernelOp& op : p.ops)
        if (op.kind == KernelOp::Kind::store) op.access.strides[0] = 1;
    p.schedule = {ScheduleKind::flat, 64, 0, std::max<int64_t>(64, grain_for(p, 1))};
    p.row_dims = 0;
    return "";
  }
  tile_transpose(p);
  p.row_dims = static_cast<int>(p.extents.size()) - 1;
  p.schedule = {ScheduleKind::rows, lanes_for(p.extents.back(), 16), 0,
                grain_for(p, p.extents.back())};
  return "";
}

}  // namespace fusec::ir
