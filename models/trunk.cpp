// The text half of the vision-GPT: tokens and image rows to logits and loss; see vision_gpt.h.
#include "fusec/models/vision_gpt.h"

namespace fusec::models {

namespace {

LinearOptions linear_options(const TrunkOptions& o, const char* name) {
  if (!o.lora.has(name)) return {.weight = o.weights};
  return {.weight = o.weights, .lora_rank = o.lora.rank, .lora_scale = o.lora.scale()};
}

Linear linear_in(Graph& graph, const char* scope, const char* name, int64_t in, int64_t out,
                 bool with_bias, const TrunkOptions& o) {
  return in_scope<Linear>(graph, scope, name, in, out, with_bias, linear_options(o, name));
}

RmsNorm head_norm(Graph& graph, const char* name, const VisionGptConfig& c) {
  bool weighted = c.qk_norm == QkNorm::before_rope;
  return in_scope<RmsNorm>(graph, "attn", name, c.head_dim, weighted, c.norm_eps);
}

}  // namespace

TextTrunk::Block::Block(Graph& graph, const VisionGptConfig& c, const TrunkOptions& o)
    : norm1(graph, "norm1", c.width, c.weighted_norms, c.norm_eps),
      q(linear_in(graph, "attn", "q", c.width, c.heads * c.head_dim, c.attention_bias, o)),
      k(linear_in(graph, "attn", "k", c.width, c.kv_heads * c.head_dim, c.attention_bias, o)),
      v(linear_in(graph, "attn", "v", c.width, c.kv_heads * c.head_dim, c.attention_bias, o)),
      out(linear_in(graph, "attn", "out", c.heads * c.head_dim, c.width, false, o)),
      q_norm(head_norm(graph, "q_norm", c)),
      k_norm(head_norm(graph, "k_norm", c)),
      norm2(graph, "norm2", c.width, c.weighted_norms, c.norm_eps),
      gate(linear_in(graph, "mlp", "gate", c.width, c.intermediate, false, o)),
      up(linear_in(graph, "mlp", "up", c.width, c.intermediate, false, o)),
      down(linear_in(graph, "mlp", "down", c.intermediate, c.width, false, o)) {}

TextTrunk::TextTrunk(Graph& graph, const VisionGptConfig& config, const TrunkOptions& options)
    : config_(config),
      embedding_(graph, "embedding", config.vocab, config.width, options.weights),
      norm_(in_scope<RmsNorm>(graph, "trunk", "norm", config.width, config.weighted_norms,
                              config.norm_eps)),
      head_(config.tied_head ? embedding_.weight
                             : Linear(graph, "head", config.width, config.vocab, false,
                                      {.weight = options.weights})
                                   .weight) {
  options.lora.check();
  ScopeGuard scope(graph, "trunk");
  blocks_.reserve(config.layers);
  for (int64_t i = 0; i < config.layers; ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    blocks_.emplace_back(graph, config, options);
  }
}

Tensor TextTrunk::attend(size_t layer, const Tensor& x, const RopeTables& tables,
                         const Mix& mix) const {
  const Block& block = blocks_[layer];
  auto heads = [&](const Tensor& t, int64_t count) {
    return reshape(t, {x.size(0), x.size(1), count, config_.head_dim});
  };
  Tensor normed = block.norm1(x);
  Tensor q = heads(block.q(normed), config_.heads);
  Tensor k = heads(block.k(normed), config_.kv_heads);
  Tensor v = heads(block.v(normed), config_.kv_heads);
  if (config_.qk_norm == QkNorm::before_rope) q = block.q_norm(q), k = block.k_norm(k);
  q = rope(q, tables.cosines, tables.sines);
  k = rope(k, tables.cosines, tables.sines);
  if (config_.qk_norm == QkNorm::after_rope) q = block.q_norm(q), k = block.k_norm(k);
  Tensor mixed = mix(layer, q, k, v);
  return block.out(reshape(mixed, {x.size(0), x.size(1), config_.heads * config_.head_dim}));
}

Tensor TextTrunk::embed(const Tensor& tokens, const Tensor& slots, const Tensor& image_rows) const {
  ScopeGuard scope(tokens.graph(), "embedding");
  Tensor x = embedding_(tokens);
  if (slots.defined()) x = scatter(x, slots, image_rows);
  // The norm comes after the scatter, so that words and picture rows enter at one scale.
  return config_.embedding_norm ? rms_norm(x, config_.norm_eps) : x;
}

Tensor TextTrunk::hidden(const Tensor& tokens, const Tensor& slots,
                         const Tensor& image_rows) const {
  int64_t rows = tokens.size(0), length = tokens.size(1);
  Tensor x = embed(reshape(tokens, {rows * length}), slots, image_rows);
  auto [cosines, sines] = rope_tables(tokens.graph(), length, config_.head_dim, config_.rope_theta,
                                      config_.rope_scaling);
  return run_blocks(
      reshape(x, {rows, length, config_.width}), {cosines, sines},
      [](size_t, const Tensor& q, const Tensor& k, const Tensor& v) { return attention(q, k, v); });
}

Tensor TextTrunk::hidden(const Tensor& tokens) const { return hidden(tokens, {}, {}); }

TextTrunk::RopeTables TextTrunk::turned(const Tensor& positions) const {
  auto [cosines, sines] = rope_tables(positions.graph(), config_.sequence, config_.head_dim,
                                      config_.rope_theta, config_.rope_scaling);
  auto rows = [&](const Tensor& table) { return unsqueeze(gather(table, positions), 0); };
  return {rows(cosines), rows(sines)};
}

Tensor TextTrunk::hidden(const PackedTokens& pack) const {
  Tensor x = embed(pack.tokens, pack.slots, pack.image_rows);
  AttentionOptions options;
  options.cu_seqlens = pack.cu_seqlens;
  return run_blocks(unsqueeze(x, 0), turned(pack.positions),
                    [&](size_t, const Tensor& q, const Tensor& k, const Tensor& v) {
                      return attention(q, k, v, options);
                    });
}

Tensor TextTrunk::hidden(CachedTokens& cached) const {
  Tensor x = embed(cached.tokens, cached.slots, cached.image_rows);
  const int64_t page_size = cached.pages[0].k.size(1);
  const DType held = cached.pages[0].k.dtype();
  Tensor rows = paged_rows(cached.positions, cached.page_table, page_size, cached.sequences);
  return run_blocks(unsqueeze(x, 0), turned(cached.positions),
                    [&](size_t layer, const Tensor& q, const Tensor& k, const Tensor& v) {
                      auto row_of_heads = [&](const Tensor& t) {
                        return cast(reshape(t, {t.size(1), t.size(2), t.size(3)}), held);
                      };
                      PagedKv& pages = cached.pages[layer];
                      pages = append_kv(row_of_heads(k), row_of_heads(v), pages, rows);
                      PagedAttentionOptions options;
                      options.cu_q = cached.cu_q;
                      Tensor mixed = paged_attention(row_of_heads(q), pages.k, pages.v,
                                                     cached.page_table, cached.lengths, options);
                      return cast(unsqueeze(mixed, 0), f32);
                    });
}

Tensor TextTrunk::run_blocks(const Tensor& embedded, const RopeTables& tables,
                             const Mix& mix) const {
  Graph& graph = embedded.graph();
  ScopeGuard scope(graph, "trunk");
  Tensor x = stream(embedded, config_.bf16_stream);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    ScopeGuard layer(graph, std::to_string(i));
    const Block& block = blocks_[i];
    {
      ScopeGuard part(graph, "attn");
      x = stream(x + attend(i, x, tables, mix), config_.bf16_stream);
    }
    ScopeGuard part(graph, "mlp");
    Tensor normed = block.norm2(x);
    x = stream(x + block.down(swiglu(block.gate(normed), block.up(normed))),
               config_.bf16_stream);
  }
  return norm_(reshape(x, {x.size(0) * x.size(1), config_.width}));
}

Tensor TextTrunk::logits(const Tensor& hidden) const {
  ScopeGuard scope(hidden.graph(), "head");
  Tensor z = linear(hidden, cast(head_, f32));
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
