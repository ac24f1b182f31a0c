// What build_kernel() says of a kernel, asked once for each distinct structure; and whether column
// sums beside rows are worth a kernel on the target. See kernels.h.
#include <algorithm>

#include "kernels.h"

namespace fusec::passes {

using namespace ir;

namespace {

void describe_panels(const KernelProgram& p, KernelAnswers::Answer& a) {
  const int first = p.row_dims - p.walk_dims, rank = static_cast<int>(p.extents.size());
  a.panels = a.rows = a.columns = 1;
  for (int d = 0; d < rank; ++d)
    (d < first ? a.panels : d < p.row_dims ? a.rows : a.columns) *= p.extents[d];
  for (const ::fusec::KernelOp& op : p.ops) {
    if (op.kind == ::fusec::KernelOp::Kind::reduce && op.over_rows) ++a.sums;
    if (op.kind != ::fusec::KernelOp::Kind::load) continue;
    const std::vector<int64_t>& strides = op.access.strides;
    const int64_t last = strides.back();
    a.across_rows = a.across_rows || (p.extents.back() > 1 && last != 0 && last != 1);
    if (last != 0) a.row_bytes += a.columns * size_of(op.type);
  }
}

}  // namespace

const KernelAnswers::Answer& KernelAnswers::operator()(KernelOp kernel) {
  auto [it, fresh] = answers_.try_emplace(structure_of(kernel));
  if (!fresh) return it->second;
  KernelBuild built = build_kernel(region_of(kernel), "");
  Answer& a = it->second;
  a.failure = built.failure;
  a.duplicated = built.duplicated;
  if (built.program) {
    a.kind = built.program->schedule.kind;
    a.elements = numel(built.program->extents);
    if (built.program->walk_dims > 0) describe_panels(*built.program, a);
  }
  return a;
}

std::string panel_refusal(const KernelAnswers::Answer& a, const TargetInfo& target) {
  constexpr int64_t kLeastColumns = 64, kMostSums = 12288, kMostRowBytes = 48 << 10;
  constexpr int64_t kMostColumnBytes = 16;
  constexpr int64_t kLeastElements = 1 << 14;  // of a panel
  auto text = [](int64_t n) { return std::to_string(n); };
  if (target.cores == 0) return "column sums beside rows: this device computes them apart";
  if (2 * a.panels < target.cores)
    return "column sums beside rows: only " + text(a.panels) + " blocks would walk the rows of " +
           text(target.cores) + " multiprocessors";
  if (a.columns < kLeastColumns || a.rows * a.columns < kLeastElements)
    return "column sums beside rows: a block would walk only " + text(a.rows) + " rows of " +
           text(a.columns) + " columns";
  if (a.columns * a.sums > kMostSums)
    return "column sums beside rows: " + text(a.sums) + " sums of " + text(a.columns) +
           " columns do not fit in a block's registers";
  if (a.row_bytes > std::min(kMostRowBytes, kMostColumnBytes * a.columns))
    return "column sums beside rows: a row of " + text(a.row_bytes) +
           " bytes does not fit in a block's registers";
  if (a.across_rows) return "column sums beside rows: a tensor is read across its rows";
  return "";
}

}  // namespace fusec::passes
