// A chat document -> tokens, which of them are supervised, and where its images lie.
//
//   <|im_start|> user \n What is it? <image> .. <image> <|im_end|> \n <|im_start|> assistant \n
//   A hat <|im_end|> \n
//   ^^^^^^^^^^^^^^^^ supervised: what the assistant says, and the token that ends its turn
//
// Texts that no special token parts are encoded together, as Hugging Face's apply_chat_template
// does. Where a header and what the assistant says become one token (its text begins with a line
// break, say), that token belongs to the header: it is given, not asked for. Special tokens come
// from the template alone; "<|im_end|>" that a message says is ten characters.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/io/documents.h"
#include "fusec/models/bpe_tokenizer.h"
#include "fusec/models/chat_template.h"

namespace fusec::models {

enum class Supervise : uint8_t {
  all_answers,  // every assistant message
  last_answer,
};

struct ChatRenderOptions {
  // An image is `image_tokens` times the token `image`, between `image_begin` and `image_end` if
  // they are not empty. All are special tokens of the tokenizer; `image` may stay empty for
  // documents without images.
  int64_t image_tokens = 0;
  std::string image, image_begin, image_end;
  Supervise supervise = Supervise::all_answers;
};

// Tokens [begin, begin + length) of a rendered document.
struct TokenRange {
  int64_t begin = 0, length = 0;
  bool operator==(const TokenRange&) const = default;
};

struct ImageSpan {
  TokenRange range;  // of the placeholders, without begin and end tokens
  std::string path;  // as the document has it
  bool operator==(const ImageSpan&) const = default;
};

struct MessageRange {
  TokenRange all;      // with header and separators
  TokenRange content;  // what the message says; of an assistant with the end of its turn
  bool operator==(const MessageRange&) const = default;
};

struct Rendered {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> supervised;  // 1: the model must produce this token
  std::vector<ImageSpan> images;    // ascending
  std::vector<MessageRange> messages;
  int64_t supervised_tokens() const;
  bool operator==(const Rendered&) const = default;
};

// Why a document is left out of training.
enum class ChatDrop : uint8_t {
  no_answer,        // no assistant message
  unknown_role,     // none of system, user, assistant, tool
  image_in_answer,  // that the assistant says
  unrenderable,     // thinking, or a part that the template has no place for
};
inline constexpr size_t kChatDrops = 4;
// "no answer".
FUSEC_API const char* name_of(ChatDrop reason);

struct ChatRefusal {
  ChatDrop reason = ChatDrop::no_answer;
  std::string message;  // "file:line: what was found, what was expected"
};

// const and safe to use from several threads at once.
class FUSEC_API ChatRenderer {
 public:
  // User Errors: the tokenizer lacks a special token that users, assistants or images need, or has
  // one that is not special (text could write it) or takes white space along; image_tokens below 0,
  // or 0 with an image token. What only a system or tool message needs is asked for when there is
  // one.
  ChatRenderer(ChatTemplate form, BpeTokenizer tokenizer, ChatRenderOptions options);

  // A document for training. `place` ("file:line") begins the messages of user Errors: those of
  // ChatTemplate::lay_out(), a document without an assistant message, an image though image_tokens
  // is 0.
  Rendered render(const io::Document& document, const std::string& place) const;
  // The same for many documents from outside: nothing, and why, where render() would refuse the
  // document. Errors about the tokenizer or the options are thrown: they concern all documents.
  std::optional<Rendered> try_render(const io::Document& document, const std::string& place,
                                     ChatRefusal& refusal) const;

  // A conversation that the assistant is to go on with: ends with its header; nothing is
  // supervised. User Error if the last message is the assistant's already.
  Rendered prompt(const std::vector<io::Message>& messages) const;
  // A conversation as it is, without a header behind it.
  Rendered history(const std::vector<io::Message>& messages) const;

  // Tokens that end an answer: the end of a turn first, then the family's others.
  const std::vector<int32_t>& stop_tokens() const { return stop_; }
  const ChatTemplate& form() const { return form_; }
  const BpeTokenizer& tokenizer() const { return tokenizer_; }
  const ChatRenderOptions& options() const { return options_; }

 private:
  Rendered render_segments(const std::vector<ChatSegment>& segments, size_t messages,
                           const std::string& place) const;
  int32_t special(const std::string& text) const;

  ChatTemplate form_;
  BpeTokenizer tokenizer_;
  ChatRenderOptions options_;
  std::vector<std::pair<std::string, int32_t>> specials_;  // those of form and options that it has
  std::vector<int32_t> stop_;
};

// Of tokens that stand in a row (a document, or a piece of one): the next token where that is
// supervised, else -1; the last one's is -1. All three have one length.
FUSEC_API void next_token_targets(std::span<const int32_t> tokens,
                                  std::span<const uint8_t> supervised, std::span<int32_t> targets);

}  // namespace fusec::models
