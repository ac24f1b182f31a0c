// Events in a stream, for the time between two of them. The GPU's context must be current.
#pragma once

#include <vector>

#include "memory.h"

namespace fusec::cuda {

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
  void wait(size_t i, const std::string& doing) const {
    FUSEC_CU(cuEventSynchronize(events_[i]), doing);
  }
  // Both must have been passed: the stream was waited for.
  double seconds(size_t from, size_t to) const {
    float milliseconds = 0;
    FUSEC_CU(cuEventElapsedTime(&milliseconds, events_[from], events_[to]), "reading an event");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  std::vector<CuEvent> events_;
};

}  // namespace fusec::cuda
