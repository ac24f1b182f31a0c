// Where the time from the start of a process to the end of its first step goes. With FUSEC_TIME=1
// every span prints one line to stderr when it ends: the time since the process was started, the
// span's own length, what it did (indented under the span of its thread that holds it):
//
//   fusec time   0.412 s  +0.0381    plan from the cache (1.2 MB)
//
// Without it a span costs one look at the environment.
#pragma once

#include <string>
#include <string_view>

#include "fusec/base/export.h"

namespace fusec {

// Seconds since this process was started, to a hundredth; 0 where the system does not tell.
FUSEC_API double process_age();

// Whether FUSEC_TIME is 1.
FUSEC_API bool timing();

class FUSEC_API TimeSpan {
 public:
  explicit TimeSpan(std::string_view what);
  ~TimeSpan();
  TimeSpan(const TimeSpan&) = delete;
  TimeSpan& operator=(const TimeSpan&) = delete;
  bool on() const { return start_ >= 0; }
  // Told behind the name, in brackets.
  void note(std::string text) { note_ = std::move(text); }
  // The line now instead of at the end of the scope.
  void end();

 private:
  std::string what_, note_;
  double start_ = -1;
};

// A line for what was timed elsewhere: the sum of many small pieces, or a stage of a compile.
FUSEC_API void tell_time(std::string_view what, double seconds);

}  // namespace fusec
