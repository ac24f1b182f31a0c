// Profiles of a compiled training step: every step of the plan has its row and its group, and the
// device's ceilings are measured.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "fusec/io/json.h"
#include "fusec/profile.h"
#include "small_model.h"

namespace fusec::models {
namespace {

Executable ready(const VisionGptConfig& config, Precision precision) {
  RecordedGraph step = record_training_step(config, 2, "all", {});
  CompileOptions options;
  options.device = "cpu";
  options.precision = precision;
  Executable exe = compile(*step.graph, step.outputs, options);
  init_parameters(exe, config, 7);
  CaptionBatch batch = pack({picture("red box", 8, 1), picture("blue", 8, 2)}, 2, config);
  if (!config.text_only()) {
    exe.set("images", batch.images);
    exe.set("slots", batch.slots);
  }
  exe.set("tokens", batch.tokens);
  exe.set("targets", batch.targets);
  set_adamw_inputs(exe, {}, 0.01, 1);
  return exe;
}

TEST_CASE("a profile of a training step accounts for all of it") {
  for (const bool text : {false, true})
    for (const Precision precision : {Precision::f32, Precision::bf16}) {
      CAPTURE(text);
      VisionGptConfig config = small_config();
      if (text) config.resampler.queries = 0;
      Executable exe = ready(config, precision);
      const ProfileReport r = profile_report(exe, {.title = "small", .runs = 3});
      const Plan& plan = exe.plan();
      REQUIRE(r.steps.size() == plan.steps.size());
      REQUIRE(r.timeline.size() == plan.steps.size());
      for (size_t i = 0; i < plan.steps.size(); ++i) {
        const StepProfile& s = r.steps[i];
        CHECK(s.step == static_cast<int>(i));
        CHECK(s.call == (plan.steps[i].kernel < 0));
        CHECK(s.scope == plan.steps[i].scope);
        CHECK(s.seconds > 0);
        if (i > 0)  // one step after the other, on this device
          CHECK(r.timeline[i].start + 1e-9 >= r.timeline[i - 1].start + r.timeline[i - 1].seconds);
        if (s.name == "gemm") CHECK(s.shape.find(precision == Precision::bf16 ? "bf16" : "f32") !=
                                    std::string::npos);
      }
      CHECK(r.step_seconds > 0);
      std::set<std::string> groups;
      for (const ProfileRow& row : r.groups()) groups.insert(row.name);
      for (const char* name : {"attention", "mlp", "norms", "optimizer", "loss", "embedding"})
        CHECK(groups.count(name) == 1);
      CHECK(groups.count("vision") == (text ? 0 : 1));
      std::map<WorkGroup, int> other;
      for (const StepProfile& s : r.steps) ++other[s.group];
      CHECK(other[WorkGroup::other] <= 2);  // the two guards
      io::parse_json(r.json(), "profile", 8);
      io::parse_json(r.trace(), "trace", 8);
    }
}

TEST_CASE("ceilings: rates of a copy and of a matrix product in the precision asked for") {
  CompileOptions options;
  options.device = "cpu";
  for (const Precision precision : {Precision::f32, Precision::bf16}) {
    options.precision = precision;
    const DeviceCeilings c =
        measure_ceilings(options, {.copy_bytes = 1 << 20, .matmul_side = 64, .runs = 3});
    CHECK(c.copy_rate > 1e6);
    CHECK(c.matmul_rate > 1e6);
    CHECK(c.precision == (precision == Precision::bf16 ? "bf16" : "f32"));
  }
}

}  // namespace
}  // namespace fusec::models
