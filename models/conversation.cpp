// Turns over a cache; see conversation.h.
#include "fusec/models/conversation.h"

#include <algorithm>

namespace fusec::models {
namespace {

WriteOptions with_stops(WriteOptions options, const std::vector<int32_t>& more) {
  options.stops.insert(options.stops.end(), more.begin(), more.end());
  return options;
}

}  // namespace

Conversation::Conversation(Generator& generator, ChatRenderer renderer, ConversationOptions options)
    : renderer_(std::move(renderer)),
      system_(std::move(options.system)),
      max_tokens_(options.write.max_tokens),
      fit_(options.fit),
      writer_(generator, renderer_.tokenizer(), with_stops(options.write, renderer_.stop_tokens())),
      session_(begin()) {
  const int64_t rows = generator.options().model.resampler.queries;
  const int64_t tokens = renderer_.options().image_tokens;
  if (tokens != 0 && tokens != rows)
    fail_user("conversation: an image is rendered as " + std::to_string(tokens) +
              " tokens, but the model has " + std::to_string(rows) + " rows of it");
  generator.reset();
}

ChatSession Conversation::begin() const {
  std::vector<io::Message> messages;
  if (!system_.empty()) messages.push_back({"system", {{io::Part::Type::text, system_}}});
  return ChatSession(renderer_, std::move(messages));
}

Answer Conversation::ask(const std::string& text, const std::vector<std::string>& images,
                         const OnText& on_text) {
  io::Message question{"user", {}};
  for (const std::string& path : images) question.parts.push_back({io::Part::Type::image, path});
  question.parts.push_back({io::Part::Type::text, text});
  return ask(std::move(question), on_text);
}

Answer Conversation::ask(io::Message question, const OnText& on_text) {
  for (const io::Part& part : question.parts)
    if (part.type == io::Part::Type::image) look_at(part.value);
  make_room(question);
  Generator& generator = writer_.generator();
  const ChatSession::Step step = session_.ask(std::move(question), generator.length());
  const auto asked = static_cast<int64_t>(session_.tokens().size());
  Answer answer;
  try {
    answer = writer_.write(prompt_of(step), step.keep, on_text);
  } catch (...) {
    generator.truncate(std::min(generator.length(), asked));
    session_.forget(messages().size() - 1, messages().size());
    throw;
  }
  if (answer.end == AnswerEnd::interrupted && answer.tokens.empty())
    session_.forget(messages().size() - 1, messages().size());
  else
    session_.answer(answer.tokens);
  return answer;
}

Answer Conversation::retry(const OnText& on_text) {
  const size_t count = messages().size();
  if (count < first_turn() + 2)
    fail_user("nothing was answered yet; expected a question before another answer to it");
  io::Message question = messages()[count - 2];
  session_.forget(count - 2, count);
  return ask(std::move(question), on_text);
}

void Conversation::look_at(const std::string& path) {
  if (rows_.count(path)) return;
  Generator& generator = writer_.generator();
  const VisionGptConfig& c = generator.options().model;
  if (c.text_only()) fail_user(path + ": this model reads no images; expected text alone");
  if (renderer_.options().image_tokens == 0)
    fail_user(path +
              ": the model has an encoder, but its tokenizer has no token that stands for "
              "an image; expected text alone");
  const auto side = static_cast<int>(c.vision.image);
  const io::Image image =
      io::square(io::read_image(path, io::decode_options(fit_, side)), fit_, side);
  std::vector<float> planes(static_cast<size_t>(3 * side) * static_cast<size_t>(side));
  io::PixelTable({c.vision.pixel_mean, c.vision.pixel_std}).write_planes(image, planes.data());
  rows_[path] = generator.encode(planes);
}

int64_t Conversation::prompt_length(const std::vector<io::Message>& messages) const {
  return static_cast<int64_t>(renderer_.prompt(messages).tokens.size());
}

void Conversation::make_room(const io::Message& question) {
  const int64_t context = writer_.generator().context();
  const int64_t quarter = std::max<int64_t>(1, context / 4);
  const int64_t room = max_tokens_ > 0 ? std::min(max_tokens_, quarter) : quarter;
  std::vector<io::Message> all = messages();
  all.push_back(question);
  // What the question alone needs, first: an Error must not cost a turn.
  std::vector<io::Message> alone(all.begin(),
                                 all.begin() + static_cast<std::ptrdiff_t>(first_turn()));
  alone.push_back(question);
  if (const int64_t least = prompt_length(alone); least > context)
    fail_user("the question takes " + std::to_string(least) + " tokens, more than the context of " +
              std::to_string(context) + "; shorten it, or take a larger context");
  while (messages().size() > first_turn() && prompt_length(all) + room > context) {
    size_t end = first_turn() + 1;
    while (end < messages().size() && all[end].role != "user") ++end;
    session_.forget(first_turn(), end);
    dropped_ += static_cast<int64_t>(end - first_turn());
    all = messages();
    all.push_back(question);
  }
}

Prompt Conversation::prompt_of(const ChatSession::Step& step) const {
  Prompt prompt;
  prompt.tokens = step.tokens;
  for (const ImageSpan& image : step.images) {
    for (int64_t i = 0; i < image.range.length; ++i)
      prompt.slots.push_back(static_cast<int32_t>(image.range.begin - step.keep + i));
    const std::vector<float>& rows = rows_.at(image.path);
    prompt.image_rows.insert(prompt.image_rows.end(), rows.begin(), rows.end());
  }
  return prompt;
}

void Conversation::reset() { session_.forget(first_turn(), messages().size()); }

void Conversation::set_system(const std::string& text) {
  system_ = text;
  writer_.generator().reset();
  session_ = begin();
}

}  // namespace fusec::models
