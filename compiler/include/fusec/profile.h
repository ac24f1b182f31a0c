// What a device can do at most, measured through small plans that are compiled for it: the
// yardstick of a profile (profile_report.h).
#pragma once

#include "fusec/compile.h"
#include "fusec/core/profile_report.h"

namespace fusec {

struct CeilingSizes {
  int64_t copy_bytes = 0;   // read, and as many written; 0: 128 MB, or 1 GB where that is too quick
  int64_t matmul_side = 0;  // of a square product; 0: 1024, or 8192 where that is too quick
  int runs = 9;
};

// Compiles and times a kernel that reads one tensor and writes one, and a square matrix product of
// options.precision on random numbers, on options.device; the fastest of `runs`. What does not fit
// the device's memory is left 0. Of the options, device, precision and threads count.
FUSEC_API DeviceCeilings measure_ceilings(const CompileOptions& options, CeilingSizes sizes = {});

}  // namespace fusec
