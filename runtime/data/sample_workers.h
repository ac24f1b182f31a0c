// Threads that load samples, in any order; whoever hands out jobs takes them back in its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "load_sample.h"

namespace fusec::data {

struct SampleJob {
  JsonlRecord record;
  JsonlState after;  // of the stream, once the record was read
  // Results, of which one is there once the job is done.
  Loaded loaded;
  std::exception_ptr error;
  bool done = false;  // under the workers' lock
};

class SampleWorkers {
 public:
  // `load` is called by all threads.
  SampleWorkers(int threads, std::function<Loaded(const JsonlRecord&)> load);
  // Drops jobs that wait; waits for those in work.
  ~SampleWorkers();
  SampleWorkers(const SampleWorkers&) = delete;
  SampleWorkers& operator=(const SampleWorkers&) = delete;

  void submit(std::shared_ptr<SampleJob> job);
  // Until the job is done; false if cancel() came first.
  bool wait(const SampleJob& job);
  // Drops the jobs that wait, and ends all wait()s for good.
  void cancel();

 private:
  void work();

  std::function<Loaded(const JsonlRecord&)> load_;
  std::mutex mutex_;
  std::condition_variable submitted_, done_;
  std::deque<std::shared_ptr<SampleJob>> jobs_;
  bool cancelled_ = false, ended_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace fusec::data
