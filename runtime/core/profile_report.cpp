#include "fusec/core/profile_report.h"

#include <algorithm>
#include <chrono>
#include <map>

namespace fusec {
namespace {

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? 0 : v[v.size() / 2];
}

double total(const std::vector<StepProfile>& steps) {
  double sum = 0;
  for (const StepProfile& s : steps) sum += s.seconds;
  return sum;
}

template <class Key>
std::vector<ProfileRow> rows_by(const std::vector<StepProfile>& steps, Key key) {
  std::map<std::string, ProfileRow> rows;
  for (const StepProfile& s : steps) {
    ProfileRow& row = rows[key(s)];
    row.group = s.group;
    ++row.launches;
    row.seconds += s.seconds;
    row.bytes += s.bytes;
    row.flops += s.flops;
  }
  std::vector<ProfileRow> out;
  for (auto& [name, row] : rows) {
    row.name = name;
    out.push_back(std::move(row));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const ProfileRow& a, const ProfileRow& b) { return a.seconds > b.seconds; });
  return out;
}

}  // namespace

double ProfileReport::kernel_seconds() const { return total(steps); }

// One kernel may serve two parts of a model (it is shared by structure): it has a row in each.
std::vector<ProfileRow> ProfileReport::kernels() const {
  std::vector<ProfileRow> rows = rows_by(steps, [](const StepProfile& s) {
    std::string name = s.shape.empty() ? s.name : s.name + " " + s.shape;
    return name + '\n' + std::string(name_of(s.group));
  });
  for (ProfileRow& row : rows) row.name.resize(row.name.find('\n'));
  return rows;
}

std::vector<ProfileRow> ProfileReport::groups() const {
  return rows_by(steps, [](const StepProfile& s) { return std::string(name_of(s.group)); });
}

ProfileReport join_profiles(const std::vector<std::vector<StepProfile>>& runs,
                            std::vector<double> step_seconds, std::vector<double> gaps) {
  if (runs.empty()) fail_internal("a profile needs at least one profiled run, found none");
  for (const auto& run : runs)
    if (run.size() != runs[0].size())
      fail_internal("profiled runs of one plan have " + std::to_string(runs[0].size()) + " and " +
                    std::to_string(run.size()) + " steps");
  ProfileReport report;
  report.step_seconds = median(std::move(step_seconds));
  if (!gaps.empty()) report.traced_gap = median(std::move(gaps));
  report.steps = runs[0];
  for (size_t i = 0; i < report.steps.size(); ++i) {
    std::vector<double> times;
    for (const auto& run : runs) times.push_back(run[i].seconds);
    report.steps[i].seconds = median(std::move(times));
  }
  std::vector<const std::vector<StepProfile>*> order;
  for (const auto& run : runs) order.push_back(&run);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return total(*a) < total(*b); });
  report.timeline = *order[order.size() / 2];
  return report;
}

ProfileReport profile_report(LoadedPlan& plan, const ProfileOptions& options) {
  using Clock = std::chrono::steady_clock;
  for (int i = 0; i < options.warm_up; ++i) plan.run();
  std::vector<double> whole;
  std::vector<std::vector<StepProfile>> runs;
  std::vector<double> gaps;
  std::string clock;
  // Alternating, so that a machine that slows down slows both.
  for (int i = 0; i < std::max(1, options.runs); ++i) {
    const Clock::time_point start = Clock::now();
    plan.run();
    whole.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    ProfileClock how;
    runs.push_back(plan.profile(&how));
    if (clock != how.name) {  // only the first ones: then they are all of one kind
      runs.erase(runs.begin(), runs.end() - 1);
      gaps.clear();
      clock = how.name;
    }
    if (how.gap >= 0) gaps.push_back(how.gap);
  }
  ProfileReport report = join_profiles(runs, std::move(whole), std::move(gaps));
  report.clock = clock;
  report.title = options.title.empty() ? plan.plan().graph : options.title;
  report.device = plan.backend("kernels");
  report.ceilings = options.ceilings;
  return report;
}

}  // namespace fusec
