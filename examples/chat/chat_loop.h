// A chat in a terminal: lines and commands in, answers out.
#pragma once

#include "fusec/models/chat_model.h"
#include "options.h"

namespace fusec::examples {

// One answer to `text`; the exit code.
int answer_once(models::ChatModel& model, const ChatOptions& options, const std::string& text);

// Reads lines from stdin until it ends, or /quit.
int run_chat(models::ChatModel& model, const ChatOptions& options);

}  // namespace fusec::examples
