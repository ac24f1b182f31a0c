// A memory report against a limit -> nothing, or the Error that says what would help.
#include "memory_check.h"

#include "fusec/base/bytes.h"
#include "fusec/base/options.h"

namespace fusec::driver {

std::string memory_paragraph(const MemoryReport& m, const std::string& limit,
                             const std::function<int64_t()>& smallest) {
  std::string out = "the step needs " + size_text(m.peak()) + ", " + limit + "\n  " +
                    size_text(m.persistent) + " parameters, states and constants, " +
                    size_text(m.arena) + " arena (" + size_text(m.without_reuse) +
                    " without reuse), " + size_text(m.workspace) + " library scratch";
  out += "\n  the largest tensors at the peak (step " + std::to_string(m.peak_step) + ", " +
         m.peak_name + "):";
  for (const MemoryTensor& t : m.largest) out += "\n    " + t.str();
  out += "\n  what would help: a smaller batch or model";
  int64_t least = smallest();
  if (least < m.peak())
    out += "; CompileOptions::memory_budget = " + std::to_string(least) +
           " (the smallest peak that recompute reaches, " + size_text(least) + ")";
  else
    out += "; recompute (memory_budget) would not lower the peak";
  return out;
}

void check_fits(const MemoryReport& memory, int64_t shared, const CompileOptions& options,
                const Backend& backend, const std::function<int64_t()>& smallest) {
  DeviceMemory limit{options.memory_limit, "CompileOptions::memory_limit"};
  if (limit.bytes <= 0)
    if (std::string text = env("FUSEC_MEMORY_LIMIT"); !text.empty())
      limit = {parse_bytes(text, "FUSEC_MEMORY_LIMIT"), "FUSEC_MEMORY_LIMIT"};
  if (limit.bytes <= 0) limit = backend.memory();
  if (memory.peak() - shared <= limit.bytes) return;
  std::string sharing = shared > 0 ? " (" + size_text(shared) + " of it shared already)" : "";
  fail_device(
      "not enough memory, and nothing was allocated: " +
      memory_paragraph(memory,
                       "the limit is " + size_text(limit.bytes) + " (" + limit.what + ")" + sharing,
                       smallest));
}

}  // namespace fusec::driver
