// Records of CUPTI -> times of the plan's steps. Records tell a kernel's name and times but no
// step, so steps are told by order: what a step puts into the graph is known from recording it, and
// on one stream the graph runs in that order. Refuses records whose kernels are others, or not as
// many.
#include <algorithm>

#include "profiled_run.h"
#include "vendor/cupti.h"

namespace fusec::cuda {
namespace {

double seconds(uint64_t nanoseconds) { return 1e-9 * static_cast<double>(nanoseconds); }

}  // namespace

std::optional<ProfiledRun> times_of(const std::vector<StepNodes>& steps, size_t before,
                                    const std::vector<Activity>& ran, std::string* why) {
  ProfiledRun out;
  size_t next = 0;                              // of `ran`
  uint64_t first = 0, busy_until = 0, gap = 0;  // first: start of what a step ran first
  bool begun = false;
  std::vector<uint64_t> starts;
  while (next < std::min(before, ran.size()) && !ran[next].kernel) ++next;
  auto fail = [&](const std::string& what) {
    *why = "CUPTI's records are not those of the plan: " + what;
    return std::nullopt;
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const StepNodes& step = steps[i];
    uint64_t start = 0, spent = 0;
    bool any = false;
    size_t kernels = 0, transfers = 0;
    std::string names;  // of a library's kernels
    while (kernels < step.kernels || transfers < step.transfers) {
      if (next == ran.size() || (ran[next].kernel && kernels == step.kernels)) break;
      const Activity& a = ran[next++];
      if (a.start == 0 || a.end < a.start)
        return fail("no time for " + (a.kernel ? a.name : std::string("a transfer")));
      if (!a.kernel && transfers == step.transfers) continue;
      if (a.kernel && kernels < step.names.size() && a.name != step.names[kernels])
        return fail("found \"" + a.name + "\", expected \"" + step.names[kernels] + "\" of step " +
                    std::to_string(i));
      ++(a.kernel ? kernels : transfers);
      if (a.kernel && step.names.empty()) names += (names.empty() ? "" : ", ") + a.name;
      if (!begun) first = busy_until = a.start, begun = true;
      if (a.start > busy_until) gap += a.start - busy_until;
      busy_until = std::max(busy_until, a.end);
      if (!any) start = a.start, any = true;
      spent += a.end - a.start;
    }
    if (kernels < step.kernels)
      return fail("found " + std::to_string(kernels) + " kernels for step " + std::to_string(i) +
                  ", expected " + std::to_string(step.kernels));
    out.steps.push_back({static_cast<int>(i), seconds(spent), 0, std::move(names)});
    starts.push_back(any ? start : std::max(first, busy_until));
  }
  for (; next < ran.size(); ++next)
    if (ran[next].kernel) return fail("\"" + ran[next].name + "\" runs after the last step");
  for (size_t i = 0; i < starts.size(); ++i)
    out.steps[i].start = starts[i] > first ? seconds(starts[i] - first) : 0;
  out.gap = seconds(gap);
  return out;
}

bool TracedReplay::record(const Stream& stream, const RunParts& parts) {
  std::vector<StepNodes> nodes;
  size_t before = 0;
  const bool recorded = graph_.record(stream, [&] {
    parts.begin();
    before = recorded_nodes(stream).transfers;
    for (size_t i = 0; i < parts.steps; ++i) {
      StepNodes n{parts.names(i), 0, 0};
      n.kernels = n.names.size();
      const NodeCounts before = n.names.empty() ? recorded_nodes(stream) : NodeCounts{};
      parts.step(i);
      if (n.names.empty()) {
        const NodeCounts after = recorded_nodes(stream);
        n.kernels = after.kernels - before.kernels;
        n.transfers = after.transfers - before.transfers;
      }
      nodes.push_back(std::move(n));
    }
    parts.end();
  });
  if (recorded) nodes_ = std::move(nodes), before_ = before;
  return recorded;
}

std::optional<ProfiledRun> TracedReplay::run(const Stream& stream, const RunParts& parts,
                                             std::string* why) {
  ActivityTrace trace;
  if (trace.problem().empty() && !graph_.recorded() && !record(stream, parts)) {
    *why = graph_.problem();
    return std::nullopt;
  }
  if (!trace.problem().empty()) {
    *why = trace.problem();
    return std::nullopt;
  }
  graph_.launch(stream);
  stream.wait("replaying the graph of the step");
  std::vector<Activity> ran = trace.finish();
  if (!trace.problem().empty()) {
    *why = trace.problem();
    return std::nullopt;
  }
  std::optional<ProfiledRun> out = times_of(nodes_, before_, ran, why);
  if (out) out->clock = cupti().line + ", one replay of the CUDA graph";
  return out;
}

}  // namespace fusec::cuda
