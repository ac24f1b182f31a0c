#include "staging.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <thread>

#include "fusec/base/error.h"
#include "fusec/base/timing.h"
#include "fusec/core/pieces.h"

namespace fusec::cuda {
namespace {

constexpr int kMostThreads = 16;   // more cores make no bus faster
constexpr unsigned kNoTiming = 2;  // CU_EVENT_DISABLE_TIMING

struct Slot {
  std::byte* memory = nullptr;
  CuEvent travelled = nullptr;
  bool travels = false;  // until then the memory is the copy's
};

// Two slots a thread.
struct Ring {
  std::mutex mutex;  // one fill at a time
  std::vector<Slot> slots;
};

// Kept for good, with its pinned memory: at the end of a process the driver may be gone before us.
Ring& ring_of(const Gpu& gpu) {
  static std::mutex mutex;
  static std::map<int, Ring>& rings = *new std::map<int, Ring>;
  std::lock_guard lock(mutex);
  return rings[gpu.info.ordinal];
}

int threads_here() {
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMostThreads);
}

// Under the ring's lock.
void prepare(Ring& ring) {
  if (!ring.slots.empty()) return;
  TimeSpan span("pinning memory for copies");
  const size_t count = 2 * static_cast<size_t>(threads_here());
  std::vector<Slot> slots(count);
  for (Slot& slot : slots) FUSEC_CU(cuEventCreate(&slot.travelled, kNoTiming), "making an event");
  void* memory = nullptr;
  const size_t bytes = count * static_cast<size_t>(kPieceBytes);
  // Without pinned memory the driver copies through its own, which is slower and right.
  if (driver().cuMemHostAlloc(&memory, bytes, 0) != 0) memory = std::aligned_alloc(4096, bytes);
  if (!memory)
    fail_device("could not allocate " + std::to_string(bytes >> 20) +
                " MB of host memory for copies to the GPU");
  for (size_t i = 0; i < count; ++i)
    slots[i].memory = static_cast<std::byte*>(memory) + i * static_cast<size_t>(kPieceBytes);
  ring.slots = std::move(slots);
}

}  // namespace

void prepare_staging(const Gpu& gpu) {
  Ring& ring = ring_of(gpu);
  std::lock_guard lock(ring.mutex);
  prepare(ring);
}

void fill_device(const Gpu& gpu, const Stream& stream, const std::vector<DeviceFilling>& fillings,
                 const std::string& doing) {
  std::vector<int64_t> sizes;
  for (const DeviceFilling& f : fillings) sizes.push_back(f.bytes);
  std::vector<Piece> pieces = pieces_of(sizes);
  if (pieces.empty()) return;
  Ring& ring = ring_of(gpu);
  std::lock_guard lock(ring.mutex);
  prepare(ring);
  std::vector<int> turn(ring.slots.size() / 2, 0);
  for_each_piece(pieces, static_cast<int>(turn.size()), [&](int thread, const Piece& piece) {
    Current current(gpu);
    Slot& slot = ring.slots[2 * static_cast<size_t>(thread) + (turn[thread]++ & 1)];
    if (slot.travels) {
      FUSEC_CU(cuEventSynchronize(slot.travelled), doing);
      slot.travels = false;
    }
    const DeviceFilling& filling = fillings[piece.item];
    (*filling.make)(piece.begin, piece.bytes, slot.memory);
    copy_to_device(filling.to + static_cast<CuAddress>(piece.begin), slot.memory, piece.bytes,
                   stream, doing);
    slot.travels = true;
    FUSEC_CU(cuEventRecord(slot.travelled, stream.get()), doing);
  });
  stream.wait(doing);
}

}  // namespace fusec::cuda
