// Names of pre-tokenizers -> their steps.
#include "fusec/models/bpe_pre_tokenizer.h"

#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "patterns.h"

namespace fusec::models {
namespace {

struct Named {
  const char* name;
  const char* pattern;
  bool digits_apart;  // each of them, before the pattern
  bool nfc;
};

constexpr Named kNamed[] = {
    {"gpt2", bpe::kGpt2Pattern, false, false},     {"gpt-2", bpe::kGpt2Pattern, false, false},
    {"r50k", bpe::kGpt2Pattern, false, false},     {"smollm", bpe::kGpt2Pattern, true, false},
    {"starcoder", bpe::kGpt2Pattern, true, false}, {"refact", bpe::kGpt2Pattern, true, false},
    {"qwen2", bpe::kQwen2Pattern, false, true},    {"llama-bpe", bpe::kLlama3Pattern, false, false},
    {"llama3", bpe::kLlama3Pattern, false, false}, {"llama-v3", bpe::kLlama3Pattern, false, false},
    {"cl100k", bpe::kCl100kPattern, false, false}, {"o200k", bpe::kO200kPattern, false, false},
    {"gpt-4o", bpe::kO200kPattern, false, false},
};

}  // namespace

std::vector<std::string> PreTokenizer::names() {
  std::vector<std::string> names;
  for (const Named& row : kNamed) names.emplace_back(row.name);
  return names;
}

PreTokenizer PreTokenizer::of_pattern(std::string pattern) {
  PreTokenizer made;
  made.steps.emplace_back().pattern = std::move(pattern);
  made.steps.emplace_back();
  made.steps.back().kind = PreTokenizerStep::Kind::byte_level;
  made.steps.back().use_regex = false;
  return made;
}

PreTokenizer PreTokenizer::named(std::string_view name) {
  for (const Named& row : kNamed) {
    if (row.name != name) continue;
    PreTokenizer made;
    if (row.pattern == std::string_view(bpe::kGpt2Pattern)) {
      if (row.digits_apart) made.steps.emplace_back().kind = PreTokenizerStep::Kind::digits;
      made.steps.emplace_back().kind = PreTokenizerStep::Kind::byte_level;
    } else {
      made = of_pattern(row.pattern);
    }
    made.nfc = row.nfc;
    return made;
  }
  std::string known;
  for (const Named& row : kNamed) known += (known.empty() ? "" : ", ") + std::string(row.name);
  fail_user("pre-tokenizer \"" + io::excerpt(name) + "\"; expected one of " + known);
}

}  // namespace fusec::models
