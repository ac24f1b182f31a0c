// The recorded model under the double oracle: what learns, what stays frozen, what sees what.
#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "fusec/models/bundled.h"
#include "fusec/models/vision_gpt.h"
#include "small_model.h"

namespace fusec::models {
namespace {

std::set<std::string> assigned(const Graph& graph) {
  std::set<std::string> names;
  for (const Node& node : graph.nodes()) {
    if (node.kind != OpKind::assign) continue;
    names.insert(graph.node(node.inputs[0]).as<NameAttr>().name);
  }
  return names;
}

// One oracle step; returns the loss.
double run_step(const RecordedGraph& step, Oracle& oracle) {
  oracle.set("lr", {0.01});
  oracle.set("bias1", {10});
  oracle.set("bias2", {20});
  return oracle.step({step.outputs[0].tensor})[0][0];
}

TEST_CASE("every trainable parameter moves and every frozen one stays") {
  VisionGptConfig config = small_config();
  CaptionBatch batch = pack({picture("red box", 8, 1), picture("blue", 8, 2)}, 2, config);
  AdamWOptions options;
  for (GroupOptions& group : options.groups) group.decay = 0;  // only gradients move parameters
  struct Case {
    std::string selection;
    std::vector<std::string> prefixes;
  };
  for (const Case& c :
       {Case{"all", {""}}, Case{"resampler,projector", {"resampler.", "projector."}},
        Case{"last:1", {"trunk.1."}}, Case{"head,last:2", {"head.", "trunk."}}}) {
    CAPTURE(c.selection);
    RecordedGraph step = record_training_step(config, 2, c.selection, options);
    Oracle oracle(*step.graph);
    feed_parameters(oracle, *step.graph, config);
    feed_batch(oracle, batch);
    run_step(step, oracle);
    for (const Tensor& p : step.graph->parameters()) {
      const std::string& name = name_of_leaf(p);
      CAPTURE(name);
      bool chosen = false;
      for (const std::string& prefix : c.prefixes)
        chosen |= name.compare(0, prefix.size(), prefix) == 0;
      CHECK((assigned(*step.graph).count(name) == 1) == chosen);
      CHECK(step.graph->find(name + ".m").defined() == chosen);
      if (!chosen) continue;
      // A key bias adds the same to every score of a query: softmax cancels it, so its gradient is
      // zero up to rounding.
      if (name.find(".k.bias") != std::string::npos) continue;
      double largest = 0;
      for (double m : oracle.get(name + ".m")) largest = std::max(largest, std::abs(m));
      CHECK(largest > 1e-9);
    }
  }
}

TEST_CASE("frozen parts cost no gradient ops") {
  VisionGptConfig config = small_config();
  size_t all = record_training_step(config, 2, "all", {}).graph->nodes().size();
  size_t last = record_training_step(config, 2, "last:1", {}).graph->nodes().size();
  size_t forward = record_evaluation(config, 2).graph->nodes().size();
  CHECK(last < forward + (all - forward) / 2);
}

TEST_CASE("selections are checked") {
  VisionGptConfig config = small_config();
  auto record = [&](const char* selection) { record_training_step(config, 1, selection, {}); };
  CHECK_THROWS_WITH_AS(record("resampler,projecter"), doctest::Contains("\"projector\""), Error);
  CHECK_THROWS_WITH_AS(record("last:3"), doctest::Contains("last:2"), Error);
  CHECK_THROWS_WITH_AS(record("last:x"), doctest::Contains("last:2"), Error);
}

TEST_CASE("a batch without supervision has loss 0 and moves nothing") {
  VisionGptConfig config = small_config();
  AdamWOptions options;
  for (GroupOptions& group : options.groups) group.decay = 0;
  RecordedGraph step = record_training_step(config, 2, "all", options);
  Oracle oracle(*step.graph);
  feed_parameters(oracle, *step.graph, config);
  feed_batch(oracle, pack({}, 2, config));
  std::vector<double> before = oracle.get("head.weight");
  CHECK(run_step(step, oracle) == 0);
  CHECK(oracle.get("head.weight") == before);
}

TEST_CASE("the loss is per supervised token, whatever the padding rows") {
  VisionGptConfig config = small_config();
  std::vector<data::CaptionedImage> items = {picture("red box", 8, 1), picture("blue", 8, 2)};
  auto loss = [&](int64_t rows) {
    RecordedGraph eval = record_evaluation(config, rows);
    Oracle oracle(*eval.graph);
    feed_parameters(oracle, *eval.graph, config);
    feed_batch(oracle, pack(items, rows, config));
    auto values = oracle.evaluate({eval.outputs[0].tensor, eval.outputs[1].tensor});
    CHECK(values[1][0] == 5);  // "red", " box", <eos>; "blue", <eos>
    return values[0][0];
  };
  double two = loss(2), four = loss(4);
  CHECK(two == doctest::Approx(four).epsilon(1e-12));
  // Small random logits: close to the loss of a uniform guess.
  CHECK(two / 5 == doctest::Approx(std::log(264.0)).epsilon(0.05));
}

TEST_CASE("decoder and training graph agree; later tokens are not seen, pictures are") {
  VisionGptConfig config = small_config();
  RecordedGraph encoder = record_encoder(config, 2), decoder = record_decoder(config, 2);
  CaptionBatch batch = pack({picture("red box", 8, 1), picture("blue", 8, 2)}, 2, config);
  Oracle encode(*encoder.graph), decode(*decoder.graph);
  feed_parameters(encode, *encoder.graph, config);
  feed_parameters(decode, *decoder.graph, config);
  auto logits = [&](const CaptionBatch& b) {
    encode.set("images", widened(b.images));
    decode.set("image_rows", encode.evaluate({encoder.outputs[0].tensor})[0]);
    decode.set("tokens", widened(b.tokens));
    decode.set("slots", widened(b.slots));
    decode.set("last", {3, 10 + 3});  // after the first word of each row
    return decode.evaluate({decoder.outputs[0].tensor})[0];
  };
  std::vector<double> base = logits(batch);

  // The decoder's probability of the supervised token at position 3 gives back its loss.
  RecordedGraph eval = record_evaluation(config, 2);
  Oracle oracle(*eval.graph);
  feed_parameters(oracle, *eval.graph, config);
  CaptionBatch one = batch;
  std::fill(one.targets.begin(), one.targets.end(), -1);
  one.targets[3] = batch.targets[3];
  feed_batch(oracle, one);
  double sum = 0;
  for (int64_t i = 0; i < config.vocab; ++i) sum += std::exp(base[i]);
  CHECK(oracle.evaluate({eval.outputs[0].tensor})[0][0] ==
        doctest::Approx(std::log(sum) - base[batch.targets[3]]).epsilon(1e-9));

  CaptionBatch later = batch;
  later.tokens[4] = later.tokens[4] + 1;
  CHECK(logits(later) == base);

  CaptionBatch other_picture = batch;
  other_picture.images[0] += 1;
  std::vector<double> moved = logits(other_picture);
  auto row = [&](const std::vector<double>& v, int64_t b) {
    return std::vector<double>(v.begin() + b * config.vocab, v.begin() + (b + 1) * config.vocab);
  };
  CHECK(row(moved, 0) != row(base, 0));
  CHECK(row(moved, 1) == row(base, 1));
}

TEST_CASE("all bundled training steps record") {
  for (const std::string& name : bundled_names()) {
    CAPTURE(name);
    RecordedGraph step = build_bundled(name);
    CHECK(step.outputs[0].tensor.shape().empty());
    bool tiny = name == "vision-gpt:tiny", text = name.starts_with("gpt:");
    CHECK(step.graph->find("images").defined() != text);
    CHECK(bundled(name).config.text_only() == text);
    CHECK((assigned(*step.graph).count("vision.0.attn.q.weight") == 1) == tiny);
    CHECK(assigned(*step.graph).count("trunk.0.attn.q.weight") == 1);
  }
}

TEST_CASE("first values depend on name and seed only") {
  VisionGptConfig config = small_config();
  auto a = initial_value("trunk.0.attn.q.weight", {8, 8}, config, 1);
  CHECK(a == initial_value("trunk.0.attn.q.weight", {8, 8}, config, 1));
  CHECK(a != initial_value("trunk.0.attn.q.weight", {8, 8}, config, 2));
  CHECK(a != initial_value("trunk.1.attn.q.weight", {8, 8}, config, 1));
  CHECK(initial_value("vision.0.norm1.weight", {3}, config, 1) == std::vector<float>{1, 1, 1});
  CHECK(initial_value("vision.0.attn.q.bias", {2}, config, 1) == std::vector<float>{0, 0});
  CHECK_THROWS_AS(initial_value("mystery", {2, 2}, config, 1), Error);
  // 64 x 64 draws: the sample deviation is within 5% (4 standard errors) of 1 / sqrt(64).
  auto large = initial_value("trunk.0.attn.q.weight", {64, 64}, config, 1);
  double squares = 0;
  for (float x : large) squares += static_cast<double>(x) * x;
  CHECK(std::sqrt(squares / large.size()) == doctest::Approx(0.125).epsilon(0.05));
}

}  // namespace
}  // namespace fusec::models
