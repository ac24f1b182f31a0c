// A form and messages -> segments; see chat_template.h.
#include "fusec/models/chat_template.h"

#include <algorithm>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"
#include "strip.h"
#include "template_table.h"

namespace fusec::models {
namespace {

using Kind = ChatSegment::Kind;
using io::Message;
using io::Part;

// Text of the template -> its special tokens and what lies between them.
std::vector<std::pair<Kind, std::string>> cut(const ChatForm& form, std::string_view text) {
  std::vector<std::pair<Kind, std::string>> pieces;
  while (!text.empty()) {
    size_t at = text.size();
    const std::string* found = nullptr;
    for (const std::string& special : form.specials) {
      if (const size_t place = text.find(special); place < at) {
        at = place;
        found = &special;
      }
    }
    if (at > 0) pieces.emplace_back(Kind::text, text.substr(0, at));
    if (found) pieces.emplace_back(Kind::special, *found);
    text.remove_prefix(at + (found ? found->size() : 0));
  }
  return pieces;
}

// Neighbouring texts are one, as in the string that a Jinja template gets.
std::vector<Part> joined(const std::vector<Part>& parts) {
  std::vector<Part> result;
  for (const Part& part : parts) {
    if (part.type == Part::Type::text && !result.empty() && result.back().type == part.type)
      result.back().value += part.value;
    else
      result.push_back(part);
  }
  return result;
}

class Layout {
 public:
  Layout(const ChatForm& form, const std::string& date, const std::vector<Message>& messages,
         const std::string& place)
      : form_(form), date_(date), messages_(messages), place_(place + ": ") {
    // What answers the last question may have thought about it.
    last_query_ = messages.size() - 1;
    for (size_t i = messages.size(); i-- > 0;) {
      if (messages[i].role != "user") continue;
      const std::string text = text_of(messages[i]);
      if (text.starts_with("<tool_response>") && text.ends_with("</tool_response>")) continue;
      last_query_ = i;
      break;
    }
  }

  std::vector<ChatSegment> run(bool prompt) {
    add_template(form_.begin, -1);
    if (messages_[0].role != "system" &&
        (!form_.default_system.empty() || !form_.system_preamble.empty())) {
      add_template(form_.system.before + preamble() + form_.default_system + form_.system.after,
                   -1);
    }
    for (size_t i = 0; i < messages_.size(); ++i) message(i);
    if (prompt) {
      add_template(form_.assistant.before + form_.no_thought, -1);
    }
    return std::move(segments_);
  }

 private:
  static std::string text_of(const Message& message) {
    std::string text;
    for (const Part& part : message.parts)
      if (part.type == Part::Type::text) text += part.value;
    return text;
  }

  std::string where(size_t i) const { return place_ + "messages[" + std::to_string(i) + "]"; }

  std::string preamble() const {
    std::string text = form_.system_preamble;
    if (const size_t at = text.find(kDateMark); at != std::string::npos)
      text.replace(at, kDateMark.size(), date_);
    return text;
  }

  void add(Kind kind, std::string value, int message, bool content) {
    segments_.push_back({kind, std::move(value), message, content});
  }

  void add_template(std::string_view text, int message) {
    for (auto& [kind, value] : cut(form_, text)) add(kind, std::move(value), message, false);
  }

  void message(size_t i) {
    const Message& message = messages_[i];
    const int index = static_cast<int>(i);
    const bool is_tool = message.role == "tool";
    const ChatFrame& frame = frame_of(message.role, i);
    auto is_tool_at = [&](size_t k) { return k < messages_.size() && messages_[k].role == "tool"; };
    if (is_tool && (i == 0 || !is_tool_at(i - 1))) add_template(form_.tool_run.before, index);
    add_template(frame.before, index);
    if (message.role == "system" && i == 0) add_template(preamble(), index);
    if (message.role == "assistant") {
      answer(i);
    } else {
      content(i, is_tool);
      add_template(frame.after, index);
    }
    if (is_tool && !is_tool_at(i + 1)) add_template(form_.tool_run.after, index);
  }

  const ChatFrame& frame_of(const std::string& role, size_t i) const {
    if (role == "system") return form_.system;
    if (role == "user") return form_.user;
    if (role == "assistant") return form_.assistant;
    if (role == "tool") return form_.tool;
    fail_user(where(i) + ".role is \"" + io::excerpt(role) + "\"" +
              suggest(io::excerpt(role), {"system", "user", "assistant", "tool"}));
  }

  void content(size_t i, bool is_tool) {
    std::vector<Part> parts = messages_[i].parts;
    for (Part& part : parts) {
      if (part.type == Part::Type::tool && !is_tool)
        fail_user(where(i) +
                  " holds a tool part; expected it in a message of the assistant or tool");
      if (part.type == Part::Type::image && is_tool && form_.quotes_results)
        fail_user(where(i) + " holds an image; the results of tools are text in " + form_.name);
      if (part.type == Part::Type::tool) part.type = Part::Type::text;
    }
    parts = joined(parts);
    if (is_tool && form_.quotes_results) {
      const std::string result = parts.empty() ? "" : parts[0].value;
      parts = {{Part::Type::text, json_quoted(result)}};
    } else if (form_.trims && !parts.empty()) {
      if (Part& first = parts.front(); first.type == Part::Type::text)
        first.value = strip_begin(first.value);
      if (Part& last = parts.back(); last.type == Part::Type::text)
        last.value = strip_end(last.value);
    }
    for (Part& part : parts) {
      const Kind kind = part.type == Part::Type::image ? Kind::image : Kind::text;
      if (kind == Kind::image || !part.value.empty())
        add(kind, std::move(part.value), static_cast<int>(i), true);
    }
  }

  // What a model writes: text and calls, then the end of its turn.
  void answer(size_t i) {
    std::string text;
    bool after_call = false;
    for (const Part& part : joined(messages_[i].parts)) {
      const bool call = part.type == Part::Type::tool && !form_.call.before.empty();
      if (part.type == Part::Type::image) {
        fail_user(where(i) +
                  " is an image that the assistant says; models here write text: images "
                  "belong to messages of the user, the system or a tool");
      }
      if ((call || after_call) && !text.empty()) text += '\n';
      text += call ? form_.call.before + part.value + form_.call.after : part.value;
      after_call = call;
    }
    if (form_.trims) text = strip_end(strip_begin(text));
    const int index = static_cast<int>(i);
    if (!form_.no_thought.empty()) {
      if (text.find("</think>") != std::string::npos) {
        fail_user(where(i) + " holds thinking (\"</think>\"); " + form_.name +
                  " is rendered without: remove what stands up to it");
      }
      if (i > last_query_ && i + 1 == messages_.size()) {
        add_template(form_.no_thought, index);
        text.erase(0, std::min(text.find_first_not_of('\n'), text.size()));
      }
    }
    if (!text.empty()) add(Kind::text, std::move(text), index, true);
    bool ended = false;
    for (auto& [kind, value] : cut(form_, form_.assistant.after)) {
      const bool end = kind == Kind::special && !ended;
      ended |= end;
      add(kind, std::move(value), index, end);
    }
  }

  const ChatForm& form_;
  const std::string& date_;
  const std::vector<Message>& messages_;
  const std::string place_;
  size_t last_query_;
  std::vector<ChatSegment> segments_;
};

}  // namespace

ChatTemplate::ChatTemplate(const ChatForm& form) : form_(&form) {
  if (form.system_preamble.find(kDateMark) != std::string::npos) date_ = "26 Jul 2024";
}

std::vector<std::string> ChatTemplate::names() {
  std::vector<std::string> names;
  for (const ChatForm& form : chat_forms()) names.push_back(form.name);
  return names;
}

ChatTemplate ChatTemplate::named(std::string_view name) {
  for (const ChatForm& form : chat_forms())
    if (form.name == name) return ChatTemplate(form);
  fail_user("no chat template \"" + io::excerpt(name) + "\"" + suggest(io::excerpt(name), names()));
}

const std::string& ChatTemplate::name() const { return form_->name; }
std::vector<std::string> ChatTemplate::specials() const { return form_->specials; }
std::vector<std::string> ChatTemplate::other_ends() const { return form_->other_ends; }

const std::string& ChatTemplate::turn_end() const {
  for (const std::string& special : form_->specials)
    if (form_->assistant.after.starts_with(special)) return special;
  fail_internal("chat template " + name() +
                ": the assistant's turn does not end with a special token");
}

ChatTemplate ChatTemplate::with_date(const std::string& date) const {
  if (date_.empty()) fail_user("chat template " + name() + " tells the model no date");
  ChatTemplate dated = *this;
  dated.date_ = date;
  return dated;
}

std::vector<ChatSegment> ChatTemplate::lay_out(const std::vector<io::Message>& messages,
                                               bool prompt, const std::string& place) const {
  if (messages.empty()) fail_user(place + ": no messages; expected at least one");
  return Layout(*form_, date_, messages, place).run(prompt);
}

}  // namespace fusec::models
