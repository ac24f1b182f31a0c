#include "status.h"

#include <string>

#include "fusec/base/error.h"
#include "steps.h"

namespace fusec::cuda {
namespace {

// A buffer holds at the end of the run what this step read from it.
bool still_holds(const Plan& plan, int buffer, int step) {
  const PlanBuffer& b = plan.buffers[buffer];
  bool kept = is_persistent(b.cls) || b.cls == BufferClass::input ||
              b.last + 1 >= static_cast<int>(plan.steps.size());
  bool overwritten = false;
  for (size_t i = static_cast<size_t>(step); i < plan.steps.size(); ++i)
    each_argument(plan, plan.steps[i], [&](const BufferRef& r, bool, bool written) {
      overwritten = overwritten || (written && r.buffer == buffer);
    });
  return kept && !overwritten;
}

int64_t index_at(const std::byte* index, bool wide, int64_t i) {
  return wide ? reinterpret_cast<const int64_t*>(index)[i]
              : reinterpret_cast<const int32_t*>(index)[i];
}

}  // namespace

void check_status(const Plan& plan, const Status& status,
                  const std::function<const std::byte*(int buffer)>& look) {
  if (status.error == 0) return;
  int step = static_cast<int>(status.step);
  if (step < 0 || step >= static_cast<int>(plan.steps.size()) || plan.steps[step].kernel >= 0)
    fail_internal("the GPU reports an index out of range in step " + std::to_string(status.step) +
                  " of " + plan.graph + ", which is no library call");
  const LibraryCall& call = plan.steps[step].call;
  // Threads race to report, so of several bad indices any may have won: name the first, where the
  // tensor of indices can still be asked.
  int64_t found = status.index;
  std::string place;
  if (call.args.size() > 1 && still_holds(plan, call.args[1].buffer, step)) {
    const BufferRef& ref = call.args[1];
    const std::byte* index = look(ref.buffer) + ref.byte_offset;
    bool wide = call.text("index_type") == "i64";
    for (int64_t i = 0, count = call.integer("count"); i < count; ++i) {
      int64_t row = index_at(index, wide, i);
      if (row < status.bound) continue;
      found = row;
      place = " at position " + std::to_string(i);
      break;
    }
  }
  Error e(ErrorKind::user,
          call.name + ": index " + std::to_string(found) + place +
              " is out of range; the table has " + std::to_string(status.bound) +
              " rows, so expected 0 to " + std::to_string(status.bound - 1) +
              " (or a negative index for none)");
  e.add_note("in " + step_name(plan, step));
  throw e;
}

}  // namespace fusec::cuda
