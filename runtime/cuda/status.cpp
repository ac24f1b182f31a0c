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

constexpr uint32_t kBadIndex = 1, kBadDocuments = 2, kBadPage = 3, kBadLength = 4, kBadQueries = 5;

using Look = std::function<const std::byte*(int buffer)>;

// Threads race to report, so of several bad values any may have won: both functions name the first
// one, where the tensor can still be asked.

std::string bad_index(const Plan& plan, int step, const Status& status, const Look& look) {
  const LibraryCall& call = plan.steps[step].call;
  int64_t found = status.index;
  std::string place;
  const BufferRef& ref = call.args.at(1);
  if (still_holds(plan, ref.buffer, step)) {
    const std::byte* index = look(ref.buffer) + ref.byte_offset;
    bool wide = call.text("index_type") == "i64";
    for (int64_t i = 0, count = call.integer("count"); i < count && place.empty(); ++i) {
      int64_t row = index_at(index, wide, i);
      if (row < status.bound) continue;
      found = row;
      place = " at position " + std::to_string(i);
    }
  }
  return call.name + ": index " + std::to_string(found) + place +
         " is out of range; the table has " + std::to_string(status.bound) +
         " rows, so expected 0 to " + std::to_string(status.bound - 1) +
         " (or a negative index for none)";
}

std::string bad_documents(const Plan& plan, int step, const Status& status, const Look& look) {
  const LibraryCall& call = plan.steps[step].call;
  int64_t found = status.index;
  std::string place;
  const BufferRef& ref = call.args.back();
  if (still_holds(plan, ref.buffer, step)) {
    const std::byte* starts = look(ref.buffer) + ref.byte_offset;
    int64_t least = 0;
    for (int64_t i = 0, docs = call.integer("docs"); i <= docs && place.empty(); ++i) {
      int64_t next = index_at(starts, false, i);
      if (next < least || next > status.bound || (i == 0 && next != 0)) {
        found = next;
        place = "[" + std::to_string(i) + "]";
      }
      least = next;
    }
  }
  return "attention: cu_seqlens" + (place.empty() ? " holds " : place + " is ") +
         std::to_string(found) +
         "; expected values that start at 0, never fall and stay within the " +
         std::to_string(status.bound) + " tokens";
}

// The first number of an argument that breaks its rule, as "name[i]", where it can be asked.
std::string bad_pages(const Plan& plan, int step, const Status& status, const Look& look) {
  const LibraryCall& call = plan.steps[step].call;
  int64_t b = call.integer("b"), found = status.index;
  const bool length = status.error == kBadLength;
  std::string place = status.error == kBadPage ? "an entry of page_table that is read"
                      : length                 ? "a length"
                                               : "an entry of cu_q";
  const BufferRef& ref = call.args.at(length ? 4 : paged_arguments(call).cu_q);
  if (status.error != kBadPage && still_holds(plan, ref.buffer, step)) {
    const std::byte* numbers = look(ref.buffer) + ref.byte_offset;
    int64_t least = 0;
    for (int64_t i = 0; i < b + !length; ++i) {
      int64_t next = index_at(numbers, false, i);
      if (next < least || next > status.bound || (!length && i == 0 && next != 0)) {
        found = next;
        place = (length ? "lengths[" : "cu_q[") + std::to_string(i) + "]";
        break;
      }
      if (!length) least = next;
    }
  }
  std::string bound = std::to_string(status.bound - (status.error == kBadPage));
  return "paged_attention: " + place + " is " + std::to_string(found) + "; expected " +
         (status.error == kBadPage ? "0 to " + bound + ", a page"
          : length                 ? "0 to " + bound
                   : "values that start at 0, never fall and stay within the " + bound + " tokens");
}

}  // namespace

void check_status(const Plan& plan, const Status& status, const Look& look) {
  if (status.error == 0) return;
  int step = static_cast<int>(status.step);
  if (step < 0 || step >= static_cast<int>(plan.steps.size()) || plan.steps[step].kernel >= 0 ||
      status.error > kBadQueries)
    fail_internal("the GPU reports error " + std::to_string(status.error) + " in step " +
                  std::to_string(status.step) + " of " + plan.graph + ", which has none such");
  Error e(ErrorKind::user, status.error == kBadIndex       ? bad_index(plan, step, status, look)
                           : status.error == kBadDocuments ? bad_documents(plan, step, status, look)
                                                           : bad_pages(plan, step, status, look));
  e.add_note("in " + step_name(plan, step));
  throw e;
}

}  // namespace fusec::cuda
