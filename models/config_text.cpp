// VisionGptConfig <-> the JSON text that a checkpoint holds; see config.h.
#include "fields.h"
#include "fusec/models/config.h"

namespace fusec::models {
namespace {

const std::vector<std::string> kActivations = {"gelu_tanh", "gelu_erf", "quick_gelu"};
const std::vector<std::string> kQkNorms = {"none", "after_rope", "before_rope"};
const std::vector<std::string> kRopeScalings = {"none", "linear", "llama3"};

template <class Config, class Visit>
void fields(Config& c, Visit& visit) {
  visit("name", c.name);
  visit("vision.image", c.vision.image);
  visit("vision.patch", c.vision.patch);
  visit("vision.width", c.vision.width);
  visit("vision.layers", c.vision.layers);
  visit("vision.heads", c.vision.heads);
  visit("vision.bf16_stream", c.vision.bf16_stream);
  visit("vision.intermediate", c.vision.intermediate);
  visit.choice("vision.activation", c.vision.activation, kActivations);
  visit("vision.norm_eps", c.vision.norm_eps);
  visit("vision.patch_bias", c.vision.patch_bias);
  visit("vision.class_token", c.vision.class_token);
  visit("vision.cut_edge", c.vision.cut_edge);
  visit("vision.pre_norm", c.vision.pre_norm);
  visit("vision.post_norm", c.vision.post_norm);
  visit("vision.pixel_mean.red", c.vision.pixel_mean[0]);
  visit("vision.pixel_mean.green", c.vision.pixel_mean[1]);
  visit("vision.pixel_mean.blue", c.vision.pixel_mean[2]);
  visit("vision.pixel_std.red", c.vision.pixel_std[0]);
  visit("vision.pixel_std.green", c.vision.pixel_std[1]);
  visit("vision.pixel_std.blue", c.vision.pixel_std[2]);
  visit("resampler.queries", c.resampler.queries);
  visit("resampler.layers", c.resampler.layers);
  visit("resampler.heads", c.resampler.heads);
  visit("projector_hidden", c.projector_hidden);
  visit("vocab", c.vocab);
  visit("sequence", c.sequence);
  visit("layers", c.layers);
  visit("width", c.width);
  visit("heads", c.heads);
  visit("kv_heads", c.kv_heads);
  visit("head_dim", c.head_dim);
  visit("intermediate", c.intermediate);
  visit("rope_theta", c.rope_theta);
  visit.choice("rope_scaling", c.rope_scaling.kind, kRopeScalings);
  visit("rope_scaling.factor", c.rope_scaling.factor);
  visit("rope_scaling.low_freq_factor", c.rope_scaling.low_freq_factor);
  visit("rope_scaling.high_freq_factor", c.rope_scaling.high_freq_factor);
  visit("rope_scaling.original_context", c.rope_scaling.original_context);
  visit("norm_eps", c.norm_eps);
  visit("softcap", c.softcap);
  visit("label_smoothing", c.label_smoothing);
  visit("attention_bias", c.attention_bias);
  visit("bf16_stream", c.bf16_stream);
  visit("weighted_norms", c.weighted_norms);
  visit.choice("qk_norm", c.qk_norm, kQkNorms);
  visit("embedding_norm", c.embedding_norm);
  visit("tied_head", c.tied_head);
}

}  // namespace

std::string config_text(const VisionGptConfig& config) {
  FieldWriter writer;
  fields(config, writer);
  return writer.text();
}

VisionGptConfig parse_config(std::string_view json, const std::string& name) {
  FieldReader reader(json, name);
  VisionGptConfig config;
  fields(config, reader);
  reader.finish();
  try {
    config.check();
  } catch (Error& error) {
    error.add_note("in " + name);
    throw;
  }
  return config;
}

}  // namespace fusec::models
