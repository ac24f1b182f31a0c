// config.json and preprocessor_config.json of other programs' models.
#include "../../../models/import/config_json.h"

#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  std::vector<std::string> out;
  models::VisionGptConfig decoder;
  decoder.resampler.queries = 0;
  decoder.softcap = 0;
  decoder.weighted_norms = true;
  decoder.embedding_norm = false;
  decoder.qk_norm = models::QkNorm::none;
  for (const models::Family& family : models::families()) {
    models::VisionGptConfig config = decoder;
    config.attention_bias = family.attention_bias;
    config.qk_norm = family.qk_norm;
    config.vision = family.vision;
    out.push_back(models::config_json(family, config, {.bos = 1, .pad = 0, .eos = {2, 3}}, "f32"));
  }
  decoder.rope_scaling.kind = models::RopeScaling::Kind::llama3;
  out.push_back(models::config_json(*models::find_family("llama"), decoder, {}, "f32"));
  out.push_back(R"({"model_type": "siglip", "vision_config": {"patch_size": 14}})");
  out.push_back(models::preprocessor_json(*models::find_family("clip_vision_model"), {}));
  return out;
}

void read_bytes(std::string_view bytes) {
  models::VitConfig vision;
  if (bytes.find("do_rescale") != std::string_view::npos)
    models::parse_preprocessor_json(bytes, "bytes", vision);
  else
    (void)models::parse_config_json(bytes, "bytes");
}

}  // namespace fusec::fuzz
