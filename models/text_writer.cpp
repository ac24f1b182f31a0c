// The loop from logits to text; see text_writer.h.
#include "fusec/models/text_writer.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include "fusec/models/utf8_pieces.h"

namespace fusec::models {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Tokens [begin, end) of a prompt, with the image rows among them.
Prompt part_of(const Prompt& whole, size_t begin, size_t end, size_t width) {
  Prompt part;
  part.tokens.assign(whole.tokens.begin() + static_cast<std::ptrdiff_t>(begin),
                     whole.tokens.begin() + static_cast<std::ptrdiff_t>(end));
  for (size_t i = 0; i < whole.slots.size(); ++i) {
    const auto at = static_cast<size_t>(whole.slots[i]);
    if (at < begin || at >= end) continue;
    part.slots.push_back(static_cast<int32_t>(at - begin));
    const auto row = whole.image_rows.begin() + static_cast<std::ptrdiff_t>(i * width);
    part.image_rows.insert(part.image_rows.end(), row, row + static_cast<std::ptrdiff_t>(width));
  }
  return part;
}

bool contains(const std::vector<int32_t>& ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

TextWriter::TextWriter(Generator& generator, BpeTokenizer tokenizer, const WriteOptions& options)
    : generator_(&generator),
      tokenizer_(std::move(tokenizer)),
      options_(options),
      sampler_(options.sampler) {
  if (generator.options().sequences != 1)
    fail_user("text writer: a generator of " + std::to_string(generator.options().sequences) +
              " sequences; expected one");
  if (options_.max_tokens < 0)
    fail_user("text writer: at most " + std::to_string(options_.max_tokens) +
              " tokens; expected 1 or more, or 0 for as many as fit");
  for (int32_t id = 0; id < generator.options().model.vocab; ++id)
    if (tokenizer_.bytes(id).empty() && !contains(options_.stops, id)) without_text_.push_back(id);
}

// False: interrupted.
bool TextWriter::feed(const Prompt& prompt, const OnText& on_text, std::vector<float>& logits) {
  const auto chunk = static_cast<size_t>(generator_->options().chunk);
  const auto width = static_cast<size_t>(generator_->options().model.width);
  const size_t size = prompt.tokens.size();
  for (size_t begin = 0; begin < size; begin += chunk) {
    logits = generator_->append(part_of(prompt, begin, std::min(size, begin + chunk), width));
    if (on_text && !on_text({})) return false;
  }
  return true;
}

int32_t TextWriter::choose(std::vector<float>& logits) {
  for (const int32_t id : without_text_)
    logits[static_cast<size_t>(id)] = -std::numeric_limits<float>::infinity();
  return sampler_.next(logits);
}

Answer TextWriter::write(const Prompt& prompt, int64_t keep, const OnText& on_text) {
  const auto size = static_cast<int64_t>(prompt.tokens.size());
  const int64_t context = generator_->context();
  if (size == 0) fail_user("text writer: the prompt is empty; expected one token or more");
  if (keep + size > context)
    fail_user("a prompt of " + std::to_string(keep + size) +
              " tokens does not fit the context of " + std::to_string(context) +
              "; shorten it, or take a larger context");
  Answer answer;
  answer.kept = keep;
  answer.prompt_tokens = size;
  generator_->truncate(keep);
  std::vector<float> logits;
  const Clock::time_point start = Clock::now();
  const bool fed = feed(prompt, on_text, logits);
  answer.prompt_seconds = seconds_since(start);
  if (!fed) {
    answer.end = AnswerEnd::interrupted;
    return answer;
  }

  Utf8Pieces pieces;
  while (true) {
    const int32_t token = choose(logits);
    if (contains(options_.stops, token)) {
      answer.end = AnswerEnd::stop;
      break;
    }
    answer.tokens.push_back(token);
    const std::string bytes = tokenizer_.decode({token});
    answer.text += bytes;
    if (const std::string piece = pieces.push(bytes); on_text && !on_text(piece)) {
      answer.end = AnswerEnd::interrupted;
      break;
    }
    if (static_cast<int64_t>(answer.tokens.size()) == options_.max_tokens) {
      answer.end = AnswerEnd::length;
      break;
    }
    if (generator_->length() == context) {
      answer.end = AnswerEnd::context;
      break;
    }
    const Clock::time_point before = Clock::now();
    logits = generator_->step(token);
    answer.step_seconds += seconds_since(before);
    ++answer.steps;
  }
  const std::string rest = pieces.finish();
  if (on_text && !rest.empty()) on_text(rest);
  return answer;
}

}  // namespace fusec::models
