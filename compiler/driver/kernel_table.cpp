// Plan -> rows of the kernel table.
#include <algorithm>
#include <map>

#include "fusec/inspect.h"

namespace fusec {

std::vector<KernelRow> kernel_table(const Plan& plan) {
  std::map<std::string, KernelRow> rows;
  for (const PlanStep& step : plan.steps) {
    std::string name =
        step.kernel >= 0 ? plan.kernels[step.kernel].name : "[" + step.call.name + "]";
    KernelRow& row = rows[name];
    row.name = name;
    row.launches++;
    row.segments += static_cast<int>(step.kernel >= 0 ? step.segments.size() : 1);
    row.bytes += step.bytes;
    row.unfused_bytes += step.unfused_bytes;
    if (step.kernel >= 0 && row.launches == 1) {
      const std::vector<std::string>& origins = plan.kernels[step.kernel].origins;
      row.fused_ops = static_cast<int>(origins.size());
      for (size_t i = 0; i < origins.size(); ++i) {
        std::string op = origins[i].substr(0, origins[i].find(' '));
        row.ops += (i ? " " : "") + op.substr(op.find('.') + 1);
      }
    }
  }
  std::vector<KernelRow> out;
  for (auto& [name, row] : rows) out.push_back(std::move(row));
  std::stable_sort(out.begin(), out.end(),
                   [](const KernelRow& a, const KernelRow& b) { return a.bytes > b.bytes; });
  return out;
}

}  // namespace fusec
