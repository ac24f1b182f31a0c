// Reports of made-up profiles: sums, shares, texts that parse, lanes in order.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "fusec/core/profile_report.h"
#include "fusec/io/json.h"

namespace fusec {
namespace {

constexpr int kDepth = 8;

StepProfile step(int index, const std::string& name, WorkGroup group, double start,
                 double seconds) {
  StepProfile s;
  s.name = name;
  s.scope = "trunk.0.\"odd\"\n\\scope";
  s.seconds = seconds;
  s.start = start;
  s.bytes = 1000 * (index + 1), s.flops = 10 * index;
  s.step = index;
  s.call = name == "gemm" || name == "attention" || name == "copy";
  if (name == "gemm") s.shape = "4x5x6 f32";
  s.group = group;
  return s;
}

// Three runs; in the second everything takes twice as long, in the third one kernel does.
std::vector<std::vector<StepProfile>> three_runs() {
  std::vector<std::vector<StepProfile>> runs;
  for (const double factor : {1.0, 2.0, 1.0}) {
    std::vector<StepProfile> run = {
        step(0, "gemm", WorkGroup::mlp, 0, 1e-3 * factor),
        step(1, "k01", WorkGroup::norms, 1e-3 * factor, 2e-3 * factor),
        step(2, "attention", WorkGroup::attention, 3e-3 * factor, 1e-3 * factor),
        step(3, "k01", WorkGroup::loss, 4e-3 * factor, 5e-4 * factor),
        step(4, "gemm", WorkGroup::mlp, 4.5e-3 * factor, 1e-3 * factor),
        step(5, "copy", WorkGroup::data, 5.5e-3 * factor, 5e-4 * factor)};
    runs.push_back(run);
  }
  runs[2][1].seconds *= 1.5;
  return runs;
}

ProfileReport made_up() {
  ProfileReport r = join_profiles(three_runs(), {9e-3, 8e-3, 7e-3});
  r.title = "a \"quoted\" title";
  r.device = "none";
  r.ceilings = {1e9, 1e12, "f32"};
  return r;
}

TEST_CASE("medians: of each step, of the whole step, and one whole run as timeline") {
  const ProfileReport r = made_up();
  CHECK(r.step_seconds == 8e-3);
  CHECK(r.steps[0].seconds == 1e-3);
  CHECK(r.steps[1].seconds == 3e-3);
  CHECK(r.kernel_seconds() == doctest::Approx(7e-3));
  CHECK(r.gap_seconds() == doctest::Approx(1e-3));
  CHECK(r.timeline[1].seconds == 3e-3);  // totals are 6, 12 and 7 ms
  CHECK_THROWS(join_profiles({}, {}));
  auto runs = three_runs();
  runs[1].pop_back();
  CHECK_THROWS(join_profiles(runs, {1}));
}

TEST_CASE("gaps that the clock saw: their median, and shares of kernels and gap together") {
  const ProfileReport r = join_profiles(three_runs(), {1e-3}, {5e-4, 1e-3, 2e-3});
  CHECK(r.gap_seconds() == 1e-3);
  CHECK(r.whole_seconds() == doctest::Approx(8e-3));
  CHECK(r.share(r.gap_seconds()) == doctest::Approx(0.125));
  CHECK(r.table().find("from the first launch to the end of the last 8.000 ms") !=
        std::string::npos);
  // By events, steps that run faster in a row than one by one: below 0, and said so.
  CHECK(join_profiles(three_runs(), {6e-3}).gap_seconds() == doctest::Approx(-1e-3));
  CHECK(made_up().table().find("from the first launch") == std::string::npos);
}

TEST_CASE("rows of kernels and of groups each hold every step once") {
  const ProfileReport r = made_up();
  for (const auto& rows : {r.kernels(), r.groups()}) {
    double seconds = 0;
    int launches = 0;
    int64_t bytes = 0, flops = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      seconds += rows[i].seconds, launches += rows[i].launches;
      bytes += rows[i].bytes, flops += rows[i].flops;
      if (i > 0) CHECK(rows[i - 1].seconds >= rows[i].seconds);
    }
    CHECK(seconds == doctest::Approx(r.kernel_seconds()));
    CHECK(launches == 6);
    CHECK(bytes == 21000);
    CHECK(flops == 150);
  }
  // One kernel in two groups has two rows; calls of one shape share one.
  CHECK(r.kernels().size() == 5);
  CHECK(r.groups().size() == 5);
  std::map<std::string, ProfileRow> groups;
  for (const ProfileRow& row : r.groups()) groups[row.name] = row;
  CHECK(groups.at("mlp").launches == 2);
  CHECK(groups.at("mlp").seconds == doctest::Approx(2e-3));
  CHECK(groups.at("mlp").byte_rate() == doctest::Approx(6000 / 2e-3));
}

TEST_CASE("the table names what it shows, and sums up what it leaves out") {
  const ProfileReport r = made_up();
  const std::string all = r.table();
  CHECK(all.find("gemm 4x5x6 f32") != std::string::npos);
  CHECK(all.find("(12.5%) in no kernel") != std::string::npos);
  CHECK(all.find("more") == std::string::npos);
  const std::string some = r.table(2);
  CHECK(some.find("and 3 more") != std::string::npos);
  CHECK(some.find("copy ") != std::string::npos);  // of the ceiling
  ProfileReport bare = made_up();
  bare.ceilings = {};
  CHECK(bare.table().find("measured here") == std::string::npos);
}

TEST_CASE("the JSON parses, and its numbers are the report's") {
  const ProfileReport r = made_up();
  const nlohmann::json j = io::parse_json(r.json(), "profile", kDepth);
  CHECK(j.at("title") == r.title);
  CHECK(j.at("step_ms").get<double>() == doctest::Approx(8));
  CHECK(j.at("gap_share").get<double>() == doctest::Approx(0.125));
  CHECK(j.at("steps").size() == 6);
  CHECK(j.at("steps").at(0).at("scope") == r.steps[0].scope);
  for (const char* part : {"groups", "kernels", "steps"}) {
    CAPTURE(part);
    double ms = 0;
    for (const auto& row : j.at(part)) ms += row.at("ms").get<double>();
    CHECK(ms == doctest::Approx(j.at("kernel_ms").get<double>()));
  }
  double share = j.at("gap_share").get<double>();
  for (const auto& row : j.at("groups")) share += row.at("share").get<double>();
  CHECK(share == doctest::Approx(1));
}

// The trace's events by lane, each "from, to" in nanoseconds.
std::map<int, std::vector<std::pair<int64_t, int64_t>>> lanes_of(const ProfileReport& r) {
  const nlohmann::json j = io::parse_json(r.trace(), "trace", kDepth);
  std::map<int, std::vector<std::pair<int64_t, int64_t>>> lanes;
  for (const auto& e : j.at("traceEvents")) {
    if (e.at("ph") == "M") {
      lanes[e.at("tid").get<int>()];
      continue;
    }
    CHECK(e.at("ph") == "X");
    const int64_t from = std::llround(1e3 * e.at("ts").get<double>());
    lanes.at(e.at("tid").get<int>())
        .emplace_back(from, from + std::llround(1e3 * e.at("dur").get<double>()));
  }
  return lanes;
}

TEST_CASE("trace: every step once, in named lanes within which nothing overlaps") {
  ProfileReport r = made_up();
  auto lanes = lanes_of(r);
  REQUIRE(lanes.size() == 4);
  CHECK(lanes[1].size() == 2);  // matrix products
  CHECK(lanes[2].size() == 1);  // attention
  CHECK(lanes[3].size() == 2);  // kernels
  CHECK(lanes[4].size() == 1);  // other calls
  CHECK(lanes[1][1] == std::pair<int64_t, int64_t>{4500000, 5500000});

  // A clock that rounds, or a device that ran two at once, must not make a lane overlap.
  r.timeline[4].start = 0.5e-3;
  r.timeline[3].start = 2e-3 - 4e-10;
  for (const auto& [lane, events] : lanes_of(r)) {
    CAPTURE(lane);
    for (size_t i = 1; i < events.size(); ++i) CHECK(events[i].first >= events[i - 1].second);
  }
}

Plan one_kernel(ScheduleKind kind, bool reduces) {
  Plan plan;
  KernelProgram kernel;
  kernel.schedule.kind = kind;
  kernel.ops.resize(1);
  kernel.ops[0].kind = reduces ? KernelOp::Kind::reduce : KernelOp::Kind::constant;
  plan.kernels.push_back(kernel);
  return plan;
}

PlanStep scoped(const std::string& scope, const std::string& call = "") {
  PlanStep s;
  s.scope = scope;
  s.kernel = call.empty() ? 0 : -1;
  s.call.name = call;
  return s;
}

TEST_CASE("the group of a step follows from its scope and from what it runs") {
  const Plan flat = one_kernel(ScheduleKind::flat, false);
  const Plan rows = one_kernel(ScheduleKind::rows, true);
  const std::pair<const char*, WorkGroup> scopes[] = {
      {"trunk.3.attn", WorkGroup::attention},  {"trunk.3.mlp", WorkGroup::mlp},
      {"trunk.0.norm1", WorkGroup::norms},     {"optimizer", WorkGroup::optimizer},
      {"head", WorkGroup::loss},               {"loss", WorkGroup::loss},
      {"embedding", WorkGroup::embedding},     {"vision.2.attn", WorkGroup::vision},
      {"resampler.0.mlp", WorkGroup::vision},  {"projector", WorkGroup::vision},
      {"", WorkGroup::other},                  {"trunk", WorkGroup::other},
      {"attnish.norms", WorkGroup::norms}};
  for (const auto& [scope, group] : scopes) {
    CAPTURE(scope);
    CHECK(group_of(flat, scoped(scope)) == group);
    CHECK(group_of(flat, scoped(scope, "gemm")) == group);
  }
  // Row reductions of a block are its norms; an encoder's stay the encoder's.
  CHECK(group_of(rows, scoped("trunk.0.mlp")) == WorkGroup::norms);
  CHECK(group_of(rows, scoped("trunk")) == WorkGroup::norms);
  CHECK(group_of(rows, scoped("vision.0.mlp")) == WorkGroup::vision);
  CHECK(group_of(rows, scoped("loss")) == WorkGroup::loss);
  PlanStep update = scoped("trunk.0.mlp");
  update.commit = true;
  CHECK(group_of(flat, update) == WorkGroup::optimizer);
  CHECK(group_of(flat, scoped("", "attention_grad")) == WorkGroup::attention);
  CHECK(group_of(flat, scoped("vision.1.attn", "attention")) == WorkGroup::vision);
  CHECK(group_of(flat, scoped("trunk.0.mlp", "fill")) == WorkGroup::data);
}

}  // namespace
}  // namespace fusec
