// Plan -> its peak and the tensors that make it.
#include "fusec/plan/memory_report.h"

#include <algorithm>

#include "fusec/base/bytes.h"

namespace fusec {

std::string MemoryTensor::str() const {
  std::string out = size_text(bytes) + "  " + type.str() + "  ";
  if (!name.empty()) out += std::string(name_of(cls)) + " \"" + name + "\"";
  if (!origin.empty()) out += (name.empty() ? "" : ", ") + origin;
  return out;
}

MemoryReport memory_report(const Plan& plan, int64_t workspace, size_t count) {
  MemoryReport r;
  r.persistent = plan.persistent_bytes();
  r.arena = plan.arena_bytes;
  r.workspace = workspace;
  r.without_reuse = plan.sum_of_temporaries;

  std::vector<int64_t> change(plan.steps.size() + 1, 0);
  int end = static_cast<int>(plan.steps.size());
  for (const PlanBuffer& b : plan.buffers)
    if (!is_persistent(b.cls)) {
      change[std::clamp(b.first, 0, end)] += reserved_bytes(b.type);
      if (b.last + 1 < end) change[b.last + 1] -= reserved_bytes(b.type);
    }
  int64_t live = 0, most = -1;
  for (int s = 0; s < end; ++s)
    if ((live += change[s]) > most) most = live, r.peak_step = s;
  if (r.peak_step < end) {
    const PlanStep& step = plan.steps[r.peak_step];
    r.peak_name = step.kernel >= 0 ? plan.kernels[step.kernel].name : step.call.name;
  }

  for (const PlanBuffer& b : plan.buffers) {
    bool there = is_persistent(b.cls) || (b.first <= r.peak_step && r.peak_step <= b.last);
    if (!there) continue;
    bool named = b.cls != BufferClass::temporary && b.cls != BufferClass::constant;
    r.largest.push_back({named ? b.name : "", b.cls, b.type, b.origin, reserved_bytes(b.type)});
  }
  std::stable_sort(r.largest.begin(), r.largest.end(),
                   [](const MemoryTensor& a, const MemoryTensor& b) { return a.bytes > b.bytes; });
  if (r.largest.size() > count) r.largest.resize(count);
  return r;
}

}  // namespace fusec
