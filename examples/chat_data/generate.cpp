// Draws how long each conversation is, and has it told; see generate.h.
#include "generate.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <string>

#include "fusec/base/error.h"

namespace fusec::examples {
namespace {

constexpr uint64_t kOrderStream = uint64_t{1} << 40;
constexpr uint64_t kValidationStream = uint64_t{1} << 41;

std::vector<size_t> shuffled(size_t count, Draw draw) {
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = count; i > 1; --i) std::swap(order[i - 1], order[draw.below(i)]);
  return order;
}

// exp(N(median's log, sigma)), rounded, within [least, most].
int log_normal(Draw& draw, double median, double sigma, int least, int most) {
  const double value = median * std::exp(sigma * draw.normal());
  return static_cast<int>(std::lround(std::clamp(value, double(least), double(most))));
}

Shape draw_shape(Draw& draw, const GenerateOptions& options) {
  const double kind = draw.uniform();
  if (kind <= options.long_ones) {
    const int images = 4 + static_cast<int>(draw.below(kMostImages - 3));
    return {log_normal(draw, 9, 0.4, 5, 24), images};
  }
  if (kind <= options.long_ones + options.several)
    return {log_normal(draw, 1.3, 0.6, 1, 8), log_normal(draw, 2.2, 0.35, 2, 6)};
  const int turns = log_normal(draw, 1.4, 0.7, 1, 12);
  if (kind <= options.long_ones + options.several + options.text_only) return {turns, 0};
  return {turns, turns >= 3 ? 1 + static_cast<int>(draw.below(3)) : 1};
}

std::string numbered(const char* prefix, int64_t number) {
  char text[32];
  std::snprintf(text, sizeof text, "%s-%06lld", prefix, static_cast<long long>(number));
  return text;
}

// Pictures in shuffled order, so that all are used about equally often.
class Supply {
 public:
  Supply(const Sources& sources, uint64_t seed, uint64_t stream)
      : sources_(sources), order_(shuffled(sources.shown->size(), Draw(seed, stream))) {}

  Conversation make(const Shape& shape, Draw& draw, const std::string& id, const char* subset) {
    Conversation conversation = converse(sources_, shape, draw, order_, next_);
    conversation.document.id = id;
    conversation.document.category = name_of(conversation.turns[0].kind);
    conversation.document.subset = subset;
    return conversation;
  }

 private:
  Sources sources_;
  std::vector<size_t> order_;
  size_t next_ = 0;
};

void check(const GenerateOptions& options) {
  const double shares[] = {options.text_only, options.several, options.long_ones};
  double sum = 0;
  for (const double share : shares) {
    if (!(share >= 0 && share <= 1))
      fail_user("chat_data: a share of documents is " + std::to_string(share) +
                "; expected 0 to 1");
    sum += share;
  }
  if (sum > 1)
    fail_user("chat_data: the shares of documents add up to " + std::to_string(sum) +
              "; expected at most 1");
  if (options.train < 0 || options.validation < 0)
    fail_user("chat_data: a negative number of documents");
}

}  // namespace

ChatData generate(const PictureSets& pictures, const GenerateOptions& options) {
  check(options);
  const std::vector<Picture>& train = pictures[static_cast<size_t>(ChatSubset::train)];
  ChatData data;
  Supply supply({&train, &train, &train}, options.seed, kOrderStream);
  for (int64_t i = 0; i < options.train; ++i) {
    Draw draw(options.seed, static_cast<uint64_t>(i));
    const Shape shape = draw_shape(draw, options);
    data.train.push_back(
        supply.make(shape, draw, numbered("train", i), name_of(ChatSubset::train)));
  }
  std::vector<Supply> held_out;
  for (const ChatSubset subset : {ChatSubset::val_tones, ChatSubset::val_unseen}) {
    const std::vector<Picture>& shown = pictures[static_cast<size_t>(subset)];
    held_out.emplace_back(Sources{&shown, &train, &shown}, options.seed,
                          kOrderStream + static_cast<uint64_t>(subset));
  }
  for (int64_t i = 0; i < options.validation; ++i) {
    Draw draw(options.seed, kValidationStream + static_cast<uint64_t>(i));
    const size_t which = static_cast<size_t>(i) % held_out.size();
    Shape shape = draw_shape(draw, options);
    shape.images = std::max(shape.images, 1);  // of text alone nothing is held out
    data.validation.push_back(
        held_out[which].make(shape, draw, numbered("val", i), name_of(kChatSubsets[1 + which])));
  }
  return data;
}

}  // namespace fusec::examples
