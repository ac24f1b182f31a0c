// The stored conversations and reference renderings, and tokenizers with the templates' tokens.
#pragma once

#include <doctest/doctest.h>

#include <map>
#include <string>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/io/documents.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"
#include "fusec/models/chat_render.h"

namespace fusec::tests {

using Ids = std::vector<int32_t>;

// One of the tokenizers under tests/bpe with more tokens behind its own.
inline models::BpeTokenizer tokenizer_with(const std::string& base,
                                           const std::vector<std::string>& specials,
                                           const std::vector<std::string>& others = {}) {
  const std::string path = std::string(FUSEC_BPE_FIXTURES) + "/" + base + ".tokenizer.json";
  nlohmann::json json = io::parse_json(io::read_file(path), path, 16);
  int next = models::BpeTokenizer::load(path).vocab_size();
  auto add = [&](const std::string& text, bool special) {
    json["added_tokens"].push_back({{"id", next++},
                                    {"content", text},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", special}});
  };
  for (const std::string& text : specials) add(text, true);
  for (const std::string& text : others) add(text, false);
  return models::BpeTokenizer::parse(json.dump(), base);
}

// A tokenizer that has what the template needs, and behind that `more`.
inline models::BpeTokenizer tokenizer_for(const std::string& form,
                                          std::vector<std::string> more = {}) {
  auto with = [&](const std::string& base, std::vector<std::string> specials,
                  const std::vector<std::string>& others = {}) {
    specials.insert(specials.end(), more.begin(), more.end());
    return tokenizer_with(base, specials, others);
  };
  if (form == "plain")
    return with("gpt2", {"<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|end|>"});
  if (form == "qwen3") {
    // No more special tokens here: they would stand before the others.
    return tokenizer_with("qwen2", more,
                          {"<tool_response>", "</tool_response>", "<tool_call>", "</tool_call>"});
  }
  if (form.starts_with("qwen")) return with("qwen2", {});
  if (form.starts_with("llama"))
    return with("llama3", {"<|start_header_id|>", "<|end_header_id|>"});
  return with("smollm", {});
}

inline models::ChatRenderer renderer_for(const std::string& form,
                                         models::ChatRenderOptions options = {}) {
  std::vector<std::string> more;
  for (const std::string& text : {options.image, options.image_begin, options.image_end})
    if (!text.empty()) more.push_back(text);
  return {models::ChatTemplate::named(form), tokenizer_for(form, more), std::move(options)};
}

inline io::Message text_message(const std::string& role, const std::string& text) {
  return {role, {{io::Part::Type::text, text}}};
}

inline io::Document document_of(std::vector<io::Message> messages) {
  return {std::move(messages), "", "", ""};
}

inline nlohmann::json chat_fixture(const std::string& name) {
  const std::string path = std::string(FUSEC_CHAT_FIXTURES) + "/" + name + ".json";
  return io::parse_json(io::read_file(path), path, 8);
}

// The message of the user Error that `action` throws.
template <typename Action>
std::string user_error(Action action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::user);
    return error.what();
  }
  FAIL_CHECK("expected a user Error");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE("no \"" << part << "\" in: " << text);
  return found;
}

}  // namespace fusec::tests
