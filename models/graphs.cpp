// A config to recorded graphs for training, evaluation and captioning; see graphs.h.
#include "fusec/models/graphs.h"

#include <algorithm>
#include <charconv>

#include "fusec/base/nearest.h"
#include "fusec/models/vision_gpt.h"

namespace fusec::models {
namespace {

const std::vector<std::string> kModules = {"vision",    "resampler", "projector",
                                           "embedding", "trunk",     "head"};
constexpr const char* kLora = "lora";

Tensor image_input(Graph& graph, const VisionGptConfig& c, int64_t rows) {
  return graph.input("images", {rows, 3, c.vision.image, c.vision.image});
}

// Everything from inputs to the summed loss, as training and evaluation share it.
LossSum record_loss(Graph& graph, const VisionGptConfig& config, int64_t rows, double smoothing) {
  config.check();
  Tensor images = config.text_only() ? Tensor() : image_input(graph, config, rows);
  Tensor tokens = graph.input("tokens", {rows, config.sequence}, i32);
  Tensor targets = graph.input("targets", {rows, config.sequence}, i32);
  auto loss = [&](const TextTrunk& trunk, const Tensor& hidden) {
    return token_loss(trunk.logits(hidden), reshape(targets, {rows * config.sequence}), smoothing);
  };
  if (config.text_only()) {
    TextTrunk trunk(graph, config);
    return loss(trunk, trunk.hidden(tokens));
  }
  Tensor slots = graph.input("slots", {rows * config.resampler.queries}, i32);
  ImageTower tower(graph, config);
  TextTrunk trunk(graph, config);
  return loss(trunk, trunk.hidden(tokens, slots, tower(images)));
}

// K of "last:K".
int64_t parse_last(const std::string& item, int64_t layers) {
  std::string digits = item.substr(5);
  int64_t count = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  bool whole = error == std::errc() && end == digits.data() + digits.size();
  if (!whole || count < 1 || count > layers) {
    int64_t nearest_count = whole ? std::clamp<int64_t>(count, 1, layers) : layers;
    fail_user("cannot train \"" + item + "\": the trunk has " + std::to_string(layers) +
              " blocks (did you mean \"last:" + std::to_string(nearest_count) + "\"?)");
  }
  return count;
}

bool selected(const std::string& name, const std::vector<std::string>& items,
              const VisionGptConfig& config) {
  for (const std::string& item : items) {
    if (item == "all") return true;
    if (item == kLora && is_lora(name)) return true;
    if (name.compare(0, item.size() + 1, item + ".") == 0) return true;
    if (item.compare(0, 5, "last:") != 0) continue;
    for (int64_t i = config.layers - parse_last(item, config.layers); i < config.layers; ++i) {
      std::string block = "trunk." + std::to_string(i) + ".";
      if (name.compare(0, block.size(), block) == 0) return true;
    }
  }
  return false;
}

// LoRA stands for the trunk's weights, which stay as they are.
void check_lora_items(const std::vector<std::string>& items, bool lora) {
  bool named = std::find(items.begin(), items.end(), kLora) != items.end();
  if (named && !lora)
    fail_user("cannot train \"lora\": the model has no LoRA; give it a rank above 0");
  if (!lora) return;
  for (const std::string& item : items) {
    if (item == "all" || item == "trunk" || item.starts_with("last:"))
      fail_user("cannot train \"" + item +
                "\" of a model with LoRA, which keeps the trunk's "
                "weights as they are; name \"lora\", and other modules if they are to be trained");
  }
  if (!named)
    fail_user("the model has LoRA, and nothing trains it; add \"lora\" to what is trained");
}

std::vector<std::string> parse_selection(const VisionGptConfig& config,
                                         const std::string& selection, bool lora) {
  std::vector<std::string> items;
  for (size_t begin = 0; begin <= selection.size();) {
    size_t end = std::min(selection.find(',', begin), selection.size());
    items.push_back(selection.substr(begin, end - begin));
    begin = end + 1;
  }
  std::vector<std::string> known = kModules;
  known.insert(known.begin(), "all");
  known.push_back(kLora);
  for (const std::string& item : items) {
    if (item.compare(0, 5, "last:") == 0) {
      parse_last(item, config.layers);
      continue;
    }
    if (item == "head" && config.tied_head)
      fail_user(
          "cannot train \"head\": in this model its weight is the embedding's (tied_head), "
          "name \"embedding\" instead");
    if (std::find(known.begin(), known.end(), item) != known.end()) continue;
    std::vector<std::string> offered = known;
    offered.push_back("last:1");
    fail_user("cannot train \"" + item + "\"" + suggest(item, offered));
  }
  check_lora_items(items, lora);
  return items;
}

}  // namespace

void check_selection(const VisionGptConfig& config, const std::string& selection,
                     const LoraConfig& lora) {
  lora.check();
  parse_selection(config, selection, lora.rank > 0);
}

std::vector<Tensor> trainable(Graph& graph, const VisionGptConfig& config,
                              const std::string& selection) {
  bool lora = false;
  for (const Tensor& p : graph.parameters()) lora = lora || is_lora(name_of_leaf(p));
  std::vector<std::string> items = parse_selection(config, selection, lora);
  std::vector<Tensor> chosen;
  for (const Tensor& p : graph.parameters()) {
    if (selected(name_of_leaf(p), items, config)) chosen.push_back(p);
  }
  return chosen;
}

RecordedGraph record_training_step(const VisionGptConfig& config, int64_t rows,
                                   const std::string& train, const AdamWOptions& options) {
  auto graph = std::make_unique<Graph>();
  Tensor loss = record_loss(*graph, config, rows, config.label_smoothing).mean();
  std::vector<Tensor> params = trainable(*graph, config, train);
  graph->guard(loss);
  Tensor norm = adamw(*graph, params, grad(loss, params), options);
  return {std::move(graph), {{"loss", loss}, {"grad_norm", norm}}};
}

RecordedGraph record_evaluation(const VisionGptConfig& config, int64_t rows) {
  auto graph = std::make_unique<Graph>();
  LossSum loss = record_loss(*graph, config, rows, 0);
  return {std::move(graph), {{"loss_sum", loss.sum}, {"count", loss.count}}};
}

RecordedGraph record_encoder(const VisionGptConfig& config, int64_t rows) {
  config.check();
  if (config.text_only()) fail_internal("a model of text alone has no encoder to record");
  auto graph = std::make_unique<Graph>();
  ImageTower tower(*graph, config);
  Tensor image_rows = tower(image_input(*graph, config, rows));
  return {std::move(graph), {{"image_rows", image_rows}}};
}

RecordedGraph record_decoder(const VisionGptConfig& config, int64_t rows) {
  config.check();
  auto graph = std::make_unique<Graph>();
  int64_t slot_count = rows * config.resampler.queries;
  Tensor tokens = graph->input("tokens", {rows, config.sequence}, i32);
  Tensor last = graph->input("last", {rows}, i32);
  Tensor slots, image_rows;
  if (!config.text_only()) {
    slots = graph->input("slots", {slot_count}, i32);
    image_rows = graph->input("image_rows", {slot_count, config.width});
  }
  TextTrunk trunk(*graph, config);
  Tensor hidden =
      config.text_only() ? trunk.hidden(tokens) : trunk.hidden(tokens, slots, image_rows);
  Tensor newest = gather(hidden, last);
  return {std::move(graph), {{"logits", trunk.logits(newest)}}};
}

}  // namespace fusec::models
