// Segments -> tokens; see chat_render.h.
#include "fusec/models/chat_render.h"

#include <algorithm>
#include <utility>

#include "fusec/base/error.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

using Kind = ChatSegment::Kind;

// Texts between two special tokens or images, encoded together; then each token goes to the text in
// which it begins.
class Run {
 public:
  explicit Run(const BpeTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  bool empty() const { return text_.empty(); }
  void add(const ChatSegment& segment) {
    parts_.push_back({&segment, text_.size()});
    text_ += segment.value;
  }

  // Calls token(id, segment) for each, in order.
  template <typename Token>
  void encode(Token token) {
    const std::vector<int32_t> ids = tokenizer_.encode(text_);
    // Bytes count only as far as they are the text's own: a tokenizer may put a space before it, or
    // normalize what a message says. Headers are ASCII behind a special token, so up to there they
    // are.
    const bool spaced = !ids.empty() && tokenizer_.bytes(ids[0]).starts_with(' ');
    const size_t shift = spaced && !text_.starts_with(' ') ? 1 : 0;
    size_t at = 0, part = 0;
    for (const int32_t id : ids) {
      const size_t begin = std::max(at, shift) - shift;
      while (part + 1 < parts_.size() && begin >= parts_[part + 1].begin) ++part;
      token(id, *parts_[part].segment);
      at += tokenizer_.bytes(id).size();
    }
    parts_.clear();
    text_.clear();
  }

 private:
  struct RunPart {
    const ChatSegment* segment;
    size_t begin;
  };
  const BpeTokenizer& tokenizer_;
  std::vector<RunPart> parts_;
  std::string text_;
};

// Why the layout of a document failed.
ChatDrop reason_of(const io::Document& document) {
  ChatDrop reason = ChatDrop::unrenderable;
  for (const io::Message& message : document.messages) {
    const bool answer = message.role == "assistant";
    if (!answer && message.role != "system" && message.role != "user" && message.role != "tool")
      return ChatDrop::unknown_role;
    for (const io::Part& part : message.parts)
      if (answer && part.type == io::Part::Type::image) reason = ChatDrop::image_in_answer;
  }
  return reason;
}

void extend(TokenRange& range, int64_t at) {
  if (range.length == 0) range.begin = at;
  range.length = at + 1 - range.begin;
}

}  // namespace

const char* name_of(ChatDrop reason) {
  switch (reason) {
    case ChatDrop::no_answer: return "no answer";
    case ChatDrop::unknown_role: return "unknown role";
    case ChatDrop::image_in_answer: return "image in an answer";
    case ChatDrop::unrenderable: return "not renderable";
  }
  return "";
}

int64_t Rendered::supervised_tokens() const {
  return std::count(supervised.begin(), supervised.end(), uint8_t{1});
}

ChatRenderer::ChatRenderer(ChatTemplate form, BpeTokenizer tokenizer, ChatRenderOptions options)
    : form_(std::move(form)), tokenizer_(std::move(tokenizer)), options_(std::move(options)) {
  std::vector<std::string> texts = form_.specials();
  for (const std::string& text : {options_.image, options_.image_begin, options_.image_end})
    if (!text.empty()) texts.push_back(text);
  for (const AddedToken& token : tokenizer_.added_tokens()) {
    if (std::find(texts.begin(), texts.end(), token.text) == texts.end()) continue;
    if (!token.special || token.lstrip || token.rstrip) {
      fail_user("the tokenizer's token " + token.text +
                (token.special ? " takes the white space beside it along"
                               : " is not special, so that any text could write it") +
                ", which the chat template " + form_.name() + " does not expect");
    }
    specials_.emplace_back(token.text, token.id);
  }
  const std::vector<io::Message> question = {{"user", {}}, {"assistant", {}}};
  for (const ChatSegment& segment : form_.lay_out(question, false, form_.name()))
    if (segment.kind == Kind::special) special(segment.value);
  stop_ = {special(form_.turn_end())};
  for (const std::string& end : form_.other_ends()) {
    const std::optional<int32_t> id = tokenizer_.find_special(end);
    if (id && tokenizer_.is_special(*id)) stop_.push_back(*id);
  }
  for (const std::string* text : {&options_.image, &options_.image_begin, &options_.image_end})
    if (!text->empty()) special(*text);
  if (options_.image_tokens < 0 || (options_.image_tokens == 0) != options_.image.empty()) {
    fail_user("chat: " + std::to_string(options_.image_tokens) + " tokens an image of \"" +
              options_.image + "\"; expected an image token and at least one of it, or neither");
  }
}

int32_t ChatRenderer::special(const std::string& text) const {
  for (const auto& [known, id] : specials_)
    if (known == text) return id;
  fail_user("the tokenizer has no token " + text + ", which the chat template " + form_.name() +
            " needs; is it the tokenizer of such a model? --template names another template");
}

Rendered ChatRenderer::render_segments(const std::vector<ChatSegment>& segments, size_t messages,
                                       const std::string& place) const {
  Rendered result;
  result.messages.resize(messages);
  auto put = [&](int32_t id, const ChatSegment& segment) {
    const auto at = static_cast<int64_t>(result.tokens.size());
    result.tokens.push_back(id);
    if (segment.message < 0) return;
    MessageRange& message = result.messages[static_cast<size_t>(segment.message)];
    extend(message.all, at);
    if (segment.content) extend(message.content, at);
  };
  Run run(tokenizer_);
  for (const ChatSegment& segment : segments) {
    if (segment.kind == Kind::text) {
      run.add(segment);
      continue;
    }
    if (!run.empty()) run.encode(put);
    if (segment.kind == Kind::special) {
      put(special(segment.value), segment);
      continue;
    }
    if (options_.image_tokens == 0) {
      fail_user(place + ": image " + io::excerpt(segment.value) +
                ", but this model reads no images; expected text alone");
    }
    if (!options_.image_begin.empty()) put(special(options_.image_begin), segment);
    result.images.push_back(
        {{static_cast<int64_t>(result.tokens.size()), options_.image_tokens}, segment.value});
    const int32_t image = special(options_.image);
    for (int64_t k = 0; k < options_.image_tokens; ++k) put(image, segment);
    if (!options_.image_end.empty()) put(special(options_.image_end), segment);
  }
  if (!run.empty()) run.encode(put);
  result.supervised.assign(result.tokens.size(), 0);
  return result;
}

Rendered ChatRenderer::render(const io::Document& document, const std::string& place) const {
  ChatRefusal refusal;
  if (std::optional<Rendered> rendered = try_render(document, place, refusal))
    return std::move(*rendered);
  fail_user(refusal.message);
}

std::optional<Rendered> ChatRenderer::try_render(const io::Document& document,
                                                 const std::string& place,
                                                 ChatRefusal& refusal) const {
  std::vector<size_t> answers;
  for (size_t i = 0; i < document.messages.size(); ++i)
    if (document.messages[i].role == "assistant") answers.push_back(i);
  if (answers.empty()) {
    refusal = {ChatDrop::no_answer,
               place + ": no message of the assistant; expected one to learn from"};
    return std::nullopt;
  }
  std::vector<ChatSegment> segments;
  try {
    segments = form_.lay_out(document.messages, false, place);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::user) throw;
    refusal = {reason_of(document), error.message()};
    return std::nullopt;
  }
  Rendered rendered = render_segments(segments, document.messages.size(), place);
  if (options_.supervise == Supervise::last_answer) answers = {answers.back()};
  for (const size_t i : answers) {
    const TokenRange& content = rendered.messages[i].content;
    std::fill_n(rendered.supervised.begin() + content.begin, content.length, uint8_t{1});
  }
  return rendered;
}

Rendered ChatRenderer::prompt(const std::vector<io::Message>& messages) const {
  if (!messages.empty() && messages.back().role == "assistant")
    fail_user("prompt: the last message is the assistant's; expected one that it is to answer");
  return render_segments(form_.lay_out(messages, true, "prompt"), messages.size(), "prompt");
}

Rendered ChatRenderer::history(const std::vector<io::Message>& messages) const {
  return render_segments(form_.lay_out(messages, false, "conversation"), messages.size(),
                         "conversation");
}

void next_token_targets(std::span<const int32_t> tokens, std::span<const uint8_t> supervised,
                        std::span<int32_t> targets) {
  if (supervised.size() != tokens.size() || targets.size() != tokens.size()) {
    fail_internal("next_token_targets: " + std::to_string(tokens.size()) + " tokens, " +
                  std::to_string(supervised.size()) + " masks, " + std::to_string(targets.size()) +
                  " targets");
  }
  for (size_t i = 0; i < tokens.size(); ++i)
    targets[i] = i + 1 < tokens.size() && supervised[i + 1] ? tokens[i + 1] : -1;
}

}  // namespace fusec::models
