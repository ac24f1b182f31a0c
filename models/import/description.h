// Where a model's description stands -> ModelInfo: a folder, GGUF's metadata, or the metadata of
// this project's own files.
#pragma once

#include <map>
#include <string>

#include "families.h"
#include "fusec/io/gguf.h"

namespace fusec::models {

struct Description {
  const Family* family = nullptr;  // null: this project's own names
  ModelInfo info;
};

// config.json and, where they are there, tokenizer.json, tokenizer_config.json,
// chat_template.jinja, generation_config.json and preprocessor_config.json.
Description describe_folder(const std::string& folder);

// The metadata of a GGUF file, and of its tensors the scaling of rotary positions.
Description describe_gguf(const io::GgufReader& file);
// Of describe_gguf(): the vocabulary.
BpeTokenizer gguf_tokenizer(const io::GgufMetadata& metadata, const std::string& name);
SpecialIds gguf_special_ids(const io::GgufMetadata& metadata);

// Metadata of save_model() or of a checkpoint. Other metadata is a user Error.
bool is_own(const std::map<std::string, std::string>& metadata);
Description describe_own(const std::map<std::string, std::string>& metadata,
                         const std::string& path);
std::map<std::string, std::string> own_metadata(const ModelInfo& info);

// User Error if a special id or the tokenizer does not fit the vocabulary.
void check_vocabulary(const ModelInfo& info, const std::string& name);

}  // namespace fusec::models
