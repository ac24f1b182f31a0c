// The whole training step of vision-gpt:tiny, every kernel and library call against the oracle.
#include <doctest/doctest.h>

#include "fusec/check.h"
#include "fusec/models/graphs.h"

namespace fusec::models {
namespace {

// Two rows of the batch: every kernel of the step, in a tenth of the time.
TEST_CASE("each kernel of the tiny step computes its region, fused and unfused, f32 and bf16") {
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    RecordedGraph step = record_training_step(VisionGptConfig::preset("tiny"), 2, "all", {});
    CheckOptions options;
    options.whole = false;
    options.compile.precision = precision;
    CheckReport report = check(*step.graph, step.outputs, options);
    INFO(report.str());
    CHECK(report.ok());
    CHECK(report.tensors > 2000);
    CHECK(report.excluded * 100 < report.elements);
  }
}

TEST_CASE("each kernel of a step whose encoder is CLIP's, too") {
  VisionGptConfig config = VisionGptConfig::preset("tiny");
  config.vision.class_token = config.vision.pre_norm = config.vision.post_norm = true;
  config.vision.patch_bias = false;
  config.vision.activation = VitActivation::quick_gelu;
  config.vision.intermediate = 100;
  for (Precision precision : {Precision::f32, Precision::bf16}) {
    RecordedGraph step = record_training_step(config, 2, "vision,resampler", {});
    CheckOptions options;
    options.whole = false;
    options.compile.precision = precision;
    CheckReport report = check(*step.graph, step.outputs, options);
    INFO(report.str());
    CHECK(report.ok());
    CHECK(report.excluded * 100 < report.elements);
  }
}

}  // namespace
}  // namespace fusec::models
