// chat: a stored model and a terminal -> a conversation. Reading order: options (flags),
// models/chat_model.h (a path to a model), models/conversation.h (turns), chat_loop (the terminal).
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <iterator>

#include "chat_loop.h"
#include "command_line.h"
#include "options.h"
#include "report.h"

namespace fusec::examples {
namespace {

int run(const ChatOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  models::ChatModel model(options.model, options.open);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const bool terminal = isatty(STDIN_FILENO) != 0;
  if (options.stats || (terminal && !options.prompt)) print_model(model, seconds.count());
  if (options.prompt) return answer_once(model, options, *options.prompt);
  if (terminal) return run_chat(model, options);
  std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  if (!options.raw && text.ends_with('\n')) text.pop_back();  // of the last line, not of the text
  return answer_once(model, options, text);
}

}  // namespace
}  // namespace fusec::examples

int main(int argc, char** argv) {
  return fusec::examples::run_program("chat", [&] {
    const auto options = fusec::examples::parse_command_line(argc, argv);
    return options ? fusec::examples::run(*options) : 0;
  });
}
