// What the GPU did while somebody watched, as CUPTI reports it.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace fusec::cuda {

// A kernel that ran, or a copy or fill by the driver.
struct Activity {
  bool kernel = false;
  std::string name;             // of a kernel, as in its code
  uint64_t start = 0, end = 0;  // ns
};

// Collects while it lives; one at a time, a second one waits for the first.
class ActivityTrace {
 public:
  ActivityTrace();
  ~ActivityTrace();
  ActivityTrace(const ActivityTrace&) = delete;
  // Why nothing is collected; empty if it is.
  const std::string& problem() const { return problem_; }
  // All of it, in order of their starts; the caller has waited for what it launched. If some of it
  // is lost, says so in problem(). Nothing is collected from then on.
  std::vector<Activity> finish();

 private:
  void stop();

  std::unique_lock<std::mutex> only_;
  int enabled_ = 0;  // kinds
  std::string problem_;
};

}  // namespace fusec::cuda
