// CUPTI fills buffers of ours with records and gives them back on threads of its own, in any order.
// They hold records of kinds that nobody asked for, too.
#include "activity.h"

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "vendor/cupti.h"

namespace fusec::cuda {
namespace {

constexpr size_t kBufferBytes = 1 << 20, kBufferAlign = 64;
constexpr int kKinds[] = {kCuptiKernel, kCuptiMemcpy, kCuptiMemset};

struct Collected {
  std::mutex mutex;
  std::vector<Activity> activities;
  size_t dropped = 0;  // records
  bool broken = false;
};

// Never destroyed: CUPTI's threads may outlive what main() leaves behind.
Collected& collected() {
  static Collected& c = *new Collected;
  return c;
}

std::mutex& one_at_a_time() {
  static std::mutex& m = *new std::mutex;
  return m;
}

void request(uint8_t** buffer, size_t* bytes, size_t* most) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(kBufferAlign, kBufferBytes));
  *bytes = *buffer ? kBufferBytes : 0;
  *most = 0;
}

Activity read(const CuptiRecord* record) {
  if (record->kind == kCuptiKernel) {
    const auto* k = reinterpret_cast<const CuptiKernelRecord*>(record);
    return {true, k->name ? k->name : "", k->start, k->end};
  }
  const auto* m = reinterpret_cast<const CuptiMemoryRecord*>(record);
  return {false, "", m->start, m->end};
}

void complete(CuContext context, uint32_t stream, uint8_t* buffer, size_t, size_t valid) {
  Collected& c = collected();
  std::lock_guard lock(c.mutex);
  try {
    CuptiRecord* record = nullptr;
    while (valid > 0 && cupti().cuptiActivityGetNextRecord(buffer, valid, &record) == 0)
      if (std::find(std::begin(kKinds), std::end(kKinds), record->kind) != std::end(kKinds))
        c.activities.push_back(read(record));
  } catch (const std::exception&) {  // no memory
    c.broken = true;
  }
  size_t dropped = 0;
  if (cupti().cuptiActivityGetNumDroppedRecords(context, stream, &dropped) == 0)
    c.dropped += dropped;
  std::free(buffer);
}

// Once for the process.
int register_callbacks() {
  static const int result = cupti().cuptiActivityRegisterCallbacks(request, complete);
  return result;
}

}  // namespace

ActivityTrace::ActivityTrace() : only_(one_at_a_time()) {
  const Cupti& c = cupti();
  problem_ = c.problem;
  if (!problem_.empty()) return;
  if (const int result = register_callbacks(); result != 0) {
    problem_ = c.text_of(result, "cuptiActivityRegisterCallbacks");
    return;
  }
  Collected& all = collected();
  {
    std::lock_guard lock(all.mutex);
    all.activities.clear();
    all.dropped = 0, all.broken = false;
  }
  for (const int kind : kKinds) {
    if (const int result = c.cuptiActivityEnable(kind); result != 0) {
      problem_ = c.text_of(result, "cuptiActivityEnable");
      stop();
      return;
    }
    ++enabled_;
  }
}

ActivityTrace::~ActivityTrace() { stop(); }

void ActivityTrace::stop() {
  for (; enabled_ > 0; --enabled_) cupti().cuptiActivityDisable(kKinds[enabled_ - 1]);
}

std::vector<Activity> ActivityTrace::finish() {
  const Cupti& c = cupti();
  const int result = c.cuptiActivityFlushAll(kCuptiFlushAll);
  stop();
  if (result != 0) problem_ = c.text_of(result, "cuptiActivityFlushAll");
  Collected& all = collected();
  std::lock_guard lock(all.mutex);
  if (all.dropped > 0) problem_ = "CUPTI dropped " + std::to_string(all.dropped) + " records";
  if (all.broken) problem_ = "no memory for CUPTI's records";
  std::vector<Activity> out = std::move(all.activities);
  all.activities.clear();
  if (!problem_.empty()) return {};
  std::stable_sort(out.begin(), out.end(),
                   [](const Activity& a, const Activity& b) { return a.start < b.start; });
  return out;
}

}  // namespace fusec::cuda
