// Ctrl-C (SIGINT) and SIGTERM as a question that the training loop asks between steps.
#pragma once

namespace fusec::examples {

// While one lives, the first signal is remembered instead of ending the program; a second of the
// same kind ends it at once. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();  // signals end the program again
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool requested() const;
};

}  // namespace fusec::examples
