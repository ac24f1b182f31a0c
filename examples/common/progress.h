// A progress bar on a terminal, plain lines elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace fusec::examples {

struct Progress {
  int64_t step = 0;   // finished steps
  int64_t steps = 0;  // in all; 0: bounded by time only
  double share = 0;   // of the run, 0..1
  double loss = 0, lr = 0;
  double tokens_per_second = 0;
  double seconds = 0;  // since the start
};

class ProgressBar {
 public:
  ProgressBar();
  // Redraws the bar (at most ten times a second), or prints a line about every twentieth of the
  // run or ten seconds.
  void update(const Progress& progress);
  // Prints a full line; the bar continues below it.
  void say(const std::string& line);
  // Leaves the last state of the bar standing.
  void finish(const Progress& progress);

 private:
  void draw(const Progress& progress);

  bool terminal_;
  bool bar_shown_ = false;
  double last_share_ = -1;
  std::chrono::steady_clock::time_point last_;
};

// "2:05", or "1:02:05" from an hour on.
std::string clock_text(double seconds);

}  // namespace fusec::examples
