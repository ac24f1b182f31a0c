// Batches in memory that is used again and again: one thread fills and publishes them, another
// takes them in order and gives them back in any. Neither outruns the other: the first waits for a
// free batch, the second for one that is ready.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "fusec/data/pipeline.h"

namespace fusec::data {

// One batch and its memory.
class BatchSlot {
 public:
  BatchSlot(const BatchShape& shape, int32_t pad_token,
            const std::function<std::shared_ptr<void>(size_t)>& allocate);

  // Padding alone.
  void clear();
  // The packs one behind the other, `capacity` tokens each. Payloads are LoadedSamples whose images
  // take `image_tokens` each.
  void fill(const std::vector<Pack>& packs, int64_t capacity, int64_t image_tokens,
            const io::PixelTable& pixels);

  PackedBatch batch;

 private:
  void add(const PackPiece& piece, int64_t at, int64_t image_tokens, const io::PixelTable& pixels);

  BatchShape shape_;
  int32_t pad_token_;
  std::shared_ptr<void> memory_;
  int32_t *tokens_, *positions_, *targets_, *cu_seqlens_, *slots_;
  float* images_;
  int64_t stale_images_ = 0;  // rows that are not zero
};

// A batch, or the end of an epoch (no slot).
struct ReadyBatch {
  BatchSlot* slot = nullptr;
  std::shared_ptr<const PipelineState> state;  // after it
};

class BatchRing {
 public:
  explicit BatchRing(std::vector<std::unique_ptr<BatchSlot>> slots);

  // The filling thread: a free slot, or null once stop() was called.
  BatchSlot* acquire();
  void put_back(BatchSlot* slot);  // unused
  // False once stop() was called.
  bool publish(ReadyBatch ready);
  void fail(std::exception_ptr error);  // thrown by take() behind what was published

  // The taking thread. User Error if every slot is out.
  ReadyBatch take(double& waited);
  void release(BatchSlot* slot);

  void stop();
  // Everything that was not taken is free again.
  void reset();

 private:
  std::mutex mutex_;
  std::condition_variable freed_, published_;
  const std::vector<std::unique_ptr<BatchSlot>> slots_;
  std::vector<BatchSlot*> free_;
  std::deque<ReadyBatch> ready_;
  size_t taken_ = 0;
  std::exception_ptr error_;
  bool stopped_ = false;
};

}  // namespace fusec::data
