// The text half of the vision-GPT: tokens and image rows to logits and loss; see vision_gpt.h.
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

TextTrunk::Block::Block(Graph& graph, const VisionGptConfig& c)
    : norm1(graph, "norm1", c.width, c.weighted_norms, c.norm_eps),
      q(in_scope<Linear>(graph, "attn", "q", c.width, c.heads * c.head_dim, c.attention_bias)),
      k(in_scope<Linear>(graph, "attn", "k", c.width, c.kv_heads * c.head_dim, c.attention_bias)),
      v(in_scope<Linear>(graph, "attn", "v", c.width, c.kv_heads * c.head_dim, c.attention_bias)),
      out(in_scope<Linear>(graph, "attn", "out", c.heads * c.head_dim, c.width, false)),
      q_norm(in_scope<RmsNorm>(graph, "attn", "q_norm", c.head_dim,
                               c.qk_norm == QkNorm::before_rope, c.norm_eps)),
      k_norm(in_scope<RmsNorm>(graph, "attn", "k_norm", c.head_dim,
                               c.qk_norm == QkNorm::before_rope, c.norm_eps)),
      norm2(graph, "norm2", c.width, c.weighted_norms, c.norm_eps),
      gate(in_scope<Linear>(graph, "mlp", "gate", c.width, c.intermediate, false)),
      up(in_scope<Linear>(graph, "mlp", "up", c.width, c.intermediate, false)),
      down(in_scope<Linear>(graph, "mlp", "down", c.intermediate, c.width, false)) {}

TextTrunk::TextTrunk(Graph& graph, const VisionGptConfig& config)
    : config_(config),
      embedding_(graph, "embedding", config.vocab, config.width),
      norm_(in_scope<RmsNorm>(graph, "trunk", "norm", config.width, config.weighted_norms,
                              config.norm_eps)),
      head_(config.tied_head ? embedding_.weight
                             : Linear(graph, "head", config.width, config.vocab, false).weight) {
  ScopeGuard scope(graph, "trunk");
  blocks_.reserve(config.layers);
  for (int64_t i = 0; i < config.layers; ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    blocks_.emplace_back(graph, config);
  }
}

Tensor TextTrunk::attend(const Block& block, const Tensor& x, const Tensor& cosines,
                         const Tensor& sines) const {
  auto heads = [&](const Tensor& t, int64_t count) {
    return reshape(t, {x.size(0), x.size(1), count, config_.head_dim});
  };
  Tensor normed = block.norm1(x);
  Tensor q = heads(block.q(normed), config_.heads);
  Tensor k = heads(block.k(normed), config_.kv_heads);
  Tensor v = heads(block.v(normed), config_.kv_heads);
  if (config_.qk_norm == QkNorm::before_rope) q = block.q_norm(q), k = block.k_norm(k);
  q = rope(q, cosines, sines);
  k = rope(k, cosines, sines);
  if (config_.qk_norm == QkNorm::after_rope) q = block.q_norm(q), k = block.k_norm(k);
  Tensor mixed = attention(q, k, v);
  return block.out(reshape(mixed, {x.size(0), x.size(1), config_.heads * config_.head_dim}));
}

Tensor TextTrunk::embed(const Tensor& tokens) const {
  return embedding_(reshape(tokens, {tokens.size(0) * tokens.size(1)}));
}

Tensor TextTrunk::normed_input(const Tensor& embedded) const {
  return config_.embedding_norm ? rms_norm(embedded, config_.norm_eps) : embedded;
}

Tensor TextTrunk::hidden(const Tensor& tokens, const Tensor& slots,
                         const Tensor& image_rows) const {
  Tensor x;
  {
    ScopeGuard scope(tokens.graph(), "embedding");
    // The norm comes after the scatter, so that words and picture rows enter at one scale.
    x = normed_input(scatter(embed(tokens), slots, image_rows));
  }
  return run_blocks(tokens, x);
}

Tensor TextTrunk::hidden(const Tensor& tokens) const {
  Tensor x;
  {
    ScopeGuard scope(tokens.graph(), "embedding");
    x = normed_input(embed(tokens));
  }
  return run_blocks(tokens, x);
}

Tensor TextTrunk::run_blocks(const Tensor& tokens, const Tensor& embedded) const {
  Graph& graph = tokens.graph();
  int64_t rows = tokens.size(0), length = tokens.size(1), width = config_.width;
  ScopeGuard scope(graph, "trunk");
  Tensor x = stream(reshape(embedded, {rows, length, width}), config_.bf16_stream);
  auto [cosines, sines] = rope_tables(graph, length, config_.head_dim, config_.rope_theta,
                                      config_.rope_scaling);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    const Block& block = blocks_[i];
    {
      ScopeGuard part(graph, "attn");
      x = stream(x + attend(block, x, cosines, sines), config_.bf16_stream);
    }
    ScopeGuard part(graph, "mlp");
    Tensor normed = block.norm2(x);
    x = stream(x + block.down(swiglu(block.gate(normed), block.up(normed))),
               config_.bf16_stream);
  }
  return norm_(reshape(x, {rows * length, width}));
}

Tensor TextTrunk::logits(const Tensor& hidden) const {
  ScopeGuard scope(hidden.graph(), "head");
  Tensor z = cast(linear(hidden, head_), f32);
  return config_.softcap > 0 ? softcap(z, config_.softcap) : z;
}

Tensor LossSum::mean() const { return sum / maximum(count, 1.0); }

LossSum token_loss(const Tensor& logits, const Tensor& targets, double smoothing) {
  ScopeGuard scope(logits.graph(), "loss");
  Tensor losses = cross_entropy(logits, targets, {.smoothing = smoothing});
  Tensor supervised = targets >= 0.0;
  return {sum(losses), sum(cast(supervised, f32))};
}

std::vector<ModuleCount> count_parameters(Graph& graph) {
  std::vector<ModuleCount> counts;
  for (const Tensor& p : graph.parameters()) {
    const std::string& name = name_of_leaf(p);
    std::string module = name.substr(0, name.find('.'));
    auto it = counts.begin();
    while (it != counts.end() && it->module != module) ++it;
    if (it == counts.end()) it = counts.insert(it, {module});
    it->tensors += 1;
    it->parameters += numel(p.shape());
  }
  return counts;
}

}  // namespace fusec::models
