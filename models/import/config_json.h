// config.json of Hugging Face transformers <-> this project's config.
#pragma once

#include <string>
#include <string_view>

#include "families.h"

namespace fusec::models {

class ConfigKeys;

struct ConfigJson {
  const Family* family = nullptr;
  VisionGptConfig config;
  SpecialIds ids;  // those that config.json names
};

// `name` begins the messages. A file that is damaged, or says what no model can, is a user Error;
// what a model may have and this project lacks is one of kind unsupported.
ConfigJson parse_config_json(std::string_view text, const std::string& name);

// Image scaling of preprocessor_config.json into `vision`.
void parse_preprocessor_json(std::string_view text, const std::string& name, VitConfig& vision);

// The family whose arithmetic a config is. An Error of kind unsupported that begins with `name`
// and says what no family has.
const Family& family_of(const VisionGptConfig& config, ModelPart part, const std::string& name);

// What transformers reads: `dtype` as it calls it ("float32").
std::string config_json(const Family& family, const VisionGptConfig& config, const SpecialIds& ids,
                        const std::string& dtype);
std::string preprocessor_json(const Family& family, const VitConfig& vision);

// bos_token_id, eos_token_id (one or several) and pad_token_id of an object, where they are given.
void read_special_ids(ConfigKeys& keys, SpecialIds& ids);

}  // namespace fusec::models
