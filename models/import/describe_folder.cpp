// A folder of Hugging Face transformers to a description of its model; see description.h.
#include <filesystem>

#include "config_json.h"
#include "config_keys.h"
#include "description.h"
#include "fusec/base/error.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

constexpr uint64_t kMaxText = uint64_t{1} << 28;
constexpr int kDepth = 32;

bool there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

std::string text_of(const std::string& path) { return io::read_file(path, kMaxText); }

// The template of tokenizer_config.json: a text, or a list of named ones with one called "default".
std::string template_in(const std::string& path) {
  const nlohmann::json json = io::parse_json(text_of(path), path, kDepth);
  ConfigKeys keys(json, path);
  const nlohmann::json* value = keys.find("chat_template");
  if (!value) return "";
  if (value->is_string()) return value->get<std::string>();
  if (value->is_array()) {
    for (const auto& one : *value) {
      if (!one.is_object() || !one.contains("name") || one["name"] != "default") continue;
      if (one.contains("template") && one["template"].is_string())
        return one["template"].get<std::string>();
    }
  }
  fail_user(path + ": \"chat_template\" is " + io::describe(*value) +
            ", expected a text or a list with one named \"default\"");
}

std::string chat_template(const std::string& folder) {
  if (there(folder + "/chat_template.jinja")) return text_of(folder + "/chat_template.jinja");
  if (there(folder + "/tokenizer_config.json"))
    return template_in(folder + "/tokenizer_config.json");
  return "";
}

}  // namespace

Description describe_folder(const std::string& folder) {
  const std::string path = folder + "/config.json";
  if (!there(path))
    fail_user(folder +
              ": no config.json; expected a folder as Hugging Face transformers writes "
              "it, with config.json and model.safetensors, or a .gguf file");
  ConfigJson read = parse_config_json(text_of(path), path);
  Description d;
  d.family = read.family;
  d.info.family = read.family->model_type;
  d.info.part = read.family->part;
  d.info.config = read.config;
  if (d.info.part == ModelPart::vision) {
    const std::string scaling = folder + "/preprocessor_config.json";
    if (there(scaling)) parse_preprocessor_json(text_of(scaling), scaling, d.info.config.vision);
    return d;
  }
  d.info.ids = read.ids;
  if (const std::string more = folder + "/generation_config.json"; there(more)) {
    const nlohmann::json json = io::parse_json(text_of(more), more, kDepth);
    ConfigKeys keys(json, more);
    read_special_ids(keys, d.info.ids);
  }
  if (there(folder + "/tokenizer.json")) {
    d.info.tokenizer = BpeTokenizer::load(folder + "/tokenizer.json");
    d.info.tokenizer_hash = d.info.tokenizer->hash_text();
  }
  d.info.chat_template = chat_template(folder);
  return d;
}

}  // namespace fusec::models
