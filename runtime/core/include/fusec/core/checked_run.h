// Program::run_checked() for every device: runs the steps one by one, looks at what each one wrote,
// names the first tensor that is not finite, and undoes what was written after all.
#pragma once

#include <cstddef>
#include <functional>

#include "fusec/core/device.h"

namespace fusec {

// What a device lends to a checked run.
struct CheckedSteps {
  // Executes one step and waits for it; step 0 begins a new run. A commit step does nothing once a
  // guard has stopped the run.
  std::function<void(int step)> execute;
  // Whether a guard has stopped the run.
  std::function<bool()> stopped;
  // The bytes of a plan buffer as they are now, in host memory, until the next call or step.
  std::function<const std::byte*(int buffer)> look;
  // Puts all bytes of a plan buffer back.
  std::function<void(int buffer, const std::byte* bytes)> restore;
};

// See Program::run_checked().
CheckedRun run_checked(const Plan& plan, const CheckedSteps& device, bool commit);

}  // namespace fusec
