// Dimensions that no address can tell apart become one. See shape.h.
#include "shape.h"

namespace fusec::codegen_cuda {
namespace {

void each_access(KernelProgram& k, const auto& visit) {
  for (KernelOp& op : k.ops)
    if (op.access.strides.size() == k.extents.size()) visit(op.access.strides);
}

// Dimension d leaves; what it contributed is in its neighbour, or 0.
void erase(KernelProgram& k, size_t d) {
  each_access(k, [&](std::vector<int64_t>& s) { s.erase(s.begin() + static_cast<int64_t>(d)); });
  k.extents.erase(k.extents.begin() + static_cast<int64_t>(d));
  if (static_cast<int>(d) < k.row_dims) {
    if (static_cast<int>(d) >= k.row_dims - k.walk_dims) --k.walk_dims;
    --k.row_dims;
  }
}

bool walks_as_one(KernelProgram& k, size_t d) {
  bool one = true;
  each_access(k, [&](const std::vector<int64_t>& s) {
    one = one && s[d] == s[d + 1] * k.extents[d + 1];
  });
  return one;
}

}  // namespace

KernelProgram with_fewer_dims(const KernelProgram& kernel) {
  KernelProgram k = kernel;
  const bool columns = k.schedule.kind == ScheduleKind::columns;
  if (!columns && k.schedule.kind != ScheduleKind::rows) return k;
  // 0: rows, panels or outer, 1: inner or reduced, 2: the last dimension of columns, 3: walked.
  auto group = [&](size_t d) {
    if (static_cast<int>(d) < k.row_dims && static_cast<int>(d) >= k.row_dims - k.walk_dims)
      return 3;
    return static_cast<int>(d) < k.row_dims ? 0 : columns && d + 1 == k.extents.size() ? 2 : 1;
  };
  auto only_one = [&](size_t d) {
    bool before = d > 0 && group(d - 1) == group(d);
    bool after = d + 1 < k.extents.size() && group(d + 1) == group(d);
    return !before && !after;
  };
  for (size_t d = k.extents.size(); d-- > 0;)
    if (k.extents[d] == 1 && (group(d) == 0 || !only_one(d))) erase(k, d);
  for (size_t d = k.extents.size(); d-- > 0;) {
    if (d + 1 >= k.extents.size() || group(d) != group(d + 1) || !walks_as_one(k, d)) continue;
    k.extents[d + 1] *= k.extents[d];
    erase(k, d);
  }
  return k;
}

}  // namespace fusec::codegen_cuda
