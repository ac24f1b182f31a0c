// A conversation with a model: questions and pictures in, answers out. What the model has read
// stays in the generator's cache from turn to turn (ChatSession says how much of it).
//
//   Conversation chat(generator, renderer, {.system = "Be brief.", .write = {.max_tokens = 100}});
//   std::string answer = chat.ask("What is it?", {"hat.png"}).text;
//
// When the context is full: a question must leave room for an answer behind it, of max_tokens but
// at most a quarter of the context. As long as it does not, the oldest turn (a question and all up
// to the next one) is left out; the system message stays. A question that alone leaves no room for
// all of that gets what there is, and one that does not fit at all is a user Error.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "fusec/io/documents.h"
#include "fusec/io/pixels.h"
#include "fusec/models/chat_session.h"
#include "fusec/models/text_writer.h"

namespace fusec::models {

struct ConversationOptions {
  std::string system;  // "": what the template says by itself
  WriteOptions write;  // stops: beside those of the renderer
  io::ImageFit fit = io::ImageFit::pad;
};

class Conversation {
 public:
  // The generator outlives the conversation, which has its sequence for itself, and whose weights
  // do not change while it lasts. User Error if an image has another number of tokens in the
  // renderer than in the model.
  Conversation(Generator& generator, ChatRenderer renderer, ConversationOptions options = {});

  // An answer to a text, behind images of these paths (PNG or JPEG), if there are any. An Error
  // leaves the conversation as it was, but for turns that had to go. So does an answer that was
  // interrupted before it began; another one counts as far as it came.
  Answer ask(const std::string& text, const std::vector<std::string>& images = {},
             const OnText& on_text = {});
  Answer ask(io::Message question, const OnText& on_text = {});
  // Another answer to the last question. User Error if there is none.
  Answer retry(const OnText& on_text = {});

  // Reads an image and shows it to the encoder, so that what is wrong with it is known before it is
  // asked about. A path is read once a conversation. User Errors: those of io::read_image(), a
  // model of text alone.
  void look_at(const std::string& path);

  // Forgets all but the system message.
  void reset();
  // Forgets all and begins anew with this system message.
  void set_system(const std::string& text);

  const std::vector<io::Message>& messages() const { return session_.messages(); }
  // Messages left out so far because the context was full.
  int64_t dropped() const { return dropped_; }

 private:
  int64_t prompt_length(const std::vector<io::Message>& messages) const;
  void make_room(const io::Message& question);
  Prompt prompt_of(const ChatSession::Step& step) const;
  size_t first_turn() const { return system_.empty() ? 0 : 1; }
  ChatSession begin() const;

  ChatRenderer renderer_;
  std::string system_;
  int64_t max_tokens_;
  io::ImageFit fit_;
  TextWriter writer_;
  ChatSession session_;
  std::map<std::string, std::vector<float>> rows_;  // of images, by path
  int64_t dropped_ = 0;
};

}  // namespace fusec::models
