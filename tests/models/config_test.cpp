// Presets: sizes that the design states, and errors that name the nearest valid name.
#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "fusec/models/bundled.h"
#include "fusec/models/graphs.h"
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

TEST_CASE("a tied head has no parameter of its own, norms of heads before RoPE have two a layer") {
  VisionGptConfig c = VisionGptConfig::preset("tiny");
  int64_t plain = count(c)["trunk"];
  c.qk_norm = QkNorm::none;
  CHECK(count(c)["trunk"] == plain);
  c.qk_norm = QkNorm::before_rope;
  CHECK(count(c)["trunk"] - plain == c.layers * 2 * c.head_dim);
  c.tied_head = true;
  auto tied = count(c);
  CHECK(tied.count("head") == 0);
  CHECK(tied["embedding"] == c.vocab * c.width);
  CHECK_THROWS_WITH_AS(check_selection(c, "head"), doctest::Contains("name \"embedding\""), Error);
}

TEST_CASE("configs of public decoders come back from their text") {
  VisionGptConfig llama;  // Llama 3.1
  llama.resampler.queries = 0;
  llama.rope_theta = 500000;
  llama.rope_scaling = {RopeScaling::Kind::llama3, 8, 1, 4, 8192};
  llama.weighted_norms = true;
  llama.qk_norm = QkNorm::none;
  llama.embedding_norm = false;
  llama.softcap = 0;
  VisionGptConfig qwen = llama;  // Qwen3
  qwen.rope_scaling = {};
  qwen.qk_norm = QkNorm::before_rope;
  qwen.tied_head = true;
  for (const VisionGptConfig& c : {llama, qwen}) {
    VisionGptConfig back = parse_config(config_text(c), "test");
    CHECK(config_text(back) == config_text(c));
    CHECK(back.rope_scaling.kind == c.rope_scaling.kind);
    CHECK(back.rope_scaling.factor == c.rope_scaling.factor);
    CHECK(back.qk_norm == c.qk_norm);
    CHECK(back.tied_head == c.tied_head);
    CHECK_FALSE(back.embedding_norm);
  }
  std::string wrong = config_text(llama);
  wrong.replace(wrong.find("llama3"), 6, "llama4");
  CHECK_THROWS_WITH_AS(parse_config(wrong, "test"),
                       doctest::Contains("\"llama4\" (did you mean \"llama3\""), Error);
  llama.rope_scaling.low_freq_factor = 4;
  CHECK_THROWS_WITH_AS(llama.check(), doctest::Contains("below the high one"), Error);
  llama.rope_scaling = {RopeScaling::Kind::linear, 0.5};
  CHECK_THROWS_WITH_AS(llama.check(), doctest::Contains("expected 1 or more"), Error);
}

TEST_CASE("an encoder's class token, norms and widths are options, and come back from their text") {
  VisionGptConfig c = VisionGptConfig::preset("tiny");
  const int64_t plain = count(c)["vision"], width = c.vision.width;
  CHECK(c.vision.tokens() == c.vision.patches());
  CHECK(c.vision.hidden() == 4 * width);
  c.vision.class_token = true;
  CHECK(c.vision.tokens() == c.vision.patches() + 1);
  CHECK(count(c)["vision"] - plain == 2 * width);  // and its position
  c.vision.pre_norm = c.vision.post_norm = true;
  CHECK(count(c)["vision"] - plain == 6 * width);
  c.vision.patch_bias = false;
  CHECK(count(c)["vision"] - plain == 5 * width);
  c.vision.intermediate = 3 * width;
  CHECK(count(c)["vision"] - plain == 5 * width - c.vision.layers * (2 * width * width + width));
  c.vision.activation = VitActivation::quick_gelu;
  c.vision.norm_eps = 1e-6;
  c.vision.pixel_mean = {0.48145466, 0.4578275, 0.40821073};
  c.vision.pixel_std = {0.26862954, 0.26130258, 0.27577711};
  const VisionGptConfig back = parse_config(config_text(c), "test");
  CHECK(config_text(back) == config_text(c));
  CHECK(back.vision.activation == VitActivation::quick_gelu);
  CHECK(back.vision.pixel_std == c.vision.pixel_std);
  CHECK(back.vision.norm_eps == 1e-6);
  CHECK_FALSE(back.vision.patch_bias);
  c.vision.image = 39;  // 32 / 8 patches and a rest
  CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("must divide image size (39)"), Error);
  c.vision.cut_edge = true;
  CHECK(parse_config(config_text(c), "test").vision.tokens() == 17);
  c.vision.patch = 40;
  CHECK_THROWS_WITH_AS(c.check(), doctest::Contains("40 is above image size 39"), Error);
  auto refused = [](VitConfig vision, const char* part) {
    VisionGptConfig config;
    config.vision = vision;
    CHECK_THROWS_WITH_AS(config.check(), doctest::Contains(part), Error);
  };
  refused({.norm_eps = 0}, "vision norm_eps must be above 0");
  refused({.pixel_std = {1, 0, 1}}, "not 0");
  refused({.intermediate = -1}, "vision intermediate width is -1");
}

TEST_CASE("rotary frequencies are scaled as stated") {
  // Angles at position 1, head_dim 128, theta 500000, as Llama 3.1 has them: pair i turns by
  // theta^(-i / 64); within 8192 tokens pair 0 turns 1304 times, pair 63 twice in a thousand.
  auto sines = [](const RopeScaling& scaling) {
    Graph graph;
    auto tables = rope_tables(graph, 2, 128, 500000, scaling);
    const auto& data = graph.node(tables.second.value()).as<ConstantAttr>().data;
    return std::vector<float>(data->begin() + 64, data->end());
  };
  auto plain = sines({}), linear = sines({RopeScaling::Kind::linear, 8});
  auto llama = sines({RopeScaling::Kind::llama3, 8, 1, 4, 8192});
  CHECK(linear[0] == doctest::Approx(std::sin(1.0 / 8)));
  for (int i = 0; i < 64; ++i) {
    double frequency = std::pow(500000.0, -i / 64.0), wavelength = 2 * M_PI / frequency;
    CAPTURE(i);
    CHECK(plain[i] == doctest::Approx(std::sin(frequency)));
    double expected = frequency;
    if (wavelength > 8192) expected = frequency / 8;
    if (wavelength >= 2048 && wavelength <= 8192) {
      double smooth = (8192 / wavelength - 1) / 3;
      expected = (1 - smooth) * frequency / 8 + smooth * frequency;
    }
    CHECK(llama[i] == doctest::Approx(std::sin(expected)));
  }
  CHECK(llama[0] == plain[0]);
  CHECK(llama[63] == doctest::Approx(plain[63] / 8));
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
