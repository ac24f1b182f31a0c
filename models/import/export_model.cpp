// A model file to a folder of Hugging Face transformers; see model_file.h.
#include <filesystem>
#include <map>

#include "config_json.h"
#include "description.h"
#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "fusec/io/safetensors.h"
#include "fusec/models/model_file.h"

namespace fusec::models {
namespace {

using Json = nlohmann::ordered_json;

// The type that most bytes have: what config.json calls the model's.
std::string dtype_of(const ModelFile& file) {
  std::map<DType, int64_t> bytes;
  for (const ModelTensor& t : file.tensors()) bytes[t.type.dtype] += t.type.bytes();
  DType most = f32;
  for (const auto& [type, count] : bytes)
    if (count > bytes[most]) most = type;
  return most == f32 ? "float32" : most == bf16 ? "bfloat16" : "float16";
}

// Files of older and newer writers have towers with and without this; all readers take it.
std::string exported_name(const Family& family, const std::string& ours) {
  const NamePlace place = place_of(family, ours);
  if (!place.row) fail_internal("no name of " + family.model_type + " for " + ours);
  return (family.part == ModelPart::vision ? "vision_model." : "") +
         at_layer(place.row->huggingface, place.layer);
}

TensorType exported_type(const Family& family, const ModelTensor& t, const VitConfig& vision) {
  TensorType type = t.type;
  if (place_of(family, t.name).row->layout != Layout::flat) return type;
  if (t.name == "vision.patch.weight")
    type.shape = {type.shape[0], 3, vision.patch, vision.patch};
  else
    type.shape = {numel(type.shape)};
  return type;
}

void write_weights(const ModelFile& file, const Family& family, const std::string& path) {
  std::vector<io::NamedType> types;
  for (const ModelTensor& t : file.tensors())
    types.push_back(
        {exported_name(family, t.name), exported_type(family, t, file.info().config.vision)});
  std::string bytes;
  // transformers asks for this key.
  io::write_safetensors(path, types, {{"format", "pt"}}, [&](size_t i) -> std::string_view {
    bytes = file.read(i);
    return bytes;
  });
}

std::string generation_json(const SpecialIds& ids) {
  Json json = Json::object();
  if (ids.bos) json["bos_token_id"] = *ids.bos;
  if (ids.eos.size() == 1) json["eos_token_id"] = ids.eos[0];
  if (ids.eos.size() > 1) json["eos_token_id"] = ids.eos;
  if (ids.pad) json["pad_token_id"] = *ids.pad;
  return json.dump(2) + "\n";
}

std::string tokenizer_config_json(const ModelInfo& info, const BpeTokenizer& tokenizer) {
  Json json;
  json["tokenizer_class"] = "PreTrainedTokenizerFast";
  json["model_max_length"] = info.config.sequence;
  json["clean_up_tokenization_spaces"] = false;
  auto token = [&](const char* key, int32_t id) {
    for (const AddedToken& added : tokenizer.added_tokens())
      if (added.id == id) json[key] = added.text;
  };
  if (info.ids.bos) token("bos_token", *info.ids.bos);
  if (!info.ids.eos.empty()) token("eos_token", info.ids.eos[0]);
  if (info.ids.pad) token("pad_token", *info.ids.pad);
  if (!info.chat_template.empty()) json["chat_template"] = info.chat_template;
  return json.dump(2) + "\n";
}

}  // namespace

void export_model(const ModelFile& file, const std::string& folder,
                  const std::optional<BpeTokenizer>& given) {
  const ModelInfo& info = file.info();
  if (info.part == ModelPart::whole)
    fail_unsupported(file.path() +
                     ": a model with pictures; transformers has no such model, only "
                     "decoders and towers are exported");
  const Family& family = family_of(info.config, info.part, file.path());
  const std::optional<BpeTokenizer>& tokenizer = given ? given : info.tokenizer;
  if (tokenizer && !info.tokenizer_hash.empty() && tokenizer->hash_text() != info.tokenizer_hash)
    fail_user(file.path() + ": made with tokenizer " + info.tokenizer_hash + ", the one given is " +
              tokenizer->hash_text() + "; its token ids mean other words");
  ModelInfo checked = info;
  checked.tokenizer = tokenizer;
  check_vocabulary(checked, file.path());
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_user(folder + ": the folder cannot be made: " + error.message());
  io::write_file(folder + "/config.json",
                 config_json(family, info.config, info.ids, dtype_of(file)));
  if (info.part == ModelPart::vision) {
    io::write_file(folder + "/preprocessor_config.json",
                   preprocessor_json(family, info.config.vision));
  } else {
    io::write_file(folder + "/generation_config.json", generation_json(info.ids));
    if (tokenizer) {
      tokenizer->save(folder + "/tokenizer.json");
      io::write_file(folder + "/tokenizer_config.json", tokenizer_config_json(info, *tokenizer));
    }
  }
  write_weights(file, family, folder + "/model.safetensors");
}

}  // namespace fusec::models
