// A model's Jinja text -> the one form that prints the same texts. Jinja is not run: its string
// literals and the text outside of its tags are what it can print, and every one of them must be
// part of what the form prints, name a role or a key, or belong to the description of tools.
// Refused: anything else, with the first text that no form explains.
#include <algorithm>
#include <cctype>

#include "fusec/base/error.h"
#include "fusec/io/json.h"
#include "fusec/models/chat_template.h"
#include "strip.h"
#include "template_table.h"

namespace fusec::models {
namespace {

struct Jinja {
  std::vector<std::string> printed;  // literals, unescaped, and texts outside of tags
  std::string code;                  // what stands in tags, without literals
  // Printed texts one behind the other, with kGap where something else comes between.
  std::string flow;
};
constexpr char kGap = '\1';

char unescaped(char c) { return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c; }

// One tag's inside, from `at` on; returns where it ends.
size_t read_tag(std::string_view text, size_t at, std::string_view end, Jinja& jinja) {
  while (at < text.size() && !text.substr(at).starts_with(end)) {
    const char quote = text[at];
    if (quote != '\'' && quote != '"') {
      if (std::string_view(" \t\r\n+~-").find(quote) == std::string_view::npos) jinja.flow += kGap;
      jinja.code += text[at++];
      continue;
    }
    std::string literal;
    for (++at; at < text.size() && text[at] != quote; ++at) {
      const bool escape = text[at] == '\\' && at + 1 < text.size();
      if (escape) ++at;
      literal += escape ? unescaped(text[at]) : text[at];
    }
    ++at;
    // What an exception says is not printed.
    if (!strip_end(jinja.code).ends_with("raise_exception(")) {
      jinja.flow += literal;
      jinja.printed.push_back(std::move(literal));
    }
    jinja.code += ' ';
  }
  return std::min(text.size(), at + end.size());
}

Jinja read_jinja(std::string_view text) {
  Jinja jinja;
  for (size_t at = 0; at < text.size();) {
    const size_t open =
        std::min({text.find("{{", at), text.find("{%", at), text.find("{#", at), text.size()});
    const std::string_view between = text.substr(at, open - at);
    // A dash inside of a tag takes the white space beside it away.
    const bool dashes =
        (at >= 3 && text[at - 3] == '-') || text.substr(open).substr(0, 3).ends_with('-');
    if (!dashes || !strip_begin(between).empty()) jinja.flow += between;
    jinja.printed.emplace_back(between);
    if (open == text.size()) break;
    const char kind = text[open + 1];
    if (kind == '#') {
      at = std::min(text.find("#}", open), text.size());
      at = std::min(at + 2, text.size());
      continue;
    }
    at = read_tag(text, open + 2, kind == '{' ? "}}" : "%}", jinja);
    jinja.code += '\n';
  }
  return jinja;
}

// Names of roles and keys, and texts without letters, such as ", ", say nothing about the form.
bool says_nothing(std::string_view text) {
  text = strip_end(strip_begin(text));
  const bool name = std::all_of(text.begin(), text.end(), [](char c) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '_';
  });
  const bool no_letters = std::none_of(text.begin(), text.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '<' || c == '[' || c == '|' ||
           static_cast<unsigned char>(c) >= 0x80;
  });
  return name || no_letters;
}

bool holds(std::string_view text, const std::string& part) {
  return std::search(text.begin(), text.end(), part.begin(), part.end(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) ==
                  std::tolower(static_cast<unsigned char>(b));
         }) != text.end();
}

// All that the form prints, in the pieces of which it is one text behind the other.
std::vector<std::string> texts_of(const ChatForm& form) {
  std::string preamble = form.system_preamble;
  const size_t date = preamble.find(kDateMark);
  const std::string before = preamble.substr(0, date);
  std::vector<std::string> texts = {form.begin + form.system.before + before,
                                    form.system.before + form.default_system + form.system.after,
                                    form.assistant.before + form.no_thought,
                                    form.call.before + form.call.after};
  if (date != std::string::npos) texts.push_back(preamble.substr(date + kDateMark.size()));
  for (const ChatFrame& frame : {form.user, form.assistant, form.tool, form.tool_run}) {
    texts.push_back(frame.before);
    texts.push_back(frame.after);
  }
  return texts;
}

// Why the Jinja text is not this form's; empty if it is.
std::string objection(const ChatForm& form, const Jinja& jinja) {
  const std::vector<std::string> texts = texts_of(form);
  auto explained = [&](const std::string& printed) {
    if (says_nothing(printed)) return true;
    for (const std::string& text : texts)
      if (text.find(printed) != std::string::npos) return true;
    return std::any_of(form.tool_texts.begin(), form.tool_texts.end(),
                       [&](const std::string& part) { return holds(printed, part); });
  };
  for (const std::string& printed : jinja.printed)
    if (!explained(printed)) return "it prints \"" + io::excerpt(printed) + "\"";

  auto is_printed = [&](std::string_view part) {
    for (const std::string& printed : jinja.printed)
      if (printed.find(part) != std::string::npos) return true;
    return false;
  };
  std::vector<std::string> needed = form.specials;
  needed.push_back(form.default_system);
  needed.push_back(form.system_preamble.substr(0, form.system_preamble.find('\n')));
  needed.push_back(form.no_thought.substr(0, form.no_thought.find('\n')));
  for (const std::string& part : needed)
    if (part != form.begin && !is_printed(part)) return "it does not print \"" + part + "\"";
  if (jinja.flow.find(form.assistant.after) == std::string::npos)
    return "no message ends with \"" + form.assistant.after + "\"";
  for (const std::string& part : form.code)
    if (!holds(jinja.code, part)) return "it has no " + part;
  for (const std::string& part : form.foreign_code)
    if (holds(jinja.code, part)) return "it has " + part;
  return "";
}

}  // namespace

ChatTemplate ChatTemplate::recognise(std::string_view jinja_text, const std::string& place) {
  const Jinja jinja = read_jinja(jinja_text);
  std::string objections, names;
  const ChatForm* found = nullptr;
  for (const ChatForm& form : chat_forms()) {
    const std::string why = objection(form, jinja);
    if (why.empty() && found) {
      fail_user(place + ": the chat template may be " + found->name + " or " + form.name +
                "; say which with --template");
    }
    if (why.empty()) found = &form;
    objections += "\n  not " + form.name + ": " + why;
    names += (names.empty() ? "" : ", ") + form.name;
  }
  if (found) return ChatTemplate(*found);
  fail_user(place + ": a chat template of no known form; expected one of " + names +
            ": choose with --template if one of them is right" + objections);
}

}  // namespace fusec::models
