#include "batch_ring.h"

#include <chrono>
#include <utility>

#include "fusec/base/error.h"

namespace fusec::data {

BatchRing::BatchRing(std::vector<std::unique_ptr<BatchSlot>> slots) : slots_(std::move(slots)) {
  for (const auto& slot : slots_) free_.push_back(slot.get());
}

BatchSlot* BatchRing::acquire() {
  std::unique_lock lock(mutex_);
  freed_.wait(lock, [this] { return stopped_ || !free_.empty(); });
  if (stopped_) return nullptr;
  BatchSlot* slot = free_.back();
  free_.pop_back();
  return slot;
}

void BatchRing::put_back(BatchSlot* slot) {
  std::lock_guard lock(mutex_);
  free_.push_back(slot);
}

bool BatchRing::publish(ReadyBatch ready) {
  {
    std::unique_lock lock(mutex_);
    // Ends of epochs hold no slot; they must not pile up.
    freed_.wait(lock, [this] { return stopped_ || ready_.size() < slots_.size(); });
    if (stopped_) {
      if (ready.slot) free_.push_back(ready.slot);
      return false;
    }
    ready_.push_back(std::move(ready));
  }
  published_.notify_one();
  return true;
}

void BatchRing::fail(std::exception_ptr error) {
  {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
  }
  published_.notify_one();
}

ReadyBatch BatchRing::take(double& waited) {
  ReadyBatch ready;
  {
    std::unique_lock lock(mutex_);
    // Also where the end of an epoch, which needs no batch, might have come: that is a matter of
    // time.
    if (taken_ == slots_.size()) {
      fail_user("pipeline: all " + std::to_string(taken_) +
                " batches are leased, so that no other can be filled; end a lease first, or raise "
                "`prefetch`");
    }
    if (ready_.empty() && !error_) {
      const auto start = std::chrono::steady_clock::now();
      published_.wait(lock, [this] { return !ready_.empty() || error_; });
      waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    if (ready_.empty()) std::rethrow_exception(error_);
    ready = std::move(ready_.front());
    ready_.pop_front();
    if (ready.slot) ++taken_;
  }
  freed_.notify_one();
  return ready;
}

void BatchRing::release(BatchSlot* slot) {
  {
    std::lock_guard lock(mutex_);
    free_.push_back(slot);
    --taken_;
  }
  freed_.notify_one();
}

void BatchRing::stop() {
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  freed_.notify_all();
}

void BatchRing::reset() {
  std::lock_guard lock(mutex_);
  for (const ReadyBatch& ready : ready_)
    if (ready.slot) free_.push_back(ready.slot);
  ready_.clear();
  error_ = nullptr;
  stopped_ = false;
}

}  // namespace fusec::data
