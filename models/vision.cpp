// The image half of the vision-GPT: pixels to one row an image slot; see vision_gpt.h.
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

Vit::Block::Block(Graph& graph, const VitConfig& config)
    : norm1(graph, "norm1", config.width, config.norm_eps),
      attn(in_scope<FullAttention>(graph, "attn", config.width, config.heads)),
      norm2(graph, "norm2", config.width, config.norm_eps),
      mlp(in_scope<GeluMlp>(graph, "mlp", config.width, config.hidden(), config.width,
                            config.activation)) {}

Vit::Vit(Graph& graph, const VitConfig& config)
    : config_(config),
      patch_(in_scope<Linear>(graph, "vision", "patch", 3 * config.patch * config.patch,
                              config.width, config.patch_bias)) {
  ScopeGuard scope(graph, "vision");
  if (config.class_token) class_ = graph.parameter("class", {1, config.width});
  position_ = graph.parameter("position", {config.tokens(), config.width});
  blocks_.reserve(config.layers);
  for (int64_t i = 0; i < config.layers; ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    blocks_.emplace_back(graph, config);
  }
  if (config.pre_norm) norm_pre_.emplace(graph, "norm_pre", config.width, config.norm_eps);
  if (config.post_norm) norm_post_.emplace(graph, "norm_post", config.width, config.norm_eps);
}

Tensor Vit::operator()(const Tensor& images) const {
  Graph& graph = images.graph();
  ScopeGuard scope(graph, "vision");
  int64_t batch = images.size(0), side = config_.image / config_.patch, p = config_.patch;
  Tensor seen = images;
  if (side * p < config_.image) seen = slice(slice(images, 2, 0, side * p), 3, 0, side * p);
  Tensor grid = reshape(seen, {batch, 3, side, p, side, p});
  Tensor patches = reshape(permute(grid, {0, 2, 4, 1, 3, 5}), {batch, side * side, 3 * p * p});
  Tensor x = patch_(patches);
  if (class_.defined()) x = concat({broadcast_to(class_, {batch, 1, config_.width}), x}, 1);
  x = x + position_;
  if (norm_pre_) x = (*norm_pre_)(x);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    const Block& block = blocks_[i];
    {
      ScopeGuard part(graph, "attn");
      Tensor normed = block.norm1(x);
      x = stream(x + block.attn(normed, normed), config_.bf16_stream);
    }
    ScopeGuard part(graph, "mlp");
    x = stream(x + block.mlp(block.norm2(x)), config_.bf16_stream);
  }
  return norm_post_ ? (*norm_post_)(x) : x;
}

Resampler::Block::Block(Graph& graph, const ResamplerConfig& config, int64_t width)
    : norm_query(graph, "norm_query", width),
      norm_context(graph, "norm_context", width),
      attn(in_scope<FullAttention>(graph, "attn", width, config.heads)),
      norm_mlp(graph, "norm_mlp", width),
      mlp(in_scope<GeluMlp>(graph, "mlp", width, 4 * width, width)) {}

Resampler::Resampler(Graph& graph, const ResamplerConfig& config, int64_t width)
    : norm_(in_scope<LayerNorm>(graph, "resampler", "norm", width)) {
  ScopeGuard scope(graph, "resampler");
  query_ = graph.parameter("query", {config.queries, width});
  blocks_.reserve(config.layers);
  for (int64_t i = 0; i < config.layers; ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    blocks_.emplace_back(graph, config, width);
  }
}

Tensor Resampler::operator()(const Tensor& patches) const {
  Graph& graph = patches.graph();
  ScopeGuard scope(graph, "resampler");
  Tensor x = broadcast_to(query_, {patches.size(0), query_.size(0), query_.size(1)});
  for (size_t i = 0; i < blocks_.size(); ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    const Block& block = blocks_[i];
    {
      ScopeGuard part(graph, "attn");
      x = x + block.attn(block.norm_query(x), block.norm_context(patches));
    }
    ScopeGuard part(graph, "mlp");
    x = x + block.mlp(block.norm_mlp(x));
  }
  return norm_(x);
}

ImageTower::ImageTower(Graph& graph, const VisionGptConfig& config)
    : vit_(graph, config.vision),
      resampler_(graph, config.resampler, config.vision.width),
      projector_(in_scope<GeluMlp>(graph, "projector", config.vision.width, config.projector_hidden,
                                   config.width)) {}

Tensor ImageTower::operator()(const Tensor& images) const {
  Tensor read = resampler_(vit_(images));
  ScopeGuard scope(images.graph(), "projector");
  Tensor rows = projector_(read);
  return reshape(rows, {rows.size(0) * rows.size(1), rows.size(2)});
}

}  // namespace fusec::models
