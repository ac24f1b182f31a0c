// The forms of conversations that chat models read: one row a family.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fusec::models {

// What stands around a message's content.
struct ChatFrame {
  std::string before, after;
};

// Special tokens in these texts are those listed in `specials`; all the rest is text.
struct ChatForm {
  std::string name;
  std::vector<std::string> specials;
  std::string begin;  // before the whole conversation
  ChatFrame system, user, assistant, tool;
  // Before and behind a run of tool messages, which then share a turn.
  ChatFrame tool_run = {};
  ChatFrame call = {};  // around an assistant's call of a tool, which has a line of its own
  // Of a conversation that does not begin with a system message; empty: it gets none.
  std::string default_system = {};
  // Before the first system message's content. A form that has it always has a system message.
  std::string system_preamble = {};  // "%DATE%" stands for the date
  bool trims = false;           // white space around contents goes, except around results of tools
  bool quotes_results = false;  // results of tools are JSON strings
  // Behind the assistant's header of the last answer, and of a prompt: a thought that is empty.
  std::string no_thought = {};
  std::vector<std::string> other_ends = {};

  // For recognise(). What the Jinja text must and must not hold outside of what it prints.
  std::vector<std::string> code = {};
  std::vector<std::string> foreign_code = {};
  // Printed texts that hold one of these belong to the description of tools.
  std::vector<std::string> tool_texts = {};
};

inline constexpr std::string_view kDateMark = "%DATE%";

std::span<const ChatForm> chat_forms();

}  // namespace fusec::models
