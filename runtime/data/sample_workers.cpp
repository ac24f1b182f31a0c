#include "sample_workers.h"

#include <utility>

namespace fusec::data {

SampleWorkers::SampleWorkers(int threads, std::function<Loaded(const JsonlRecord&)> load)
    : load_(std::move(load)) {
  try {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
  } catch (...) {  // the system has no more threads: those that are there must not outlive us
    {
      std::lock_guard lock(mutex_);
      ended_ = true;
    }
    submitted_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    throw;
  }
}

SampleWorkers::~SampleWorkers() {
  {
    std::lock_guard lock(mutex_);
    jobs_.clear();
    ended_ = true;
  }
  submitted_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SampleWorkers::submit(std::shared_ptr<SampleJob> job) {
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  submitted_.notify_one();
}

bool SampleWorkers::wait(const SampleJob& job) {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return job.done || cancelled_; });
  return job.done && !cancelled_;
}

void SampleWorkers::cancel() {
  {
    std::lock_guard lock(mutex_);
    jobs_.clear();
    cancelled_ = true;
  }
  done_.notify_all();
}

void SampleWorkers::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [this] { return ended_ || !jobs_.empty(); });
    if (ended_) return;
    const std::shared_ptr<SampleJob> job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    try {
      job->loaded = load_(job->record);
    } catch (...) {
      job->error = std::current_exception();
    }
    lock.lock();
    job->done = true;
    done_.notify_all();
  }
}

}  // namespace fusec::data
