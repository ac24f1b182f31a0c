// Each question renders all messages anew and compares; see chat_session.h.
#include "fusec/models/chat_session.h"

#include <algorithm>
#include <utility>

#include "fusec/base/error.h"

namespace fusec::models {

ChatSession::ChatSession(ChatRenderer renderer, std::vector<io::Message> messages)
    : renderer_(std::move(renderer)), messages_(std::move(messages)) {}

ChatSession::Step ChatSession::ask(io::Message message, int64_t cached) {
  if (cached < 0 || cached > static_cast<int64_t>(tokens_.size())) {
    fail_user("chat: " + std::to_string(cached) + " tokens in the cache of a conversation of " +
              std::to_string(tokens_.size()));
  }
  messages_.push_back(std::move(message));
  Rendered whole;
  try {
    whole = renderer_.prompt(messages_);
  } catch (...) {
    messages_.pop_back();
    throw;
  }
  // The last token must be fed in any case: its logits are the answer's first.
  const auto most = std::min({cached, static_cast<int64_t>(tokens_.size()),
                              static_cast<int64_t>(whole.tokens.size()) - 1});
  Step step;
  while (step.keep < most &&
         tokens_[static_cast<size_t>(step.keep)] == whole.tokens[static_cast<size_t>(step.keep)])
    ++step.keep;
  // Equal placeholders may stand for different pictures, and a picture is fed whole.
  for (const ImageSpan& image : whole.images) {
    const bool known = std::find(images_.begin(), images_.end(), image) != images_.end();
    const bool whole_in_cache = image.range.begin + image.range.length <= step.keep;
    if (!known || !whole_in_cache) step.keep = std::min(step.keep, image.range.begin);
  }
  for (const ImageSpan& image : whole.images)
    if (image.range.begin >= step.keep) step.images.push_back(image);
  step.tokens.assign(whole.tokens.begin() + step.keep, whole.tokens.end());
  tokens_ = std::move(whole.tokens);
  images_ = std::move(whole.images);
  return step;
}

std::string ChatSession::answer(const std::vector<int32_t>& tokens) {
  if (messages_.empty() || messages_.back().role == "assistant")
    fail_user("chat: an answer, but nothing was asked");
  const std::vector<int32_t>& stops = renderer_.stop_tokens();
  const auto end = std::find_first_of(tokens.begin(), tokens.end(), stops.begin(), stops.end());
  std::string text = renderer_.tokenizer().decode({tokens.begin(), end});
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  messages_.push_back({"assistant", {{io::Part::Type::text, text}}});
  return text;
}

void ChatSession::forget(size_t begin, size_t end) {
  if (begin > end || end > messages_.size()) {
    fail_user("chat: no messages " + std::to_string(begin) + " to " + std::to_string(end) +
              " in a conversation of " + std::to_string(messages_.size()));
  }
  messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(begin),
                  messages_.begin() + static_cast<std::ptrdiff_t>(end));
}

}  // namespace fusec::models
