// A config to config.json; see config_json.h.
#include "config_json.h"
#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

using Json = nlohmann::ordered_json;

// What of a decoder's config no family has; "" if one has it all.
std::string strange_in_decoder(const VisionGptConfig& c) {
  if (!c.text_only()) return "pictures";
  if (c.softcap > 0) return "softcap";
  if (c.embedding_norm) return "embedding_norm";
  if (!c.weighted_norms) return "norms without weights";
  if (c.qk_norm == QkNorm::after_rope) return "norms of heads behind the rotary positions";
  if (c.attention_bias && c.qk_norm != QkNorm::none) return "biases and norms of heads at once";
  return "";
}

bool same_structure(const VitConfig& a, const VitConfig& b) {
  return a.patch_bias == b.patch_bias && a.class_token == b.class_token &&
         a.pre_norm == b.pre_norm && a.post_norm == b.post_norm;
}

Json rope_json(const VisionGptConfig& c) {
  Json rope = Json::object();
  const RopeScaling& s = c.rope_scaling;
  if (s.kind == RopeScaling::Kind::none) return nullptr;
  const bool linear = s.kind == RopeScaling::Kind::linear;
  rope["rope_type"] = linear ? "linear" : "llama3";
  rope["factor"] = s.factor;
  if (linear) return rope;
  rope["low_freq_factor"] = s.low_freq_factor;
  rope["high_freq_factor"] = s.high_freq_factor;
  rope["original_max_position_embeddings"] = s.original_context;
  return rope;
}

Json decoder_json(const Family& family, const VisionGptConfig& c, const SpecialIds& ids) {
  Json json;
  json["vocab_size"] = c.vocab;
  json["hidden_size"] = c.width;
  json["intermediate_size"] = c.intermediate;
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["num_key_value_heads"] = c.kv_heads;
  json["head_dim"] = c.head_dim;
  json["hidden_act"] = "silu";
  json["max_position_embeddings"] = c.sequence;
  json["rms_norm_eps"] = c.norm_eps;
  json["rope_theta"] = c.rope_theta;
  json["rope_scaling"] = rope_json(c);
  json["tie_word_embeddings"] = c.tied_head;
  if (family.model_type == "llama" || family.model_type == "qwen3") json["attention_bias"] = false;
  if (family.model_type == "llama") json["mlp_bias"] = false;
  if (family.model_type.starts_with("qwen")) json["use_sliding_window"] = false;
  if (family.model_type == "mistral") json["sliding_window"] = nullptr;
  json["bos_token_id"] = ids.bos ? Json(*ids.bos) : Json();
  json["eos_token_id"] = ids.eos.empty()       ? Json()
                         : ids.eos.size() == 1 ? Json(ids.eos[0])
                                               : Json(ids.eos);
  json["pad_token_id"] = ids.pad ? Json(*ids.pad) : Json();
  return json;
}

const char* name_of(VitActivation activation) {
  switch (activation) {
    case VitActivation::gelu_tanh: return "gelu_pytorch_tanh";
    case VitActivation::gelu_erf: return "gelu";
    case VitActivation::quick_gelu: return "quick_gelu";
  }
  return "";
}

Json tower_json(const Family& family, const VitConfig& c) {
  Json json;
  json["image_size"] = c.image;
  json["patch_size"] = c.patch;
  json["num_channels"] = 3;
  json["hidden_size"] = c.width;
  json["intermediate_size"] = c.hidden();
  json["num_hidden_layers"] = c.layers;
  json["num_attention_heads"] = c.heads;
  json["hidden_act"] = name_of(c.activation);
  json["layer_norm_eps"] = c.norm_eps;
  if (family.model_type == "siglip_vision_model") json["vision_use_head"] = false;
  return json;
}

}  // namespace

const Family& family_of(const VisionGptConfig& config, ModelPart part, const std::string& name) {
  if (part == ModelPart::vision) {
    for (const Family& family : families())
      if (family.part == part && same_structure(family.vision, config.vision)) return family;
    fail_unsupported(name +
                     ": an encoder with this class token, patch bias and norms is neither "
                     "CLIP's nor SigLIP's; no other family is written");
  }
  const std::string strange = strange_in_decoder(config);
  if (!strange.empty())
    fail_unsupported(
        name + ": the model has " + strange +
        ", which no family of Hugging Face transformers that is written here computes");
  // Two families may compute the same: the one it was imported from, then.
  const Family* found = nullptr;
  for (const Family& family : families()) {
    if (family.part != ModelPart::decoder || family.attention_bias != config.attention_bias ||
        family.qk_norm != config.qk_norm)
      continue;
    if (!found || family.model_type == config.name) found = &family;
  }
  if (!found) fail_internal("no family for a config that strange_in_decoder() passed");
  return *found;
}

std::string config_json(const Family& family, const VisionGptConfig& config, const SpecialIds& ids,
                        const std::string& dtype) {
  Json json;
  json["architectures"] = {family.architecture};
  json["model_type"] = family.model_type;
  json["torch_dtype"] = dtype;
  json.update(family.part == ModelPart::vision ? tower_json(family, config.vision)
                                               : decoder_json(family, config, ids));
  return json.dump(2) + "\n";
}

std::string preprocessor_json(const Family& family, const VitConfig& vision) {
  const bool clip = family.model_type == "clip_vision_model";
  Json json;
  json["image_processor_type"] = clip ? "CLIPImageProcessor" : "SiglipImageProcessor";
  json["do_rescale"] = true;
  json["rescale_factor"] = 1.0 / 255;
  json["do_normalize"] = true;
  json["image_mean"] = vision.pixel_mean;
  json["image_std"] = vision.pixel_std;
  json["do_resize"] = true;
  const Json square = {{"height", vision.image}, {"width", vision.image}};
  json["size"] = clip ? Json{{"shortest_edge", vision.image}} : square;
  json["do_center_crop"] = clip;
  if (clip) json["crop_size"] = square;
  return json.dump(2) + "\n";
}

}  // namespace fusec::models
