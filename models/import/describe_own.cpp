// The metadata of this project's files of weights <-> a description; see description.h.
#include "config_json.h"
#include "config_keys.h"
#include "description.h"
#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

constexpr const char* kFormat = "fusec-weights";
constexpr const char* kVersion = "1";

std::string entry(const std::map<std::string, std::string>& metadata, const char* key) {
  auto it = metadata.find(key);
  return it == metadata.end() ? "" : it->second;
}

std::string ids_text(const SpecialIds& ids) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (ids.bos) json["bos_token_id"] = *ids.bos;
  if (ids.pad) json["pad_token_id"] = *ids.pad;
  json["eos_token_id"] = ids.eos;
  return json.dump();
}

}  // namespace

const std::string& name_of(ModelPart part) {
  static const std::string names[] = {"decoder", "vision", "whole"};
  return names[static_cast<size_t>(part)];
}

bool is_own(const std::map<std::string, std::string>& metadata) {
  const std::string format = entry(metadata, "format");
  return format == kFormat || format == "fusec-checkpoint";
}

std::map<std::string, std::string> own_metadata(const ModelInfo& info) {
  std::map<std::string, std::string> metadata = {{"format", kFormat},
                                                 {"version", kVersion},
                                                 {"family", info.family},
                                                 {"part", name_of(info.part)},
                                                 {"model", config_text(info.config)},
                                                 {"special_ids", ids_text(info.ids)}};
  if (!info.tokenizer_hash.empty()) metadata["tokenizer"] = info.tokenizer_hash;
  if (info.tokenizer) metadata["tokenizer.json"] = info.tokenizer->json();
  if (!info.chat_template.empty()) metadata["chat_template"] = info.chat_template;
  return metadata;
}

Description describe_own(const std::map<std::string, std::string>& metadata,
                         const std::string& path) {
  Description d;
  ModelInfo& info = d.info;
  info.config = parse_config(entry(metadata, "model"), path + ": model");
  info.tokenizer_hash = entry(metadata, "tokenizer");
  if (entry(metadata, "format") != kFormat) {  // a checkpoint
    info.family = "fusec";
    info.part = info.config.text_only() ? ModelPart::decoder : ModelPart::whole;
    return d;
  }
  if (entry(metadata, "version") != kVersion)
    fail_user(path + ": weights of version " + io::excerpt(entry(metadata, "version")) +
              ", this program reads version " + kVersion + ": import the model again");
  info.family = entry(metadata, "family");
  const std::string part = entry(metadata, "part");
  std::vector<std::string> parts;
  for (ModelPart one : {ModelPart::decoder, ModelPart::vision, ModelPart::whole}) {
    parts.push_back(name_of(one));
    if (name_of(one) == part) info.part = one;
  }
  if (name_of(info.part) != part)
    fail_user(path + ": \"part\" is \"" + io::excerpt(part) + "\"" + suggest(part, parts));
  const std::string name = path + ": special_ids";
  const nlohmann::json ids = io::parse_json(entry(metadata, "special_ids"), name, 4);
  ConfigKeys keys(ids, name);
  read_special_ids(keys, info.ids);
  keys.finish();
  if (metadata.count("tokenizer.json")) {
    info.tokenizer = BpeTokenizer::parse(entry(metadata, "tokenizer.json"), path);
    if (info.tokenizer->hash_text() != info.tokenizer_hash)
      fail_user(path + ": its tokenizer has hash " + info.tokenizer->hash_text() + ", expected " +
                io::excerpt(info.tokenizer_hash) + "; the file was edited, import the model again");
  }
  info.chat_template = entry(metadata, "chat_template");
  return d;
}

void check_vocabulary(const ModelInfo& info, const std::string& name) {
  if (info.part == ModelPart::vision) return;
  const int64_t vocab = info.config.vocab;
  if (info.tokenizer && info.tokenizer->vocab_size() > vocab)
    fail_user(name + ": the tokenizer has " + std::to_string(info.tokenizer->vocab_size()) +
              " tokens, the embedding " + std::to_string(vocab) +
              " rows; expected at least as many: the tokenizer is another model's");
  auto check = [&](const char* what, int32_t id) {
    if (id < 0 || id >= vocab)
      fail_user(name + ": " + what + " is token " + std::to_string(id) + ", expected one below " +
                std::to_string(vocab));
  };
  if (info.ids.bos) check("bos_token_id", *info.ids.bos);
  if (info.ids.pad) check("pad_token_id", *info.ids.pad);
  for (const int32_t id : info.ids.eos) check("eos_token_id", id);
}

}  // namespace fusec::models
