// Packs: a document means what it means alone, whatever lies beside it; gradients of several packs
// add up to those of one.
#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "packed_documents.h"

namespace fusec::models {
namespace {

constexpr PackShape kShape{.tokens = 48, .max_documents = 6, .max_images = 5};

std::vector<Document> documents(const VisionGptConfig& c) {
  return {made_up(c, 11, 1, 1), made_up(c, 7, 0, 2), made_up(c, 14, 3, 3), made_up(c, 1, 0, 4)};
}

// A document in the form without packs: logits [L, V], summed loss, gradients of all parameters.
struct Alone {
  RecordedGraph recorded;
  explicit Alone(const VisionGptConfig& c, const Document& d) {
    recorded.graph = std::make_unique<Graph>();
    Graph& g = *recorded.graph;
    int64_t length = d.tokens.size();
    int64_t images = d.image_at.size() / c.resampler.queries;
    Tensor tokens = g.input("tokens", {1, length}, i32);
    Tensor rows, slots;
    if (images > 0) {
      slots = g.input("slots", {images * c.resampler.queries}, i32);
      rows = ImageTower(g, c)(g.input("images", {images, 3, c.vision.image, c.vision.image}));
    }
    TextTrunk trunk(g, c);
    Tensor logits = trunk.logits(trunk.hidden(tokens, slots, rows));
    Tensor loss = token_loss(logits, g.input("targets", {length}, i32)).sum;
    recorded.outputs = {{"logits", logits}, {"loss", loss}};
    std::vector<Tensor> params = g.parameters();
    std::vector<Tensor> grads = grad(loss, params);
    for (size_t i = 0; i < params.size(); ++i)
      recorded.outputs.emplace_back(params[i].name() + ".grad", grads[i]);
  }
  template <class Feed>
  static void feed(const Document& d, Feed set) {
    set("tokens", d.tokens);
    set("targets", d.targets);
    if (d.images.empty()) return;
    set("images", d.images);
    set("slots", d.image_at);
  }
};

double largest(const std::vector<double>& v) {
  double most = 0;
  for (double x : v) most = std::max(most, std::abs(x));
  return most;
}

void close(const std::vector<double>& got, const std::vector<double>& want, double bound) {
  REQUIRE(got.size() == want.size());
  double gap = 0;
  for (size_t i = 0; i < got.size(); ++i) gap = std::max(gap, std::abs(got[i] - want[i]));
  CHECK(gap <= bound * std::max(largest(want), 1e-12));
}

// In exact arithmetic a pack's loss and gradients are the sums of its documents'. In double that
// holds up to rounding in some 10^4 sums: 1e-11 of the largest.
TEST_CASE("the loss and gradients of a pack are those of its documents alone") {
  for (const VisionGptConfig& c : small_configs()) {
    CAPTURE(c.name);
    std::vector<Document> list = documents(c);
    RecordedGraph pack = record_packed_accumulation({c, kShape, {}}, "all");
    Oracle oracle(*pack.graph);
    fill_parameters(oracle, *pack.graph, c);
    feed_pack(oracle, c, packed(c, kShape, list));
    auto values = oracle.step({pack.outputs[0].tensor, pack.outputs[1].tensor});

    double loss = 0, supervised = 0;
    std::map<std::string, std::vector<double>> sums;
    for (const Document& d : list) {
      Alone alone(c, d);
      Oracle one(*alone.recorded.graph);
      fill_parameters(one, *alone.recorded.graph, c);
      Alone::feed(d, [&](const char* name, const auto& v) { one.set(name, widened(v)); });
      std::vector<Tensor> wanted;
      for (const Output& o : alone.recorded.outputs) wanted.push_back(o.tensor);
      auto found = one.evaluate(wanted);
      loss += found[1][0];
      for (int32_t t : d.targets) supervised += t >= 0;
      for (size_t i = 2; i < found.size(); ++i) {
        std::vector<double>& sum = sums[alone.recorded.outputs[i].name];
        sum.resize(found[i].size(), 0.0);
        for (size_t j = 0; j < sum.size(); ++j) sum[j] += found[i][j];
      }
    }
    CHECK(values[0][0] == doctest::Approx(loss).epsilon(1e-12));
    CHECK(values[1][0] == supervised);
    for (const Tensor& p : pack.graph->parameters()) {
      CAPTURE(p.name());
      if (p.name().ends_with(".k.bias")) continue;  // softmax cancels it: pure rounding
      CHECK(largest(sums.at(p.name() + ".grad")) > 1e-6);
      close(oracle.get(p.name() + ".grad"), sums.at(p.name() + ".grad"), 1e-11);
    }
  }
}

TEST_CASE("compiled, a document's logits in a pack are those it has alone") {
  for (const VisionGptConfig& c : small_configs()) {
    CAPTURE(c.name);
    std::vector<Document> list = documents(c);
    RecordedGraph pack = record_packed_logits({c, kShape, {}});
    Executable exe = compile(*pack.graph, pack.outputs, on_cpu());
    fill_parameters(exe, c);
    feed_pack(exe, c, packed(c, kShape, list), false);
    exe.run();
    std::vector<double> logits = widened(exe.get<float>("logits"));
    size_t start = 0;
    for (const Document& d : list) {
      Alone alone(c, d);
      Executable one = compile(*alone.recorded.graph, alone.recorded.outputs, on_cpu());
      fill_parameters(one, c);
      Alone::feed(d, [&](const char* name, const auto& v) { one.set(name, v); });
      one.run();
      size_t end = start + d.tokens.size();
      std::vector<double> part(logits.begin() + start * c.vocab, logits.begin() + end * c.vocab);
      // Both are f32 through some 40 layers of arithmetic: about a hundred roundings apart.
      close(part, widened(one.get<float>("logits")), 1e-5);
      start = end;
    }
  }
}

TEST_CASE("editing a document leaves the bits of the others' logits") {
  VisionGptConfig c = small_configs()[0];
  std::vector<Document> list = documents(c);
  RecordedGraph pack = record_packed_logits({c, kShape, {}});
  Executable exe = compile(*pack.graph, pack.outputs, on_cpu());
  fill_parameters(exe, c);
  auto logits = [&] {
    feed_pack(exe, c, packed(c, kShape, list), false);
    exe.run();
    return exe.get<float>("logits");
  };
  std::vector<float> before = logits();
  for (size_t edited = 0; edited < list.size(); ++edited) {
    CAPTURE(edited);
    Document kept = list[edited];
    list[edited].tokens.back() = (list[edited].tokens.back() + 1) % c.vocab;
    for (float& pixel : list[edited].images) pixel += 0.5f;
    std::vector<float> after = logits();
    auto at = before.begin(), at_after = after.begin();
    for (size_t i = 0; i < list.size(); ++i) {
      auto size = static_cast<std::ptrdiff_t>(list[i].tokens.size() * c.vocab);
      CHECK(std::equal(at, at + size, at_after) == (i != edited));
      at += size, at_after += size;
    }
    list[edited] = kept;
  }
}

std::set<std::string> states_of(const Executable& exe) {
  std::set<std::string> names;
  for (const PlanBuffer& b : exe.plan().buffers)
    if (b.cls == BufferClass::state) names.insert(b.name);
  return names;
}

TEST_CASE("eight documents in one pack are two packs of four, accumulated") {
  VisionGptConfig c = small_configs()[0];
  AdamWOptions options;
  std::vector<Document> all;
  for (int64_t i = 0; i < 8; ++i) all.push_back(made_up(c, 6 + i, i % 3, 20 + i));
  PackShape whole{.tokens = 90, .max_documents = 8, .max_images = 8};
  PackShape half{.tokens = 60, .max_documents = 4, .max_images = 4};
  std::vector<std::vector<Document>> halves = {{all[0], all[2], all[3], all[4]},
                                               {all[1], all[5], all[6], all[7]}};

  RecordedGraph step = record_packed_training_step({c, whole, {}}, "all", options);
  Executable once = compile(*step.graph, step.outputs, on_cpu());
  fill_parameters(once, c);
  for (const std::string& s : states_of(once)) CHECK_FALSE(is_gradient_state(s));

  RecordedGraph part = record_packed_accumulation({c, half, {}}, "all");
  Executable accumulate = compile(*part.graph, part.outputs, on_cpu());
  fill_parameters(accumulate, c);
  RecordedGraph last = record_packed_update({c, half, {}}, "all", options);
  Executable update = compile(*last.graph, last.outputs, on_cpu(&accumulate));

  for (int64_t t = 1; t <= 2; ++t) {
    CAPTURE(t);
    feed_pack(once, c, packed(c, whole, all));
    set_adamw_inputs(once, options, 0.01, t);
    CHECK(once.run().finite);
    float count = 0, sum = 0;
    for (const std::vector<Document>& list : halves) {
      feed_pack(accumulate, c, packed(c, half, list));
      accumulate.run();
      count += accumulate.item<float>("count");
      sum += accumulate.item<float>("loss_sum");
    }
    update.set("count", count);
    set_adamw_inputs(update, options, 0.01, t);
    CHECK(update.run().finite);
    CHECK(count == once.item<float>("count"));
    // The same products are added in another order: sums of 90 tokens' terms, each some 40
    // roundings of 2^-24 off, so 1e-5 of the largest; behind the first update weights differ, too.
    CHECK(sum == doctest::Approx(once.item<float>("loss_sum")).epsilon(1e-5));
    double bound = t == 1 ? 1e-5 : 1e-3;
    CHECK(update.item<float>("grad_norm") ==
          doctest::Approx(once.item<float>("grad_norm")).epsilon(bound));
    for (const std::string& state : states_of(once)) {
      if (state.find(".k.bias") != std::string::npos) continue;  // softmax cancels it
      CAPTURE(state);
      close(widened(update.get<float>(state)), widened(once.get<float>(state)), 3 * bound);
    }
  }
  for (const std::string& s : states_of(accumulate))
    CHECK(largest(widened(accumulate.get<float>(s))) == 0);  // cleared for the next update
}

TEST_CASE("a pack without supervision adds nothing, and is no update by itself") {
  VisionGptConfig c = small_configs()[1];
  AdamWOptions options;
  for (GroupOptions& group : options.groups) group.decay = 0;  // only gradients move parameters
  RecordedGraph part = record_packed_accumulation({c, kShape, {}}, "all");
  Executable accumulate = compile(*part.graph, part.outputs, on_cpu());
  fill_parameters(accumulate, c);
  feed_pack(accumulate, c, packed(c, kShape, documents(c)));
  accumulate.run();
  std::map<std::string, std::vector<float>> before;
  for (const std::string& s : states_of(accumulate)) before[s] = accumulate.get<float>(s);

  std::vector<Document> silent = documents(c);
  for (Document& d : silent) std::fill(d.targets.begin(), d.targets.end(), -1);
  for (const auto& list : {silent, std::vector<Document>{}}) {
    feed_pack(accumulate, c, packed(c, kShape, list));
    accumulate.run();
    CHECK(accumulate.item<float>("loss_sum") == 0);
    CHECK(accumulate.item<float>("count") == 0);
    for (const auto& [name, values] : before) CHECK(accumulate.get<float>(name) == values);
  }

  RecordedGraph step = record_packed_training_step({c, kShape, {}}, "all", options);
  Executable once = compile(*step.graph, step.outputs, on_cpu(&accumulate));
  feed_pack(once, c, packed(c, kShape, silent));
  set_adamw_inputs(once, options, 0.01, 1);
  CHECK(once.run().finite);
  CHECK(once.item<float>("loss") == 0);
  CHECK(once.item<float>("grad_norm") == 0);
  const std::vector<float> first = test_value("embedding.weight", {c.vocab, c.width}, c);
  CHECK(once.get<float>("embedding.weight") == first);

  RecordedGraph last = record_packed_update({c, kShape, {}}, "all", options);
  Executable update = compile(*last.graph, last.outputs, on_cpu(&accumulate));
  clear_gradients(update);
  update.set("count", 0.0f);
  set_adamw_inputs(update, options, 0.01, 1);
  CHECK(update.run().finite);
  CHECK(update.item<float>("grad_norm") == 0);
}

TEST_CASE("an update of gradients that are not finite is refused, and clearing them mends it") {
  VisionGptConfig c = small_configs()[0];
  RecordedGraph last = record_packed_update({c, kShape, {}}, "head", {});
  Executable update = compile(*last.graph, last.outputs, on_cpu());
  fill_parameters(update, c);
  std::vector<float> gradient(c.vocab * c.width, 1.0f), head = update.get<float>("head.weight");
  gradient[3] = NAN;
  update.set("head.weight.grad", gradient);
  update.set("count", 5.0f);
  set_adamw_inputs(update, {}, 0.01, 1);
  CHECK_FALSE(update.run().finite);
  CHECK(update.get<float>("head.weight") == head);
  clear_gradients(update);
  CHECK(update.run().finite);
}

TEST_CASE("text alone has no images, frozen parts no gradients, and shapes are checked") {
  VisionGptConfig c = small_configs()[0];
  size_t all = record_packed_accumulation({c, kShape, {}}, "all").graph->nodes().size();
  RecordedGraph last = record_packed_accumulation({c, kShape, {}}, "last:1,head");
  size_t forward = record_packed_evaluation({c, kShape, {}}).graph->nodes().size();
  CHECK(last.graph->nodes().size() < forward + (all - forward) / 2);
  CHECK(last.graph->find("head.weight.grad").defined());
  CHECK(last.graph->find("trunk.1.mlp.up.weight.grad").defined());
  CHECK_FALSE(last.graph->find("trunk.0.mlp.up.weight.grad").defined());
  CHECK_FALSE(last.graph->find("vision.patch.weight.grad").defined());

  auto record = [&](const VisionGptConfig& config, const PackShape& shape) {
    record_packed_evaluation({config, shape, {}});
  };
  CHECK_THROWS_WITH_AS(record(c, {.tokens = 8}), doctest::Contains("max_images is 0"), Error);
  CHECK_THROWS_WITH_AS(record(c, {.tokens = 1, .max_images = 1}), doctest::Contains("takes 2"),
                       Error);
  c.resampler.queries = 0;
  CHECK_THROWS_WITH_AS(record(c, kShape), doctest::Contains("no encoder"), Error);
  PackShape text{.tokens = 24, .max_documents = 3};
  RecordedGraph eval = record_packed_evaluation({c, text, {}});
  CHECK_FALSE(eval.graph->find("images").defined());
  CHECK_FALSE(eval.graph->find("slots").defined());
}

}  // namespace
}  // namespace fusec::models
