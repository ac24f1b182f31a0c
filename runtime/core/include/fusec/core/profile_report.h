// Where the time of a step goes: profiled runs of a plan -> a table of kernels, a table of the
// model's parts, what of the step passes in no kernel, and a trace for Perfetto.
//
//   ProfileReport r = profile_report(exe, {.title = "d20", .ceilings = measure_ceilings(o)});
//   std::puts(r.table().c_str());
//
// Rates are minimal ones: each argument of a step counted once, by the time of that step.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/core/loaded_plan.h"

namespace fusec {

// The most that a device was seen to do; 0: not measured. measure_ceilings() (profile.h) fills it.
struct DeviceCeilings {
  double copy_rate = 0;    // bytes a second, read and written
  double matmul_rate = 0;  // flops a second
  std::string precision;   // of the matrix product: "bf16"
};

struct ProfileOptions {
  std::string title;  // for people: "vision-gpt:d20, 8 rows"
  DeviceCeilings ceilings;
  int runs = 7;    // of each kind: whole steps, and steps timed kernel by kernel
  int warm_up = 2;
};

// Steps that do the same: launches of one kernel, calls of one shape, or one part of the model.
struct ProfileRow {
  std::string name;
  WorkGroup group = WorkGroup::other;
  int launches = 0;
  double seconds = 0;
  int64_t bytes = 0, flops = 0;
  double byte_rate() const { return seconds > 0 ? static_cast<double>(bytes) / seconds : 0; }
  double flop_rate() const { return seconds > 0 ? static_cast<double>(flops) / seconds : 0; }
};

class FUSEC_API ProfileReport {
 public:
  std::string title, device;  // device: what serves the kernels
  DeviceCeilings ceilings;
  std::string clock;  // what timed the steps
  std::vector<StepProfile> steps;  // in order, `seconds` the median over the runs
  std::vector<StepProfile> timeline;  // of one run: that whose kernels took the median time
  double step_seconds = 0;  // a whole run() by the host's clock, median of those not taken apart
  double traced_gap = -1;   // ProfileClock::gap, median over the runs

  double kernel_seconds() const;
  // Where the clock saw the steps as they run: what passes between them. Else the whole run less
  // the steps (launches, waiting, the host), which may be below 0 where a device runs them faster
  // in a row than one by one.
  double gap_seconds() const {
    return traced_gap >= 0 ? traced_gap : step_seconds - kernel_seconds();
  }
  // Kernels and gap: what shares are of.
  double whole_seconds() const { return kernel_seconds() + gap_seconds(); }
  double share(double seconds) const {
    const double whole = whole_seconds();
    return whole > 0 ? seconds / whole : 0;
  }

  // Each step is in exactly one row of either; the largest time first.
  std::vector<ProfileRow> kernels() const;
  std::vector<ProfileRow> groups() const;

  // For people: totals, groups, then at most `most` kernels.
  std::string table(size_t most = 40) const;
  // All of it, as one JSON object: times in ms, rates in GB/s and TFLOP/s.
  std::string json() const;
  // Trace events of `timeline` (chrome://tracing, ui.perfetto.dev): a lane for matrix products, one
  // for attention, one for kernels, one for all other calls. Within a lane no two overlap.
  std::string trace() const;
};

// Runs the plan, which must be ready to run, warm_up + 2 * runs times. A training step trains
// meanwhile.
FUSEC_API ProfileReport profile_report(LoadedPlan& plan, const ProfileOptions& options = {});

// Joins profiled runs of one plan (each what LoadedPlan::profile() gave; at least one), their
// clocks' gaps (none: not known) and the times of whole runs into a report without title, device
// and clock.
FUSEC_API ProfileReport join_profiles(const std::vector<std::vector<StepProfile>>& runs,
                                      std::vector<double> step_seconds,
                                      std::vector<double> gaps = {});

}  // namespace fusec
