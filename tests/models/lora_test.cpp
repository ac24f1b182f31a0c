// LoRA: the model begins as its base, only the thin matrices learn, and merging changes nothing.
#include <doctest/doctest.h>

#include <cmath>

#include "packed_documents.h"

namespace fusec::models {
namespace {

constexpr PackShape kShape{.tokens = 30, .max_documents = 3, .max_images = 2};

std::vector<Document> documents(const VisionGptConfig& c) {
  return {made_up(c, 12, 1, 31), made_up(c, 9, 0, 32), made_up(c, 8, 1, 33)};
}

TEST_CASE("with lora_b as it begins, logits have the bits of the base model") {
  for (const VisionGptConfig& c : small_configs()) {
    CAPTURE(c.name);
    auto logits = [&](const LoraConfig& lora) {
      RecordedGraph recorded = record_packed_logits({c, kShape, lora});
      Executable exe = compile(*recorded.graph, recorded.outputs, on_cpu());
      init_parameters(exe, c, 3);
      for (const PlanBuffer& b : exe.plan().buffers)
        if (b.name.ends_with(".lora_a")) CHECK(exe.get<float>(b.name)[0] != 0);
      feed_pack(exe, c, packed(c, kShape, documents(c)), false);
      exe.run();
      return exe.get<float>("logits");
    };
    CHECK(logits({.rank = 3}) == logits({}));
  }
}

TEST_CASE("gradients are the slopes of the loss, and nothing else is trained") {
  VisionGptConfig c = small_configs()[1];
  LoraConfig lora{.rank = 2, .alpha = 6};
  RecordedGraph graph = record_packed_accumulation({c, kShape, lora}, "lora");
  Oracle oracle(*graph.graph);
  fill_parameters(oracle, *graph.graph, c);
  feed_pack(oracle, c, packed(c, kShape, documents(c)));
  Tensor loss = graph.outputs[0].tensor;
  oracle.step({loss});
  int tensors = 0;
  for (const Tensor& p : graph.graph->parameters()) {
    const std::string state = p.name() + ".grad";
    CAPTURE(p.name());
    CHECK(graph.graph->find(state).defined() == is_lora(p.name()));
    if (!is_lora(p.name())) continue;
    ++tensors;
    std::vector<double> gradient = oracle.get(state), values = oracle.get(p.name());
    double most = 0;
    for (double g : gradient) most = std::max(most, std::abs(g));
    CHECK(most > 1e-6);
    for (size_t i : {size_t{0}, values.size() / 2}) {
      auto at = [&](double delta) {
        std::vector<double> moved = values;
        moved[i] += delta;
        oracle.set(p.name(), moved);
        double result = oracle.evaluate({loss})[0][0];
        oracle.set(p.name(), values);
        return result;
      };
      // Central differences: h^2 of the third derivative, and 1e-16 of the loss over h.
      const double h = 1e-5, slope = (at(h) - at(-h)) / (2 * h);
      CHECK(std::abs(slope - gradient[i]) <= 1e-6 * std::max(1.0, most));
    }
  }
  CHECK(tensors == 2 * 7 * c.layers);
}

TEST_CASE("a compiled step of LoRA moves what was named and nothing else") {
  VisionGptConfig c = small_configs()[2];
  LoraConfig lora{.rank = 2, .targets = {"q", "v"}};
  RecordedGraph step = record_packed_training_step({c, kShape, lora}, "lora,head", {});
  Executable exe = compile(*step.graph, step.outputs, on_cpu());
  fill_parameters(exe, c);
  feed_pack(exe, c, packed(c, kShape, documents(c)));
  set_adamw_inputs(exe, {}, 0.01, 1);
  CHECK(exe.run().finite);
  int thin = 0;
  for (const Tensor& p : step.graph->parameters()) {
    CAPTURE(p.name());
    bool trained = is_lora(p.name()) || p.name() == "head.weight";
    thin += is_lora(p.name());
    CHECK((exe.get<float>(p.name()) != test_value(p.name(), p.shape(), c)) == trained);
  }
  CHECK(thin == 2 * 2 * c.layers);
}

TEST_CASE("merged weights give the model with LoRA beside them") {
  VisionGptConfig c = small_configs()[0];
  LoraConfig lora{.rank = 2, .alpha = 3};
  RecordedGraph with = record_packed_logits({c, kShape, lora});
  RecordedGraph without = record_packed_logits({c, kShape, {}});
  Executable beside = compile(*with.graph, with.outputs, on_cpu());
  fill_parameters(beside, c);
  Executable base = compile(*without.graph, without.outputs, on_cpu());
  fill_parameters(base, c);
  CHECK(lora_weights(base.plan()).empty());
  CHECK(lora_weights(beside.plan()).size() == 7 * c.layers);
  auto logits = [&](Executable& exe) {
    feed_pack(exe, c, packed(c, kShape, documents(c)), false);
    exe.run();
    return exe.get<float>("logits");
  };
  std::vector<float> want = logits(beside), other = logits(base);
  for (const std::string& w : lora_weights(beside.plan()))
    base.set(w, merged_weight(beside, w, lora));
  CHECK(merged_weight(beside, "head.weight", lora) == beside.get<float>("head.weight"));
  std::vector<float> merged = logits(base);
  merge_lora(beside, lora);
  CHECK(logits(beside) == merged);
  double gap = 0, most = 0, moved = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    gap = std::max<double>(gap, std::abs(merged[i] - want[i]));
    moved = std::max<double>(moved, std::abs(other[i] - want[i]));
    most = std::max<double>(most, std::abs(want[i]));
  }
  CHECK(gap <= 1e-5 * most);  // f32 through some 40 layers, summed in another order
  CHECK(moved > 1e-2 * most);
}

TEST_CASE("what is refused of LoRA") {
  VisionGptConfig c = small_configs()[0];
  auto check = [&](const LoraConfig& lora, const char* selection) {
    check_selection(c, selection, lora);
  };
  CHECK_NOTHROW(check({.rank = 4}, "lora,projector"));
  CHECK_THROWS_WITH_AS(check({.rank = -1}, "lora"), doctest::Contains("rank is -1"), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1, .alpha = 0}, "lora"), doctest::Contains("alpha"), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1, .targets = {"gat"}}, "lora"),
                       doctest::Contains("\"gate\""), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1, .targets = {}}, "lora"), doctest::Contains("no layers"),
                       Error);
  CHECK_THROWS_WITH_AS(check({}, "lora"), doctest::Contains("has no LoRA"), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1}, "head"), doctest::Contains("nothing trains it"), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1}, "last:1,lora"), doctest::Contains("\"last:1\""), Error);
  CHECK_THROWS_WITH_AS(check({.rank = 1}, "all"), doctest::Contains("\"all\""), Error);
}

}  // namespace
}  // namespace fusec::models
