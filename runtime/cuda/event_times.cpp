// The steps of a plan, put into the stream one by one -> what passes between events before and
// after each: what it runs, and the time that the host takes to launch it where the GPU is faster.
#include "profiled_run.h"

namespace fusec::cuda {
namespace {

class Events {
 public:
  explicit Events(size_t count) : events_(count, nullptr) {
    for (CuEvent& e : events_) FUSEC_CU(cuEventCreate(&e, 0), "making an event");
  }
  ~Events() {
    for (CuEvent e : events_)
      if (e) driver().cuEventDestroy(e);
  }
  Events(const Events&) = delete;
  void record(size_t i, const Stream& stream) const {
    FUSEC_CU(cuEventRecord(events_[i], stream.get()), "recording an event");
  }
  double seconds(size_t from, size_t to) const {
    float milliseconds = 0;
    FUSEC_CU(cuEventElapsedTime(&milliseconds, events_[from], events_[to]), "reading an event");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  std::vector<CuEvent> events_;
};

}  // namespace

std::vector<StepTime> times_between_events(const Stream& stream, const RunParts& parts) {
  Events events(parts.steps + 1);
  parts.begin();
  events.record(0, stream);
  for (size_t i = 0; i < parts.steps; ++i) {
    parts.step(i);
    events.record(i + 1, stream);
  }
  parts.end();
  stream.wait("running step by step");
  std::vector<StepTime> times;
  for (size_t i = 0; i < parts.steps; ++i)
    times.push_back({static_cast<int>(i), events.seconds(i, i + 1)});
  return times;
}

}  // namespace fusec::cuda
