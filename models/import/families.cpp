// The families themselves; see families.h.
#include "families.h"

#include <cctype>
#include <optional>
#include <string_view>

namespace fusec::models {
namespace {

const std::vector<NameRow>& decoder_names() {
  static const std::vector<NameRow> rows = {
      {"embedding.weight", "model.embed_tokens.weight", "token_embd.weight"},
      {"head.weight", "lm_head.weight", "output.weight"},
      {"trunk.norm.weight", "model.norm.weight", "output_norm.weight"},
      {"trunk.#.norm1.weight", "model.layers.#.input_layernorm.weight", "blk.#.attn_norm.weight"},
      {"trunk.#.attn.q.weight", "model.layers.#.self_attn.q_proj.weight", "blk.#.attn_q.weight",
       Layout::rotary},
      {"trunk.#.attn.k.weight", "model.layers.#.self_attn.k_proj.weight", "blk.#.attn_k.weight",
       Layout::rotary},
      {"trunk.#.attn.v.weight", "model.layers.#.self_attn.v_proj.weight", "blk.#.attn_v.weight"},
      {"trunk.#.attn.q.bias", "model.layers.#.self_attn.q_proj.bias", "blk.#.attn_q.bias",
       Layout::rotary},
      {"trunk.#.attn.k.bias", "model.layers.#.self_attn.k_proj.bias", "blk.#.attn_k.bias",
       Layout::rotary},
      {"trunk.#.attn.v.bias", "model.layers.#.self_attn.v_proj.bias", "blk.#.attn_v.bias"},
      {"trunk.#.attn.out.weight", "model.layers.#.self_attn.o_proj.weight",
       "blk.#.attn_output.weight"},
      {"trunk.#.attn.q_norm.weight", "model.layers.#.self_attn.q_norm.weight",
       "blk.#.attn_q_norm.weight"},
      {"trunk.#.attn.k_norm.weight", "model.layers.#.self_attn.k_norm.weight",
       "blk.#.attn_k_norm.weight"},
      {"trunk.#.norm2.weight", "model.layers.#.post_attention_layernorm.weight",
       "blk.#.ffn_norm.weight"},
      {"trunk.#.mlp.gate.weight", "model.layers.#.mlp.gate_proj.weight", "blk.#.ffn_gate.weight"},
      {"trunk.#.mlp.up.weight", "model.layers.#.mlp.up_proj.weight", "blk.#.ffn_up.weight"},
      {"trunk.#.mlp.down.weight", "model.layers.#.mlp.down_proj.weight", "blk.#.ffn_down.weight"},
  };
  return rows;
}

// Without the "vision_model." that most files have in front.
const std::vector<NameRow>& tower_names() {
  static const std::vector<NameRow> rows = [] {
    std::vector<NameRow> all = {
        {"vision.patch.weight", "embeddings.patch_embedding.weight", nullptr, Layout::flat},
        {"vision.patch.bias", "embeddings.patch_embedding.bias", nullptr},
        {"vision.class", "embeddings.class_embedding", nullptr, Layout::flat},
        {"vision.position", "embeddings.position_embedding.weight", nullptr},
        {"vision.norm_pre.weight", "pre_layrnorm.weight", nullptr},  // transformers' spelling
        {"vision.norm_pre.bias", "pre_layrnorm.bias", nullptr},
        {"vision.norm_post.weight", "post_layernorm.weight", nullptr},
        {"vision.norm_post.bias", "post_layernorm.bias", nullptr},
        {"vision.#.norm1.weight", "encoder.layers.#.layer_norm1.weight", nullptr},
        {"vision.#.norm1.bias", "encoder.layers.#.layer_norm1.bias", nullptr},
        {"vision.#.attn.q.weight", "encoder.layers.#.self_attn.q_proj.weight", nullptr},
        {"vision.#.attn.q.bias", "encoder.layers.#.self_attn.q_proj.bias", nullptr},
        {"vision.#.attn.k.weight", "encoder.layers.#.self_attn.k_proj.weight", nullptr},
        {"vision.#.attn.k.bias", "encoder.layers.#.self_attn.k_proj.bias", nullptr},
        {"vision.#.attn.v.weight", "encoder.layers.#.self_attn.v_proj.weight", nullptr},
        {"vision.#.attn.v.bias", "encoder.layers.#.self_attn.v_proj.bias", nullptr},
        {"vision.#.attn.out.weight", "encoder.layers.#.self_attn.out_proj.weight", nullptr},
        {"vision.#.attn.out.bias", "encoder.layers.#.self_attn.out_proj.bias", nullptr},
        {"vision.#.norm2.weight", "encoder.layers.#.layer_norm2.weight", nullptr},
        {"vision.#.norm2.bias", "encoder.layers.#.layer_norm2.bias", nullptr},
        {"vision.#.mlp.up.weight", "encoder.layers.#.mlp.fc1.weight", nullptr},
        {"vision.#.mlp.up.bias", "encoder.layers.#.mlp.fc1.bias", nullptr},
        {"vision.#.mlp.down.weight", "encoder.layers.#.mlp.fc2.weight", nullptr},
        {"vision.#.mlp.down.bias", "encoder.layers.#.mlp.fc2.bias", nullptr},
    };
    return all;
  }();
  return rows;
}

// Buffers that older writers stored; rope_freqs is held against the config.
const std::vector<std::string> kDecoderUnused = {"model.layers.#.self_attn.rotary_emb.inv_freq",
                                                 "rope_freqs.weight"};

Family decoder(const std::string& model_type, const std::string& architecture,
               const std::string& gguf, bool attention_bias, QkNorm qk_norm) {
  return {.model_type = model_type,
          .architecture = architecture,
          .part = ModelPart::decoder,
          .gguf = gguf,
          .rotary_pairs = gguf == "llama",
          .attention_bias = attention_bias,
          .qk_norm = qk_norm,
          .names = &decoder_names(),
          .vision = {},
          .unused = kDecoderUnused};
}

Family tower(const std::string& model_type, const std::string& architecture,
             const VitConfig& vision, std::vector<std::string> unused) {
  return {.model_type = model_type,
          .architecture = architecture,
          .part = ModelPart::vision,
          .gguf = "",
          .rotary_pairs = false,
          .attention_bias = true,
          .qk_norm = QkNorm::none,
          .names = &tower_names(),
          .vision = vision,
          .unused = std::move(unused)};
}

VitConfig clip() {
  VitConfig c{.image = 224, .patch = 32, .width = 768, .layers = 12, .heads = 12};
  c.intermediate = 3072;
  c.activation = VitActivation::quick_gelu;
  c.patch_bias = false;
  c.class_token = c.pre_norm = c.post_norm = true;
  c.pixel_mean = {0.48145466, 0.4578275, 0.40821073};
  c.pixel_std = {0.26862954, 0.26130258, 0.27577711};
  return c;
}

VitConfig siglip() {
  VitConfig c{.image = 224, .patch = 16, .width = 768, .layers = 12, .heads = 12};
  c.intermediate = 3072;
  c.norm_eps = 1e-6;
  c.post_norm = true;
  c.pixel_mean = c.pixel_std = {0.5, 0.5, 0.5};
  return c;
}

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// The number that '#' of `pattern` stands for in `name`; -1 without '#'; nothing if they differ.
std::optional<int64_t> layer_in(std::string_view pattern, std::string_view name) {
  const size_t mark = pattern.find('#');
  if (mark == std::string_view::npos) {
    return pattern == name ? std::optional<int64_t>(-1) : std::nullopt;
  }
  if (name.substr(0, mark) != pattern.substr(0, mark)) return std::nullopt;
  size_t end = mark;
  int64_t layer = 0;
  while (end < name.size() && end < mark + 6 && is_digit(name[end]))
    layer = 10 * layer + (name[end++] - '0');
  const bool canonical = end > mark && (name[mark] != '0' || end == mark + 1);
  if (!canonical || name.substr(end) != pattern.substr(mark + 1)) return std::nullopt;
  return layer;
}

}  // namespace

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
      decoder("llama", "LlamaForCausalLM", "llama", false, QkNorm::none),
      decoder("mistral", "MistralForCausalLM", "", false, QkNorm::none),
      decoder("qwen2", "Qwen2ForCausalLM", "qwen2", true, QkNorm::none),
      decoder("qwen3", "Qwen3ForCausalLM", "qwen3", false, QkNorm::before_rope),
      tower("clip_vision_model", "CLIPVisionModel", clip(),
            {"embeddings.position_ids", "text_model.*", "visual_projection.weight",
             "text_projection.weight", "logit_scale"}),
      tower("siglip_vision_model", "SiglipVisionModel", siglip(),
            {"embeddings.position_ids", "head.*", "text_model.*", "logit_scale", "logit_bias"}),
  };
  return all;
}

const Family* find_family(const std::string& model_type) {
  for (const Family& family : families())
    if (family.model_type == model_type) return &family;
  return nullptr;
}

const Family* find_gguf_family(const std::string& architecture) {
  for (const Family& family : families())
    if (!family.gguf.empty() && family.gguf == architecture) return &family;
  return nullptr;
}

NamePlace place_of(const Family& family, const std::string& name) {
  for (const NameRow& row : *family.names)
    if (const std::optional<int64_t> layer = layer_in(row.ours, name)) return {&row, *layer};
  return {};
}

std::string at_layer(const char* pattern, int64_t layer) {
  std::string name = pattern;
  const size_t mark = name.find('#');
  if (mark != std::string::npos) name.replace(mark, 1, std::to_string(layer));
  return name;
}

bool fits(const std::string& pattern, const std::string& name) {
  if (pattern.ends_with('*')) return name.starts_with(pattern.substr(0, pattern.size() - 1));
  return layer_in(pattern, name).has_value();
}

}  // namespace fusec::models
