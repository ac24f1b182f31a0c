// The stored vocabularies, texts and reference ids.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "fusec/base/error.h"
#include "fusec/base/philox.h"
#include "fusec/io/file.h"
#include "fusec/io/json.h"
#include "fusec/models/bpe_tokenizer.h"

namespace fusec::tests {

using Ids = std::vector<int32_t>;

inline std::string fixture_path(const std::string& name) {
  return std::string(FUSEC_BPE_FIXTURES) + "/" + name;
}

inline nlohmann::json fixture(const std::string& name) {
  return io::parse_json(io::read_file(fixture_path(name)), name, 8);
}

inline std::vector<std::string> corpus() { return fixture("corpus.json"); }

inline models::BpeTokenizer stored(const std::string& name) {
  return models::BpeTokenizer::load(fixture_path(name + ".tokenizer.json"));
}

inline const std::vector<std::string>& stored_names() {
  static const std::vector<std::string> names = {"gpt2",  "gpt2_prefix", "smollm",
                                                 "qwen2", "llama3",      "o200k"};
  return names;
}

// A text of grains that patterns treat differently: letters of both cases and many scripts,
// numbers, marks, contractions, white space of every kind, and with `broken` bytes that are no
// UTF-8.
std::string random_text(uint64_t seed, uint64_t number, size_t grains, bool broken);

// The message of the Error of this kind that `action` throws.
template <typename Action>
std::string error_of(ErrorKind kind, Action action) {
  try {
    action();
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    return error.what();
  }
  FAIL_CHECK("expected an Error");
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) MESSAGE("no \"" << part << "\" in: " << text);
  return found;
}

}  // namespace fusec::tests
