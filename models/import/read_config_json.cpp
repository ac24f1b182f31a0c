// config.json to a config; see config_json.h. Each family's reader asks for every key it knows;
// what is left over is refused by ConfigKeys::finish().
#include <algorithm>

#include "config_json.h"
#include "config_keys.h"
#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

// Objects and arrays inside each other: far more than any config has.
constexpr int kDepth = 16;

// Training, generation and bookkeeping: nothing of it changes logits of a given text.
// clang-format off: one name a line would be a page
const std::vector<std::string> kHarmless = {"_*",
                                            "architectures",
                                            "auto_map",
                                            "attention_dropout",
                                            "hidden_dropout",
                                            "dropout",
                                            "initializer_range",
                                            "initializer_factor",
                                            "transformers_version",
                                            "torch_dtype",
                                            "dtype",
                                            "use_cache",
                                            "name_or_path",
                                            "pretraining_tp",
                                            "max_window_layers",
                                            "is_llama_config",
                                            "transformers.js_config",
                                            "unsloth_fixed",
                                            "unsloth_version",
                                            "output_attentions",
                                            "output_hidden_states",
                                            "return_dict",
                                            "return_dict_in_generate",
                                            "torchscript",
                                            "pruned_heads",
                                            "chunk_size_feed_forward",
                                            "problem_type",
                                            "label2id",
                                            "id2label",
                                            "finetuning_task",
                                            "task_specific_params",
                                            "tokenizer_class",
                                            "prefix",
                                            "sep_token_id",
                                            "decoder_start_token_id",
                                            "do_sample",
                                            "early_stopping",
                                            "length_penalty",
                                            "max_length",
                                            "min_length",
                                            "no_repeat_ngram_size",
                                            "encoder_no_repeat_ngram_size",
                                            "bad_words_ids",
                                            "num_beam_groups",
                                            "num_beams",
                                            "num_return_sequences",
                                            "diversity_penalty",
                                            "exponential_decay_length_penalty",
                                            "forced_bos_token_id",
                                            "forced_eos_token_id",
                                            "output_scores",
                                            "remove_invalid_values",
                                            "repetition_penalty",
                                            "suppress_tokens",
                                            "begin_suppress_tokens",
                                            "temperature",
                                            "top_k",
                                            "top_p",
                                            "typical_p",
                                            "tie_encoder_decoder"};
// clang-format on

void refuse_other_structures(ConfigKeys& keys) {
  for (const char* key :
       {"is_encoder_decoder", "is_decoder", "add_cross_attention", "use_bfloat16", "use_mrope"})
    keys.refuse_if_on(key, "false");
  if (keys.has("cross_attention_hidden_size")) keys.refuse("cross_attention_hidden_size", "none");
  if (keys.has("quantization_config"))
    keys.refuse("quantization_config", "weights in f32, bf16 or f16, or a GGUF file");
}

RopeScaling read_scaling(ConfigKeys& rope) {
  const std::string type_key = rope.has("rope_type") ? "rope_type" : "type";
  const std::string type = rope.text(type_key, "default");
  rope.harmless({"type", "rope_type"});
  RopeScaling scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
    scaling.factor = rope.number("factor");
  } else if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::llama3;
    scaling.factor = rope.number("factor");
    scaling.low_freq_factor = rope.number("low_freq_factor");
    scaling.high_freq_factor = rope.number("high_freq_factor");
    scaling.original_context = rope.integer("original_max_position_embeddings");
  } else if (type != "default") {
    rope.refuse(type_key, "\"default\", \"linear\" or \"llama3\"");
  }
  return scaling;
}

void read_rope(ConfigKeys& keys, VisionGptConfig& c) {
  constexpr double kTheta = 10000;  // transformers' where nothing is said
  std::optional<double> theta;
  if (keys.has("rope_theta")) theta = keys.number("rope_theta");
  if (keys.number("partial_rotary_factor", 1) != 1) keys.refuse("partial_rotary_factor", "1");
  keys.refuse_if_on("rope_interleaved", "false");
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!keys.has(key)) continue;
    ConfigKeys rope = keys.object(key);
    const RopeScaling scaling = read_scaling(rope);
    if (rope.number("partial_rotary_factor", 1) != 1) rope.refuse("partial_rotary_factor", "1");
    if (rope.has("rope_theta")) {
      const double inner = rope.number("rope_theta");
      if (theta && *theta != inner)
        fail_user(keys.name() + ": \"rope_theta\" and \"" + key +
                  ".rope_theta\" differ; expected one value");
      theta = inner;
    }
    rope.finish();
    if (c.rope_scaling.kind != RopeScaling::Kind::none)
      fail_user(keys.name() +
                ": \"rope_parameters\" and \"rope_scaling\" both scale positions; "
                "expected one of them");
    c.rope_scaling = scaling;
  }
  c.rope_theta = theta.value_or(kTheta);
}

void refuse_windows(ConfigKeys& keys, const Family& family) {
  keys.refuse_if_on("use_sliding_window", "false: attention over the whole text");
  // Qwen's configs give a window that they do not use.
  const bool unused = family.model_type.starts_with("qwen");
  if (keys.has("sliding_window") && !unused)
    keys.refuse("sliding_window", "null: attention over the whole text");
  if (!keys.has("layer_types")) return;
  const nlohmann::json& types = *keys.find("layer_types");
  const bool full = types.is_array() &&
                    std::all_of(types.begin(), types.end(),
                                [](const nlohmann::json& t) { return t == "full_attention"; });
  if (!full) keys.refuse("layer_types", "\"full_attention\" in every layer");
}

VisionGptConfig read_decoder(ConfigKeys& keys, const Family& family) {
  VisionGptConfig c;
  c.name = family.model_type;
  c.resampler.queries = 0;
  c.vocab = keys.integer("vocab_size");
  c.sequence = keys.integer("max_position_embeddings");
  c.layers = keys.integer("num_hidden_layers");
  c.width = keys.integer("hidden_size");
  c.heads = keys.integer("num_attention_heads");
  c.intermediate = keys.integer("intermediate_size");
  if (c.heads <= 0)
    fail_user(keys.name() + ": \"num_attention_heads\" is " + std::to_string(c.heads) +
              ", expected a number above 0");
  // What each family's class takes where its config is silent; where it is an odd number, the key
  // must be there.
  const bool llama = family.model_type == "llama";
  c.kv_heads =
      llama ? keys.integer("num_key_value_heads", c.heads) : keys.integer("num_key_value_heads");
  c.head_dim = family.qk_norm == QkNorm::before_rope ? keys.integer("head_dim")
                                                     : keys.integer("head_dim", c.width / c.heads);
  c.norm_eps = keys.number("rms_norm_eps", 1e-6);
  c.softcap = 0;
  c.weighted_norms = true;
  c.embedding_norm = false;
  c.attention_bias = family.attention_bias;
  c.qk_norm = family.qk_norm;
  c.tied_head = keys.flag("tie_word_embeddings", false);
  read_rope(keys, c);
  refuse_windows(keys, family);
  if (keys.text("hidden_act", "silu") != "silu") keys.refuse("hidden_act", "\"silu\"");
  // In these families it gives the output projection a bias, too.
  keys.refuse_if_on("attention_bias", "false");
  keys.refuse_if_on("mlp_bias", "false");
  return c;
}

VitActivation read_activation(ConfigKeys& keys, VitActivation fallback) {
  if (!keys.has("hidden_act")) return fallback;
  const std::string text = keys.text("hidden_act");
  if (text == "gelu_pytorch_tanh" || text == "gelu_new") return VitActivation::gelu_tanh;
  if (text == "gelu") return VitActivation::gelu_erf;
  if (text == "quick_gelu") return VitActivation::quick_gelu;
  keys.refuse("hidden_act", "\"gelu\", \"gelu_pytorch_tanh\" or \"quick_gelu\"");
}

VisionGptConfig read_tower(ConfigKeys& keys, const Family& family) {
  VisionGptConfig c;
  c.name = family.model_type;
  c.resampler.queries = 0;
  c.vision = family.vision;
  VitConfig& v = c.vision;
  if (keys.integer("num_channels", 3) != 3) keys.refuse("num_channels", "3");
  v.image = keys.integer("image_size", v.image);
  v.patch = keys.integer("patch_size", v.patch);
  // A convolution without padding: what does not fill a patch is not seen.
  v.cut_edge = v.patch > 0 && v.image % v.patch != 0;
  v.width = keys.integer("hidden_size", v.width);
  v.layers = keys.integer("num_hidden_layers", v.layers);
  v.heads = keys.integer("num_attention_heads", v.heads);
  v.intermediate = keys.integer("intermediate_size", v.intermediate);
  v.norm_eps = keys.number("layer_norm_eps", v.norm_eps);
  v.activation = read_activation(keys, v.activation);
  keys.harmless({"projection_dim", "vision_use_head", "model_type"});
  return c;
}

ConfigJson read_family(ConfigKeys& keys, const Family& family) {
  refuse_other_structures(keys);
  keys.harmless(kHarmless);
  ConfigJson read;
  read.family = &family;
  read_special_ids(keys, read.ids);
  if (family.part == ModelPart::vision) {
    keys.flag("tie_word_embeddings", true);  // there are none
    read.config = read_tower(keys, family);
  } else {
    read.config = read_decoder(keys, family);
  }
  keys.finish();
  try {
    read.config.check();
  } catch (Error& error) {
    error.add_note("in " + keys.name());
    throw;
  }
  return read;
}

std::vector<std::string> known_types() {
  std::vector<std::string> known = {"clip", "siglip"};
  for (const Family& family : families()) known.push_back(family.model_type);
  return known;
}

}  // namespace

void read_special_ids(ConfigKeys& keys, SpecialIds& ids) {
  auto id = [&](const nlohmann::json& value, const char* key) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX)
      fail_user(keys.name() + ": \"" + key + "\" is " + io::excerpt(value.dump()) +
                ", expected the number of a token");
    return static_cast<int32_t>(value.get<uint64_t>());
  };
  if (const auto* bos = keys.find("bos_token_id")) ids.bos = id(*bos, "bos_token_id");
  // Some old configs say -1 for none.
  if (const auto* pad = keys.find("pad_token_id"); pad && *pad != -1)
    ids.pad = id(*pad, "pad_token_id");
  const auto* eos = keys.find("eos_token_id");
  if (!eos) return;
  ids.eos.clear();
  if (!eos->is_array()) {
    ids.eos.push_back(id(*eos, "eos_token_id"));
    return;
  }
  for (const auto& one : *eos) ids.eos.push_back(id(one, "eos_token_id"));
}

ConfigJson parse_config_json(std::string_view text, const std::string& name) {
  const nlohmann::json json = io::parse_json(text, name, kDepth);
  ConfigKeys keys(json, name);
  const std::string type = keys.text("model_type");
  if (const Family* family = find_family(type)) return read_family(keys, *family);
  if (type == "clip" || type == "siglip") {
    // The text tower, the projections and their scale are another model.
    ConfigKeys vision = keys.object("vision_config");
    return read_family(vision, *find_family(type + "_vision_model"));
  }
  fail_unsupported(name + ": models of type \"" + io::excerpt(type) + "\" are not read" +
                   suggest(type, known_types()));
}

void parse_preprocessor_json(std::string_view text, const std::string& name, VitConfig& vision) {
  const nlohmann::json json = io::parse_json(text, name, kDepth);
  ConfigKeys keys(json, name);
  if (!keys.flag("do_rescale", true)) keys.refuse("do_rescale", "true: bytes divided by 255");
  if (std::abs(keys.number("rescale_factor", 1.0 / 255) * 255 - 1) > 1e-6)
    keys.refuse("rescale_factor", "1/255");
  if (!keys.flag("do_normalize", true)) {
    vision.pixel_mean = {0, 0, 0};
    vision.pixel_std = {1, 1, 1};
    return;
  }
  auto triple = [&](const char* key, std::array<double, 3>& out, bool divides) {
    const nlohmann::json* values = keys.find(key);
    if (!values) return;
    const bool three = values->is_array() && values->size() == 3 &&
                       std::all_of(values->begin(), values->end(),
                                   [](const nlohmann::json& v) { return v.is_number(); });
    if (!three)
      fail_user(name + ": \"" + key + "\" is " + io::excerpt(values->dump()) +
                ", expected three numbers");
    for (size_t i = 0; i < 3; ++i) {
      out[i] = (*values)[i].get<double>();
      if (divides && out[i] == 0)
        fail_user(name + ": \"" + key + "\" holds 0, expected numbers to divide by");
    }
  };
  triple("image_mean", vision.pixel_mean, false);
  triple("image_std", vision.pixel_std, true);
}

}  // namespace fusec::models
