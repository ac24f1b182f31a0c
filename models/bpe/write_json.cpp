// A tokenizer -> tokenizer.json, as Hugging Face `tokenizers` writes it: one line a token and a
// merge, so that two files can be compared.
#include "byte_text.h"
#include "fusec/io/json.h"
#include "model.h"

namespace fusec::models {
namespace {

using nlohmann::ordered_json;
using Step = PreTokenizerStep;

std::string json_text(std::string_view text) { return nlohmann::json(text).dump(); }

const char* behavior_name(Step::Behavior behavior) {
  switch (behavior) {
    case Step::Behavior::isolated: return "Isolated";
    case Step::Behavior::removed: return "Removed";
    case Step::Behavior::contiguous: return "Contiguous";
    case Step::Behavior::merged_with_previous: return "MergedWithPrevious";
    case Step::Behavior::merged_with_next: return "MergedWithNext";
  }
  return "";
}

ordered_json byte_level(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

ordered_json pre_tokenizer(const PreTokenizer& from) {
  ordered_json steps = ordered_json::array();
  for (const Step& step : from.steps) {
    switch (step.kind) {
      case Step::Kind::byte_level:
        steps.push_back(byte_level(step.add_prefix_space, step.use_regex));
        break;
      case Step::Kind::digits:
        steps.push_back({{"type", "Digits"}, {"individual_digits", step.individual_digits}});
        break;
      case Step::Kind::split:
        steps.push_back({{"type", "Split"},
                         {"pattern", {{step.literal ? "String" : "Regex", step.pattern}}},
                         {"behavior", behavior_name(step.behavior)},
                         {"invert", step.invert}});
    }
  }
  if (steps.size() == 1) return steps.front();
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

ordered_json post_processor(const BpeTokenizer& from) {
  if (from.prefix().empty() && from.suffix().empty()) return byte_level(true, true);
  ordered_json single = ordered_json::array(), specials = ordered_json::object();
  auto add = [&](int32_t id) {
    const std::string text = from.decode({id}, true);
    single.push_back({{"SpecialToken", {{"id", text}, {"type_id", 0}}}});
    specials[text] = {
        {"id", text}, {"ids", ordered_json::array({id})}, {"tokens", ordered_json::array({text})}};
  };
  for (const int32_t id : from.prefix()) add(id);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  for (const int32_t id : from.suffix()) add(id);
  const ordered_json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const ordered_json second = {{"Sequence", {{"id", "B"}, {"type_id", 1}}}};
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", ordered_json::array({text, second})},
          {"special_tokens", std::move(specials)}};
}

ordered_json added_token(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.text},  {"single_word", false},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip}, {"normalized", token.normalized},
          {"special", token.special}};
}

}  // namespace

std::string BpeTokenizer::json() const {
  const BpeModel& m = *model_;
  auto spelled = [&](int32_t id) {
    const std::string_view bytes = m.vocabulary.bytes(id);
    return json_text(m.forms[static_cast<size_t>(id)] == BpeModel::Form::raw
                         ? std::string(bytes)
                         : bpe::to_byte_text(bytes));
  };
  std::string out = "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n";
  auto list = [&](size_t count, auto item) {
    for (size_t i = 0; i < count; ++i) (out += i == 0 ? "\n" : ",\n") += item(i);
  };
  out += "\"added_tokens\": [";
  list(m.added.size(), [&](size_t i) { return added_token(m.added[i]).dump(); });
  out += "],\n\"normalizer\": ";
  out += m.pre_tokenizer.nfc ? R"({"type": "NFC"})" : "null";
  out += ",\n\"pre_tokenizer\": " + models::pre_tokenizer(m.pre_tokenizer).dump();
  out += ",\n\"post_processor\": " + post_processor(*this).dump();
  out += ",\n\"decoder\": " + byte_level(true, true).dump();
  out +=
      ",\n\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
      "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false, "
      "\"byte_fallback\": false, \"ignore_merges\": ";
  out += m.ignore_merges ? "true" : "false";
  out += ",\n\"vocab\": {";
  std::vector<int32_t> ids;
  for (int32_t id = 0; id < m.vocabulary.size(); ++id)
    if (m.forms[static_cast<size_t>(id)] != BpeModel::Form::none) ids.push_back(id);
  list(ids.size(), [&](size_t i) { return spelled(ids[i]) + ": " + std::to_string(ids[i]); });
  out += "},\n\"merges\": [";
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < m.merges.size(); ++rank)
    if (m.merges.counts(rank)) ranks.push_back(rank);
  list(ranks.size(), [&](size_t i) {
    const auto [left, right] = m.merges.pair(ranks[i]);
    return '[' + spelled(left) + ", " + spelled(right) + ']';
  });
  out += "]\n}\n}\n";
  return out;
}

}  // namespace fusec::models
