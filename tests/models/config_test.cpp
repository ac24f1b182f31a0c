// Presets: sizes that the design states, and errors that name the nearest valid name.
#include <doctest/doctest.h>

#include <map>

#include "fusec/models/bundled.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {
namespace {

std::map<std::string, int64_t> count(const VisionGptConfig& config) {
  Graph graph;
  ImageTower tower(graph, config);
  TextTrunk trunk(graph, config);
  std::map<std::string, int64_t> counts;
  for (const ModuleCount& c : count_parameters(graph)) counts[c.module] = c.parameters;
  return counts;
}

TEST_CASE("presets have the stated sizes") {
  VisionGptConfig d20 = VisionGptConfig::preset("d20");
  CHECK(d20.width == 1280);
  CHECK(d20.heads == 10);
  CHECK(d20.kv_heads == 5);
  CHECK(d20.head_dim == 128);
  CHECK(d20.intermediate == 3456);
  CHECK(d20.vision.patches() == 256);
  VisionGptConfig d32 = VisionGptConfig::preset("d32");
  CHECK(d32.heads == 16);
  CHECK(d32.intermediate == 5528);
  for (const std::string& name : VisionGptConfig::preset_names()) {
    CHECK_NOTHROW(VisionGptConfig::preset(name).check());
  }
}

TEST_CASE("parameter counts") {
  // A d20 block: q and out 1280 x 1280, k and v 640 x 1280, three MLP matrices 1280 x 3456.
  auto d20 = count(VisionGptConfig::preset("d20"));
  CHECK(d20["trunk"] == 20 * (3 * 1280 * 1280 + 3 * 1280 * 3456));
  CHECK(d20["head"] == 65536 * 1280);
  CHECK(d20["trunk"] + d20["head"] == doctest::Approx(0.45e9).epsilon(0.01));
  // ViT-L/14 is known as 0.3 B: 24 blocks of 12 * 1024^2 and a little.
  CHECK(d20["vision"] == doctest::Approx(0.303e9).epsilon(0.01));
  auto d32 = count(VisionGptConfig::preset("d32"));
  CHECK(d32["trunk"] + d32["head"] == doctest::Approx(1.62e9).epsilon(0.01));
}

TEST_CASE("biases and norm weights are options") {
  VisionGptConfig c = VisionGptConfig::preset("tiny");
  int64_t plain = count(c)["trunk"];
  c.attention_bias = true;
  int64_t biased = count(c)["trunk"];
  CHECK(biased - plain == c.layers * (c.heads + 2 * c.kv_heads) * c.head_dim);
  c.weighted_norms = true;
  CHECK(count(c)["trunk"] - biased == (2 * c.layers + 1) * c.width);
}

TEST_CASE("wrong names and sizes are refused with help") {
  CHECK_THROWS_WITH_AS(VisionGptConfig::preset("d21"),
                       doctest::Contains("unknown model preset \"d21\""), Error);
  CHECK_THROWS_WITH_AS(VitConfig::preset("vit-l-14"), doctest::Contains("vit-l/14"), Error);
  CHECK_THROWS_WITH_AS(build_bundled("vision-gpt:tin"), doctest::Contains("vision-gpt:tiny"),
                       Error);
  VisionGptConfig c;
  c.vision.patch = 5;
  CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("patch size (5) must divide image size (32)"),
                       Error);
  c = {};
  c.sequence = 10;
  CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("expected at least 11"), Error);
}

}  // namespace
}  // namespace fusec::models
