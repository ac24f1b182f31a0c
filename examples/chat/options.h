// What the command line of `chat` says.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "fusec/models/chat_model.h"
#include "fusec/models/conversation.h"

namespace fusec::examples {

struct ChatOptions {
  std::string model;  // a path
  models::ChatModelOptions open;
  models::ConversationOptions chat;
  std::vector<std::string> images;  // of the first question
  std::optional<std::string> prompt;
  bool raw = false, stats = false;
};

// Nothing after --help. What is wrong is a user Error.
std::optional<ChatOptions> parse_command_line(int argc, char** argv);

}  // namespace fusec::examples
