// Whether a plan fits its device, said before the device is touched.
#pragma once

#include <functional>
#include <string>

#include "backend.h"

namespace fusec::driver {

// Peak, limit, largest tensors and what would help. `smallest`: plans the step with all recompute
// and returns its peak.
std::string memory_paragraph(const MemoryReport& memory, const std::string& limit,
                             const std::function<int64_t()>& smallest);

// A device Error with that paragraph if `needed` (the peak, less what is already shared) exceeds
// the limit of the options, the environment or the device.
void check_fits(const MemoryReport& memory, int64_t shared, const CompileOptions& options,
                const Backend& backend, const std::function<int64_t()>& smallest);

}  // namespace fusec::driver
