// A conversation with a model whose keys and values stay in a cache: what must be fed when the user
// says something. What the model has then read is always what rendering the whole conversation anew
// gives; where that differs from what the cache holds (an answer whose text has another encoding
// than the tokens it was made of, a template that writes earlier answers differently), the cache is
// cut back to what both begin with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fusec/base/export.h"
#include "fusec/io/documents.h"
#include "fusec/models/chat_render.h"

namespace fusec::models {

class FUSEC_API ChatSession {
 public:
  struct Step {
    int64_t keep = 0;               // tokens of the cache that stay
    std::vector<int32_t> tokens;    // to feed behind them, at least one
    std::vector<ImageSpan> images;  // among `tokens`; ranges count from the conversation's start
  };

  // `messages`: what the conversation begins with, such as a system message.
  explicit ChatSession(ChatRenderer renderer, std::vector<io::Message> messages = {});

  // Adds a message and says what to feed so that the model answers. `cached`: the tokens whose keys
  // and values the cache holds, counted from the conversation's start; more than were ever fed and
  // answered is a user Error. Errors of ChatRenderer::prompt(), after which the conversation is
  // what it was.
  Step ask(io::Message message, int64_t cached);

  // Adds the model's answer, by the tokens that it gave after ask(); those from the first stop
  // token on are no text. Returns the text. User Error if nothing was asked.
  std::string answer(const std::vector<int32_t>& tokens);

  // Takes messages [begin, end) out of the conversation. What the cache holds is remembered, so
  // that the next ask() keeps what both begin with. User Error if there are no such messages.
  void forget(size_t begin, size_t end);

  const std::vector<io::Message>& messages() const { return messages_; }
  const ChatRenderer& renderer() const { return renderer_; }
  // Tokens that the model has read and written so far: the last prompt and the answer behind it.
  const std::vector<int32_t>& tokens() const { return tokens_; }

 private:
  ChatRenderer renderer_;
  std::vector<io::Message> messages_;
  std::vector<int32_t> tokens_;
  std::vector<ImageSpan> images_;  // of tokens_
};

}  // namespace fusec::models
