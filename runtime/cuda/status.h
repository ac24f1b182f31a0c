// What a run found on the GPU, as the errors that the CPU gives.
#pragma once

#include <cstddef>
#include <functional>

#include "call.h"

namespace fusec::cuda {

// Throws the user Error of what a library call reported, if one did. `look` returns the bytes of a
// plan buffer as they are now.
void check_status(const Plan& plan, const Status& status,
                  const std::function<const std::byte*(int buffer)>& look);

}  // namespace fusec::cuda
