// The vocabulary in GGUF metadata to a tokenizer; see description.h.
#include <algorithm>

#include "description.h"
#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

// tokenizer.ggml.token_type
constexpr int64_t kControl = 3, kUser = 4, kUnused = 5;

std::optional<int32_t> id_of(const io::GgufMetadata& metadata, const std::string& key) {
  if (!metadata.has(key)) return {};
  const int64_t id = metadata.integer(key);
  if (id < 0 || id > INT32_MAX) return {};  // how some writers say "none"
  return static_cast<int32_t>(id);
}

// Llama 3's tokenizers are named so; llama.cpp then begins every text with bos and takes words that
// are tokens as they are, whatever the file says.
bool is_llama3(const std::string& pre) {
  return pre == "llama-bpe" || pre == "llama3" || pre == "llama-v3";
}

}  // namespace

BpeTokenizer gguf_tokenizer(const io::GgufMetadata& metadata, const std::string& name) {
  const std::string& model = metadata.text("tokenizer.ggml.model");
  if (model != "gpt2")
    fail_unsupported(name + ": a tokenizer of model \"" + io::excerpt(model) +
                     "\"; expected \"gpt2\", byte pairs on bytes");
  BpeParts parts;
  parts.tokens = metadata.texts("tokenizer.ggml.tokens");
  parts.merges = metadata.texts("tokenizer.ggml.merges");
  const std::string pre =
      metadata.has("tokenizer.ggml.pre") ? metadata.text("tokenizer.ggml.pre") : "default";
  try {
    parts.pre_tokenizer = PreTokenizer::named(pre);
  } catch (Error& error) {
    error.add_note("in " + name);
    throw;
  }
  parts.ignore_merges = is_llama3(pre);
  if (metadata.has("tokenizer.ggml.token_type")) {
    const std::vector<int64_t> types = metadata.integers("tokenizer.ggml.token_type");
    if (types.size() != parts.tokens.size())
      fail_user(name + ": " + std::to_string(types.size()) + " types of " +
                std::to_string(parts.tokens.size()) + " tokens; expected one a token");
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] != kControl && types[i] != kUser) continue;
      AddedToken token{static_cast<int32_t>(i), parts.tokens[i]};
      token.special = types[i] == kControl;
      parts.added.push_back(token);
    }
    // Padding up to the embedding's rows is no part of the vocabulary.
    size_t used = types.size();
    while (used > 0 && types[used - 1] == kUnused) --used;
    parts.tokens.resize(used);
  }
  const bool begins = metadata.has("tokenizer.ggml.add_bos_token")
                          ? metadata.flag("tokenizer.ggml.add_bos_token")
                          : is_llama3(pre);
  const std::optional<int32_t> bos = id_of(metadata, "tokenizer.ggml.bos_token_id");
  if (begins && bos) parts.prefix = {*bos};
  const std::optional<int32_t> eos = id_of(metadata, "tokenizer.ggml.eos_token_id");
  const bool ends =
      metadata.has("tokenizer.ggml.add_eos_token") && metadata.flag("tokenizer.ggml.add_eos_token");
  if (ends && eos) parts.suffix = {*eos};
  return BpeTokenizer::from_parts(parts, name);
}

SpecialIds gguf_special_ids(const io::GgufMetadata& metadata) {
  SpecialIds ids;
  ids.bos = id_of(metadata, "tokenizer.ggml.bos_token_id");
  ids.pad = id_of(metadata, "tokenizer.ggml.padding_token_id");
  for (const char* key : {"eos", "eot", "eom"}) {
    const auto id = id_of(metadata, std::string("tokenizer.ggml.") + key + "_token_id");
    if (id && std::find(ids.eos.begin(), ids.eos.end(), *id) == ids.eos.end())
      ids.eos.push_back(*id);
  }
  return ids;
}

}  // namespace fusec::models
