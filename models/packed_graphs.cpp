// A config to recorded graphs over packs; see packed_graphs.h.
#include "fusec/models/packed_graphs.h"

#include <algorithm>

#include "fusec/models/vision_gpt.h"

namespace fusec::models {
namespace {

constexpr std::string_view kGradient = ".grad";

void require(bool ok, const std::string& what) {
  if (!ok) fail_user("pack shape: " + what);
}

void check(const PackedModel& model) {
  model.config.check();
  model.shape.check(model.config);
  model.lora.check();
}

// The pack's inputs and the parts of the model, in the order in which graphs.cpp records them: the
// order of parameters is part of a checkpoint.
struct Recorded {
  explicit Recorded(const PackedModel& model) : graph(std::make_unique<Graph>()) {
    check(model);
    Graph& g = *graph;
    const VisionGptConfig& c = model.config;
    const PackShape& s = model.shape;
    pack.tokens = g.input("tokens", {s.tokens}, i32);
    pack.positions = g.input("positions", {s.tokens}, i32);
    pack.cu_seqlens = g.input("cu_seqlens", {s.max_documents + 1}, i32);
    if (!c.text_only()) {
      Tensor images = g.input("images", {s.max_images, 3, c.vision.image, c.vision.image});
      pack.slots = g.input("slots", {s.max_images * c.resampler.queries}, i32);
      pack.image_rows = ImageTower(g, c)(images);
    }
    TextTrunk trunk(g, c, {.lora = model.lora});
    logits = trunk.logits(trunk.hidden(pack));
  }

  LossSum loss(double smoothing) {
    Tensor targets = graph->input("targets", {logits.size(0)}, i32);
    return token_loss(logits, targets, smoothing);
  }

  std::unique_ptr<Graph> graph;
  PackedTokens pack;
  Tensor logits;
};

Tensor gradient_state(Graph& graph, const Tensor& parameter) {
  return graph.state(name_of_leaf(parameter) + std::string(kGradient), parameter.shape());
}

}  // namespace

void PackShape::check(const VisionGptConfig& config) const {
  require(tokens > 0, "tokens is " + std::to_string(tokens) + ", expected 1 or more");
  require(max_documents > 0,
          "max_documents is " + std::to_string(max_documents) + ", expected 1 or more");
  if (config.text_only()) {
    require(max_images == 0, "max_images is " + std::to_string(max_images) +
                                 ", expected 0: the model has no encoder of images");
    return;
  }
  require(max_images > 0, "max_images is " + std::to_string(max_images) +
                              ", expected 1 or more: the model has an encoder of images; for text "
                              "alone set resampler.queries to 0");
  require(config.resampler.queries <= tokens, "an image takes " +
                                                  std::to_string(config.resampler.queries) +
                                                  " tokens, a pack has " + std::to_string(tokens));
}

RecordedGraph record_packed_training_step(const PackedModel& model, const std::string& train,
                                          const AdamWOptions& options) {
  Recorded r(model);
  LossSum loss = r.loss(model.config.label_smoothing);
  Tensor mean = loss.mean();
  std::vector<Tensor> params = trainable(*r.graph, model.config, train);
  r.graph->guard(mean);
  Tensor norm = adamw(*r.graph, params, grad(mean, params), options);
  return {std::move(r.graph),
          {{"loss", mean}, {"loss_sum", loss.sum}, {"count", loss.count}, {"grad_norm", norm}}};
}

RecordedGraph record_packed_accumulation(const PackedModel& model, const std::string& train) {
  Recorded r(model);
  LossSum loss = r.loss(model.config.label_smoothing);
  std::vector<Tensor> params = trainable(*r.graph, model.config, train);
  std::vector<Tensor> grads = grad(loss.sum, params);
  for (size_t i = 0; i < params.size(); ++i) {
    Tensor state = gradient_state(*r.graph, params[i]);
    r.graph->assign(state, state + cast(grads[i], f32));
  }
  return {std::move(r.graph), {{"loss_sum", loss.sum}, {"count", loss.count}}};
}

RecordedGraph record_packed_update(const PackedModel& model, const std::string& train,
                                   const AdamWOptions& options) {
  check(model);
  auto graph = std::make_unique<Graph>();
  if (!model.config.text_only()) ImageTower(*graph, model.config);
  TextTrunk(*graph, model.config, {.lora = model.lora});
  std::vector<Tensor> params = trainable(*graph, model.config, train), grads;
  Tensor share = reciprocal(maximum(graph->input("count", {}), 1.0));
  for (const Tensor& p : params) {
    Tensor state = gradient_state(*graph, p);
    grads.push_back(state * share);
    graph->assign(state, graph->constant(0.0, p.shape()));
  }
  Tensor norm = adamw(*graph, params, grads, options);
  return {std::move(graph), {{"grad_norm", norm}}};
}

RecordedGraph record_packed_evaluation(const PackedModel& model) {
  Recorded r(model);
  LossSum loss = r.loss(0);
  return {std::move(r.graph), {{"loss_sum", loss.sum}, {"count", loss.count}}};
}

RecordedGraph record_packed_logits(const PackedModel& model) {
  Recorded r(model);
  return {std::move(r.graph), {{"logits", r.logits}}};
}

void clear_gradients(LoadedPlan& model) {
  std::vector<LoadedPlan::Fill> fills;
  for (const PlanBuffer& b : model.plan().buffers) {
    if (b.cls != BufferClass::state || !is_gradient_state(b.name)) continue;
    fills.push_back({b.name, [](int64_t, int64_t bytes, void* out) {
                       std::fill_n(static_cast<char*>(out), bytes, '\0');
                     }});
  }
  model.fill(fills);
}

bool is_gradient_state(const std::string& state) { return state.ends_with(kGradient); }

}  // namespace fusec::models
