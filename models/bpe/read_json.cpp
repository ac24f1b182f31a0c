// A Hugging Face tokenizer.json -> a tokenizer. What would change ids and is not read here is
// refused: dropout, other models than BPE, other normalizers, pre-tokenizers and templates.
#include <utility>

#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "model.h"

namespace fusec::models {
namespace {

using nlohmann::json;
using Step = PreTokenizerStep;

constexpr int kMostDepth = 16;

const json& null_json() {
  static const json null;
  return null;
}

class Reader {
 public:
  Reader(const json& file, std::string name) : file_(file), name_(std::move(name)) {}

  BpeTokenizer read() {
    if (!file_.is_object()) wrong("the file", file_, "an object");
    const json& model = member(file_, "model");
    if (!model.is_object()) wrong("\"model\"", model, "an object");
    const json& type = member(model, "type");
    if (!type.is_null() && type != "BPE") unsupported("model type", type, "\"BPE\"");
    for (const char* key : {"dropout", "continuing_subword_prefix", "end_of_word_suffix"})
      if (const json& value = member(model, key); !value.is_null() && value != "")
        unsupported("model." + std::string(key), value, "null");
    if (flag(model, "byte_fallback", false))
      unsupported("model.byte_fallback", true, "false: a vocabulary of GPT-2's byte characters");

    normalizer(member(file_, "normalizer"));
    pre_tokenizer(member(file_, "pre_tokenizer"));
    if (!byte_level_)
      unsupported("pre_tokenizer", "one without ByteLevel", "a byte-level vocabulary");

    const json& vocabulary = member(model, "vocab");
    if (!vocabulary.is_object()) wrong("\"model.vocab\"", vocabulary, "an object");
    const std::vector<AddedToken> added = added_tokens();
    bpe::ModelBuilder builder(name_, vocabulary.size() + added.size());
    builder.added(added);
    for (const auto& [text, id] : vocabulary.items()) builder.token(number(id, text), text);
    merges(member(model, "merges"), builder);
    post_processor(member(file_, "post_processor"));
    return BpeTokenizer(
        builder.finish(pre_tokenizer_, flag(model, "ignore_merges", false), prefix_, suffix_));
  }

 private:
  [[noreturn]] void wrong(const std::string& what, const json& found, const std::string& expected) {
    fail_user(name_ + ": " + what + " is " + (found.is_null() ? "missing" : io::describe(found)) +
              "; expected " + expected);
  }
  [[noreturn]] void unsupported(const std::string& what, const json& found,
                                const std::string& expected) {
    fail_unsupported(name_ + ": " + what + " is " + io::excerpt(found.dump()) +
                     ", which is not built; expected " + expected);
  }

  const json& member(const json& object, const char* key) const {
    if (!object.is_object()) return null_json();
    const auto found = object.find(key);
    return found == object.end() ? null_json() : *found;
  }
  std::string text(const json& object, const char* key) {
    const json& value = member(object, key);
    if (!value.is_string()) wrong('"' + std::string(key) + '"', value, "a string");
    return value.get<std::string>();
  }
  bool flag(const json& object, const char* key, bool otherwise) {
    const json& value = member(object, key);
    if (value.is_null()) return otherwise;
    if (!value.is_boolean()) wrong('"' + std::string(key) + '"', value, "true or false");
    return value.get<bool>();
  }
  int64_t number(const json& value, const std::string& of) {
    if (!value.is_number_integer() || value > json(INT64_MAX))
      wrong("the id of \"" + io::excerpt(of) + '"', value, "a number");
    return value.get<int64_t>();
  }
  const json& array(const json& object, const char* key) {
    const json& value = member(object, key);
    if (!value.is_array()) wrong('"' + std::string(key) + '"', value, "an array");
    return value;
  }

  void normalizer(const json& value) {
    if (value.is_null()) return;
    const std::string type = text(value, "type");
    if (type == "Sequence") {
      for (const json& one : array(value, "normalizers")) normalizer(one);
    } else if (type == "NFC") {
      pre_tokenizer_.nfc = true;
    } else {
      unsupported("normalizer", type, "NFC or null");
    }
  }

  void pre_tokenizer(const json& value) {
    if (value.is_null()) return;
    const std::string type = text(value, "type");
    Step step;
    if (type == "Sequence") {
      for (const json& one : array(value, "pretokenizers")) pre_tokenizer(one);
      return;
    }
    if (type == "ByteLevel") {
      byte_level_ = true;
      step.kind = Step::Kind::byte_level;
      step.add_prefix_space = flag(value, "add_prefix_space", true);
      step.use_regex = flag(value, "use_regex", true);
    } else if (type == "Digits") {
      step.kind = Step::Kind::digits;
      step.individual_digits = flag(value, "individual_digits", false);
    } else if (type == "Split") {
      split(value, step);
    } else {
      unsupported("pre_tokenizer", type, "ByteLevel, Split, Digits or a Sequence of them");
    }
    pre_tokenizer_.steps.push_back(std::move(step));
  }

  void split(const json& value, Step& step) {
    const json& pattern = member(value, "pattern");
    step.literal = !member(pattern, "String").is_null();
    step.pattern = text(pattern, step.literal ? "String" : "Regex");
    step.invert = flag(value, "invert", false);
    const std::string behavior = text(value, "behavior");
    constexpr std::pair<const char*, Step::Behavior> kBehaviors[] = {
        {"Isolated", Step::Behavior::isolated},
        {"Removed", Step::Behavior::removed},
        {"Contiguous", Step::Behavior::contiguous},
        {"MergedWithPrevious", Step::Behavior::merged_with_previous},
        {"MergedWithNext", Step::Behavior::merged_with_next}};
    for (const auto& [name, meaning] : kBehaviors) {
      if (behavior != name) continue;
      step.behavior = meaning;
      return;
    }
    unsupported("Split's behavior", behavior, "Isolated, Removed, Contiguous or a Merged one");
  }

  std::vector<AddedToken> added_tokens() {
    std::vector<AddedToken> tokens;
    if (member(file_, "added_tokens").is_null()) return tokens;
    for (const json& one : array(file_, "added_tokens")) {
      AddedToken token;
      token.text = text(one, "content");
      const int64_t id = number(member(one, "id"), token.text);
      if (id < 0 || id >= bpe::Merges::kMostIds)
        wrong("the id of \"" + io::excerpt(token.text) + '"', member(one, "id"),
              "one from 0 to 2097151");
      token.id = static_cast<int32_t>(id);
      token.special = flag(one, "special", false);
      token.lstrip = flag(one, "lstrip", false);
      token.rstrip = flag(one, "rstrip", false);
      token.normalized = flag(one, "normalized", !token.special);
      if (flag(one, "single_word", false))
        unsupported("single_word of \"" + io::excerpt(token.text) + '"', true, "false");
      tokens.push_back(std::move(token));
    }
    return tokens;
  }

  // Each "left right" or ["left", "right"].
  void merges(const json& value, bpe::ModelBuilder& builder) {
    if (!value.is_array()) wrong("\"model.merges\"", value, "an array");
    for (const json& merge : value) {
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        builder.merge(merge[0].get_ref<const std::string&>(),
                      merge[1].get_ref<const std::string&>());
        continue;
      }
      const std::string_view both = merge.is_string()
                                        ? std::string_view(merge.get_ref<const std::string&>())
                                        : std::string_view();
      const size_t space = both.find(' ');
      if (space == std::string_view::npos)
        wrong("a merge", merge, "\"left right\" or [\"left\", \"right\"]");
      builder.merge(both.substr(0, space), both.substr(space + 1));
    }
  }

  // Of templates, what stands around the one text "A".
  void post_processor(const json& value) {
    if (value.is_null()) return;
    const std::string type = text(value, "type");
    if (type == "ByteLevel") return;
    if (type == "Sequence") {
      for (const json& one : array(value, "processors")) post_processor(one);
      return;
    }
    if (type != "TemplateProcessing")
      unsupported("post_processor", type, "ByteLevel or TemplateProcessing");
    bool behind = false;
    for (const json& piece : array(value, "single")) {
      if (!member(piece, "Sequence").is_null()) {
        if (std::exchange(behind, true)) unsupported("a template", piece, "one text in it");
        continue;
      }
      const std::string token = text(member(piece, "SpecialToken"), "id");
      const json& ids = array(member(member(value, "special_tokens"), token.c_str()), "ids");
      for (const json& id : ids) {
        const int64_t n = number(id, token);
        if (n < 0 || n >= bpe::Merges::kMostIds) wrong("the id of a template", id, "a token's");
        (behind ? suffix_ : prefix_).push_back(static_cast<int32_t>(n));
      }
    }
  }

  const json& file_;
  const std::string name_;
  PreTokenizer pre_tokenizer_;
  bool byte_level_ = false;
  std::vector<int32_t> prefix_, suffix_;
};

}  // namespace

BpeTokenizer BpeTokenizer::parse(std::string_view text, const std::string& name) {
  const nlohmann::json file = io::parse_json(text, name, kMostDepth);
  return Reader(file, name).read();
}

}  // namespace fusec::models
