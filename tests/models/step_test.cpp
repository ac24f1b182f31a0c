// One compiled training step against the double oracle: loss, gradient norm, every moment and every
// parameter, fused and unfused.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "small_model.h"

namespace fusec::models {
namespace {

// Largest |a - b| relative to the largest |b|.
double distance(const std::vector<float>& a, const std::vector<double>& b) {
  double gap = 0, scale = 1e-12;
  for (size_t i = 0; i < b.size(); ++i) {
    gap = std::max(gap, std::abs(a[i] - b[i]));
    scale = std::max(scale, std::abs(b[i]));
  }
  return gap / scale;
}

TEST_CASE("a compiled training step equals the oracle's") {
  VisionGptConfig config = small_config();
  AdamWOptions options;
  CaptionBatch batch = pack({picture("red box", 8, 1), picture("blue", 8, 2)}, 3, config);
  RecordedGraph step = record_training_step(config, 3, "all", options);
  Oracle oracle(*step.graph);
  feed_parameters(oracle, *step.graph, config);
  feed_batch(oracle, batch);
  oracle.set("lr", {0.01f});
  oracle.set("bias1", {1 / (1 - 0.9)});
  oracle.set("bias2", {1 / (1 - 0.95)});
  auto expected = oracle.step({step.outputs[0].tensor, step.outputs[1].tensor});

  for (bool fuse : {true, false}) {
    CAPTURE(fuse);
    CompileOptions compile_options;
    compile_options.device = "cpu";
    compile_options.fuse = fuse;
    Executable exe = compile(*step.graph, step.outputs, compile_options);
    init_parameters(exe, config, 7);
    for (const PlanBuffer& b : exe.plan().buffers)
      if (b.cls == BufferClass::parameter)
        CHECK(exe.get<float>(b.name) == initial_value(b.name, b.type.shape, config, 7));
    exe.set("images", batch.images);
    exe.set("tokens", batch.tokens);
    exe.set("targets", batch.targets);
    exe.set("slots", batch.slots);
    set_adamw_inputs(exe, options, 0.01, 1);
    exe.run();
    // f32 against double through some 40 layers of arithmetic: 1e-4 is about a thousand roundings.
    CHECK(exe.get<float>("loss")[0] == doctest::Approx(expected[0][0]).epsilon(1e-5));
    CHECK(exe.get<float>("grad_norm")[0] == doctest::Approx(expected[1][0]).epsilon(1e-4));
    for (const Tensor& p : step.graph->parameters()) {
      const std::string& name = name_of_leaf(p);
      if (name.find(".k.bias") != std::string::npos) continue;  // its gradient is pure rounding
      CAPTURE(name);
      CHECK(distance(exe.get<float>(name + ".m"), oracle.get(name + ".m")) < 1e-4);
      CHECK(distance(exe.get<float>(name + ".v"), oracle.get(name + ".v")) < 2e-4);
    }
  }
}

TEST_CASE("a compiled step of text alone equals the oracle's") {
  VisionGptConfig config = small_config();
  config.resampler.queries = 0;
  const CaptionBatch batch = pack({picture("red box", 8, 1), picture("blue", 8, 2)}, 3, config);
  CHECK(batch.slots.empty());
  RecordedGraph step = record_training_step(config, 3, "all", {});
  for (const Tensor& p : step.graph->parameters())
    CHECK(group_of(name_of_leaf(p)) != ParamGroup::vision);
  Oracle oracle(*step.graph);
  feed_parameters(oracle, *step.graph, config);
  oracle.set("tokens", widened(batch.tokens));
  oracle.set("targets", widened(batch.targets));
  oracle.set("lr", {0.01f});
  oracle.set("bias1", {1 / (1 - 0.9)});
  oracle.set("bias2", {1 / (1 - 0.95)});
  auto expected = oracle.step({step.outputs[0].tensor, step.outputs[1].tensor});
  CompileOptions options;
  options.device = "cpu";
  Executable exe = compile(*step.graph, step.outputs, options);
  init_parameters(exe, config, 7);
  exe.set("tokens", batch.tokens);
  exe.set("targets", batch.targets);
  set_adamw_inputs(exe, {}, 0.01, 1);
  exe.run();
  // As above.
  CHECK(exe.get<float>("loss")[0] == doctest::Approx(expected[0][0]).epsilon(1e-5));
  CHECK(exe.get<float>("grad_norm")[0] == doctest::Approx(expected[1][0]).epsilon(1e-4));
}

}  // namespace
}  // namespace fusec::models
