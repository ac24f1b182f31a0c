// Tokenizers' patterns are written for Oniguruma and Rust's regex. What PCRE2 reads differently:
//   \s, \S   PCRE2's \s has U+180E, which Unicode took out of White_Space in version 6.3; the
//            property is written instead
//   $        only at the very end of the text
//   [a&&b]   an intersection; PCRE2 has none, so it is refused
#define PCRE2_CODE_UNIT_WIDTH 8
#include "regex.h"

#include <pcre2.h>

#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::models::bpe {
namespace {

constexpr size_t kStackStart = size_t{1} << 15, kStackMost = size_t{1} << 22;
constexpr size_t kLongestPattern = 1 << 14;

std::string error_text(int code) {
  unsigned char text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

std::string in_pcre2(std::string_view pattern) {
  std::string out;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out += pattern[i];
      continue;
    }
    const char c = pattern[++i];
    if (c == 's')
      out += "\\p{White_Space}";
    else if (c == 'S')
      out += "\\P{White_Space}";
    else
      (out += '\\') += c;
  }
  return out;
}

}  // namespace

struct Regex::Scratch::State {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kStackStart, kStackMost, nullptr);

  State() {
    if (!data || !context) fail_device("no memory for a regular expression's matches");
    if (stack) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

Regex::Scratch::Scratch() : state_(std::make_unique<State>()) {}
Regex::Scratch::~Scratch() = default;
Regex::Scratch::Scratch(Scratch&&) noexcept = default;
Regex::Scratch& Regex::Scratch::operator=(Scratch&&) noexcept = default;

struct Regex::Code {
  pcre2_code* code = nullptr;
  bool jit = false;
  std::string pattern;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(std::string_view pattern, bool literal, const std::string& place)
    : code_(std::make_unique<Code>()) {
  code_->pattern = io::excerpt(pattern);
  if (pattern.empty() || pattern.size() > kLongestPattern) {
    fail_user(place + ": a pattern of " + std::to_string(pattern.size()) +
              " bytes; expected 1 to " + std::to_string(kLongestPattern));
  }
  if (!literal && pattern.find("&&") != std::string_view::npos) {
    fail_unsupported(place + ": pattern \"" + code_->pattern +
                     "\" holds \"&&\", an intersection of classes; write it without one");
  }
  const std::string text = literal ? std::string(pattern) : in_pcre2(pattern);
  const uint32_t options =
      literal ? PCRE2_UTF | PCRE2_LITERAL
              : PCRE2_UTF | PCRE2_UCP | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  size_t at = 0;
  code_->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), options,
                              &error, &at, nullptr);
  if (!code_->code) {
    fail_user(place + ": pattern \"" + code_->pattern +
              "\" does not compile: " + error_text(error) + "; expected a regular expression");
  }
  code_->jit = pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE) == 0;
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

bool Regex::find(std::string_view text, size_t from, Scratch& scratch, Match& match) const {
  Scratch::State& state = *scratch.state_;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const int found = code_->jit ? pcre2_jit_match(code_->code, subject, text.size(), from, 0,
                                                 state.data, state.context)
                               : pcre2_match(code_->code, subject, text.size(), from,
                                             PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (found == PCRE2_ERROR_NOMATCH) return false;
  const size_t* ends = pcre2_get_ovector_pointer(state.data);
  // \K can move the beginning behind the end or before `from`.
  if (found < 0 || ends[0] < from || ends[1] < ends[0]) {
    fail_user("pattern \"" + code_->pattern + "\" fails on a text of " +
              std::to_string(text.size()) +
              " bytes: " + (found < 0 ? error_text(found) : "a match that goes back") +
              "; expected a pattern that needs no deep search");
  }
  match = {ends[0], ends[1]};
  return true;
}

}  // namespace fusec::models::bpe
