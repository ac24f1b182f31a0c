// A conversation -> the pieces of text, special tokens and images that a chat model was trained to
// read and write. Each model family has its own form; one form is one row of
// models/chat/template_table.cpp.
//
//   user "What is it?"  ->  <|im_start|> "user\nWhat is it?" <|im_end|> "\n"
//
// The rendered text is that of the family's own Jinja template in Hugging Face `transformers`,
// token for token, with one difference: special tokens come from the template alone, never from
// what a message says. Tools' descriptions are not rendered; calls and results are
// (io::Part::Type::tool).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/io/documents.h"

namespace fusec::models {

struct ChatSegment {
  enum class Kind { text, special, image } kind = Kind::text;
  std::string value;  // the text, the special token's text, or the image's path
  int message = -1;   // its index in the conversation; -1: what the template adds of its own
  // Is it what the message says, rather than what stands around it? Of the assistant's messages
  // these are what a model must write, the token that ends its turn included.
  bool content = false;
  bool operator==(const ChatSegment&) const = default;
};

struct ChatForm;

// Cheap to copy; const and safe to use from several threads at once.
class FUSEC_API ChatTemplate {
 public:
  // "chatml", "smollm2", "qwen2", "qwen2.5", "qwen3" (without thinking), "llama3", "llama3.1" (3.1
  // to 3.3), and "plain", of the bundled models.
  static std::vector<std::string> names();
  // User Error if there is none of this name.
  static ChatTemplate named(std::string_view name);
  // The one whose texts are those of a model's own Jinja template (chat_template of
  // tokenizer_config.json, tokenizer.chat_template of a GGUF file): all that the Jinja text prints
  // must be known, and all that a form needs must be there. Else a user Error that `place` begins,
  // with what was found and the names to choose from: a wrong form would train or ask a model in a
  // language it does not speak.
  static ChatTemplate recognise(std::string_view jinja, const std::string& place);

  const std::string& name() const;
  // The special tokens that it is made of, those that only some roles need included.
  std::vector<std::string> specials() const;
  // The special token that ends the assistant's turn.
  const std::string& turn_end() const;
  // Further tokens after which a model of the family has nothing to say, if its tokenizer has them.
  std::vector<std::string> other_ends() const;

  // Llama 3.1 tells the model a date, and 3.2's own template that of the day it runs; here it is
  // "26 Jul 2024", the first one's, unless set. User Error if the template has no date.
  ChatTemplate with_date(const std::string& date) const;

  // A whole conversation, with the assistant's header behind it if `prompt`: what a model is given
  // so that it answers. User Errors, begun by `place`: no message, an unknown role, an image or a
  // tool part where the template has no place for it, a message with thinking.
  std::vector<ChatSegment> lay_out(const std::vector<io::Message>& messages, bool prompt,
                                   const std::string& place) const;

  bool operator==(const ChatTemplate&) const = default;

 private:
  explicit ChatTemplate(const ChatForm& form);

  const ChatForm* form_;
  std::string date_;
};

}  // namespace fusec::models
