// Profiled runs of a plan, in two ways:
//  - As it is: the plan's CUDA graph replayed once while CUPTI watches, each kernel given to the
//    step that it belongs to.
//  - Between events, where that cannot be: step by step, with the time that launches take.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "activity.h"
#include "fusec/core/device.h"
#include "graph.h"

namespace fusec::cuda {

// What one run consists of. `step` puts step i into the stream.
struct RunParts {
  size_t steps = 0;
  std::function<void()> begin, end;
  std::function<void(size_t i)> step;
  // Names of the kernels that a step launches; empty: a library's, told by what it records.
  std::function<std::vector<std::string>(size_t i)> names;
};

// Runs the plan once, waits, and tells its times.
std::vector<StepTime> times_between_events(const Stream& stream, const RunParts& parts);

// What a step puts into the graph.
struct StepNodes {
  std::vector<std::string> names;     // of its kernels, where they are known
  size_t kernels = 0, transfers = 0;  // transfers: copies and fills by the driver
};

// Times of the steps from what ran, in order of its starts, less the `before` transfers that a run
// begins with. Kernels must be exactly those of the steps; transfers that were not reported, or
// belong to no step, are left out. Empty, with the first difference in `why`, if they are not.
std::optional<ProfiledRun> times_of(const std::vector<StepNodes>& steps, size_t before,
                                    const std::vector<Activity>& ran, std::string* why);

class TracedReplay {
 public:
  explicit TracedReplay(const Gpu& gpu) : graph_(gpu) {}
  // Runs the plan once, waits, and tells its times; all kernels must have been launched before.
  // Empty, with the reason in `why`, if they are not to be had; it may have run all the same.
  std::optional<ProfiledRun> run(const Stream& stream, const RunParts& parts, std::string* why);

 private:
  bool record(const Stream& stream, const RunParts& parts);

  Graph graph_;  // recorded under CUPTI's eyes, so apart from the one that run() replays
  std::vector<StepNodes> nodes_;
  size_t before_ = 0;  // transfers
};

}  // namespace fusec::cuda
