// Lines of a terminal to a Conversation; see chat_loop.h. A line that begins with "/" is a command;
// "//" sends the rest with one "/". A command that fails says why, and the chat goes on.
#include "chat_loop.h"

#include <fmt/format.h>

#include <functional>
#include <iostream>
#include <utility>

#include "fusec/base/nearest.h"
#include "interrupt.h"
#include "printer.h"
#include "report.h"

namespace fusec::examples {
namespace {

using models::Answer;
using models::OnText;

constexpr int kInterrupted = 130;  // as a shell reports a program that Ctrl-C ended

// Streams what `ask` answers; Ctrl-C ends the answer.
Answer stream(const std::function<Answer(const OnText&)>& ask) {
  Printer printer;
  const AnswerInterrupt interrupt;
  Answer answer = ask([&](std::string_view piece) {
    printer.print(piece);
    return !interrupt.requested();
  });
  printer.end_line();
  return answer;
}

// What the models of a chat and of continued texts have in common.
models::WriteOptions write_options(const models::ChatModel& model, const ChatOptions& options) {
  models::WriteOptions write = options.chat.write;
  write.stops = model.ends();
  return write;
}

models::Conversation converse(models::ChatModel& model, const ChatOptions& options) {
  models::ConversationOptions chat = options.chat;
  chat.write = write_options(model, options);
  return {model.generator(), model.renderer(), std::move(chat)};
}

Answer continue_text(models::ChatModel& model, models::TextWriter& writer,
                     const std::string& text) {
  models::Prompt prompt;
  prompt.tokens = model.tokenizer().prefix();
  const std::vector<int32_t> ids = model.tokenizer().encode(text);
  prompt.tokens.insert(prompt.tokens.end(), ids.begin(), ids.end());
  return stream([&](const OnText& on_text) { return writer.write(prompt, 0, on_text); });
}

class ChatLoop {
 public:
  ChatLoop(models::ChatModel& model, const ChatOptions& options)
      : model_(model), show_stats_(options.stats), images_(options.images) {
    if (options.raw)
      writer_.emplace(model.generator(), model.tokenizer(), write_options(model, options));
    else
      chat_.emplace(converse(model, options));
    for (const std::string& path : images_) chat_->look_at(path);
  }

  int run() {
    fmt::print(stderr, "{}; /help lists commands, Ctrl-C ends an answer\n",
               chat_ ? "ask" : "each line is continued");
    std::string line;
    while (!quit_ && read_line(line)) {
      try {
        obey(line);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::user && error.kind() != ErrorKind::unsupported) throw;
        fmt::print(stderr, "{}\n", error.what());
      }
    }
    return 0;
  }

 private:
  struct Command {
    const char *name, *argument, *help;
    bool chats;  // needs a conversation
    void (ChatLoop::*run)(const std::string& argument);
  };
  static const std::vector<Command>& commands() {
    static const std::vector<Command> all = {
        {"/reset", "", "forget the conversation, but for the system message", true,
         &ChatLoop::reset},
        {"/system", "TEXT", "begin anew with this system message", true, &ChatLoop::system},
        {"/image", "PATH", "a picture (PNG or JPEG) for the next question", true, &ChatLoop::image},
        {"/retry", "", "another answer to the last question", true, &ChatLoop::retry},
        {"/stats", "", "speed and use of the cache; on or off for later answers", false,
         &ChatLoop::stats},
        {"/help", "", "this list", false, &ChatLoop::help},
        {"/quit", "", "end; so does Ctrl-D", false, &ChatLoop::quit},
    };
    return all;
  }

  static bool read_line(std::string& line) {
    fmt::print(stderr, ">>> ");
    std::fflush(stderr);
    if (std::getline(std::cin, line)) return true;
    fmt::print(stderr, "\n");
    return false;
  }

  void obey(const std::string& line) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) return;
    if (line[0] != '/') return say(line);
    if (line.starts_with("//")) return say(line.substr(1));
    const size_t space = line.find(' ');
    const std::string name = line.substr(0, space);
    std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
    argument.erase(argument.find_last_not_of(" \t\r") + 1);
    std::vector<std::string> names;
    for (const Command& command : commands()) {
      names.emplace_back(command.name);
      if (name != command.name) continue;
      if (command.chats && !chat_) fail_user(name + " belongs to a conversation; --raw has none");
      if (argument.empty() != (command.argument[0] == '\0'))
        fail_user(fmt::format("expected {} {}", command.name, command.argument));
      return (this->*command.run)(argument);
    }
    fail_user(fmt::format("no command \"{}\"{}; a text that begins with / is written //", name,
                          suggest(name, names)));
  }

  void say(const std::string& text) {
    if (!chat_) return show(continue_text(model_, *writer_, text));
    const std::vector<std::string> images = images_;
    const int64_t before = chat_->dropped();
    const Answer answer =
        stream([&](const OnText& on_text) { return chat_->ask(text, images, on_text); });
    images_.clear();
    finish(answer, before);
  }

  void finish(const Answer& answer, int64_t dropped_before) {
    if (const int64_t dropped = chat_->dropped() - dropped_before; dropped > 0)
      fmt::print(stderr, "[the context is full: the {} oldest messages were left out]\n", dropped);
    show(answer);
  }

  void show(const Answer& answer) {
    last_ = answer;
    print_end(answer, model_.generator());
    if (show_stats_) print_statistics(answer, model_.generator());
  }

  void reset(const std::string&) { chat_->reset(); }
  void system(const std::string& text) { chat_->set_system(text); }
  void image(const std::string& path) {
    chat_->look_at(path);
    images_.push_back(path);
    fmt::print(stderr, "[{} for the next question]\n",
               images_.size() == 1 ? "a picture" : fmt::format("{} pictures", images_.size()));
  }
  void retry(const std::string&) {
    const int64_t before = chat_->dropped();
    finish(stream([&](const OnText& on_text) { return chat_->retry(on_text); }), before);
  }
  void stats(const std::string&) {
    show_stats_ = !show_stats_;
    if (last_) print_statistics(*last_, model_.generator());
  }
  void help(const std::string&) {
    for (const Command& c : commands())
      fmt::print(stderr, "  {:<14} {}\n", fmt::format("{} {}", c.name, c.argument), c.help);
  }
  void quit(const std::string&) { quit_ = true; }

  models::ChatModel& model_;
  bool show_stats_, quit_ = false;
  std::vector<std::string> images_;
  std::optional<models::Conversation> chat_;
  std::optional<models::TextWriter> writer_;
  std::optional<Answer> last_;
};

}  // namespace

int answer_once(models::ChatModel& model, const ChatOptions& options, const std::string& text) {
  Answer answer;
  if (options.raw) {
    models::TextWriter writer(model.generator(), model.tokenizer(), write_options(model, options));
    answer = continue_text(model, writer, text);
  } else {
    models::Conversation chat = converse(model, options);
    answer = stream([&](const OnText& on_text) { return chat.ask(text, options.images, on_text); });
  }
  print_end(answer, model.generator());
  if (options.stats) print_statistics(answer, model.generator());
  return answer.end == models::AnswerEnd::interrupted ? kInterrupted : 0;
}

int run_chat(models::ChatModel& model, const ChatOptions& options) {
  return ChatLoop(model, options).run();
}

}  // namespace fusec::examples
