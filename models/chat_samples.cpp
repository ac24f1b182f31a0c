// Rendered conversations to samples; see chat_samples.h.
#include "fusec/models/chat_samples.h"

#include <algorithm>

#include "fusec/base/error.h"

namespace fusec::models {
namespace {

constexpr const char* kUnsupervised = "no supervised token";

data::Rendered render_record(const ChatRenderer& renderer, bool drop,
                             const data::JsonlRecord& record) {
  const io::Document document = io::parse_document(record.value, record.place);
  ChatRefusal refusal;
  std::optional<Rendered> found = renderer.try_render(document, record.place, refusal);
  if (!found) {
    if (!drop) fail_user(refusal.message);
    return data::SampleDrop{name_of(refusal.reason), 0, refusal.message};
  }
  data::Sample sample;
  sample.targets.resize(found->tokens.size());
  next_token_targets(found->tokens, found->supervised, sample.targets);
  const bool asked = std::any_of(sample.targets.begin(), sample.targets.end(),
                                 [](int32_t target) { return target >= 0; });
  if (!asked) {
    const std::string what = record.place + ": " + kUnsupervised +
                             ": the assistant's messages are empty; remove the document";
    if (!drop) fail_user(what);
    return data::SampleDrop{kUnsupervised, static_cast<int64_t>(found->tokens.size()), what};
  }
  sample.tokens = std::move(found->tokens);
  for (ImageSpan& image : found->images)
    sample.images.push_back({image.range.begin, image.range.length, std::move(image.path)});
  return sample;
}

}  // namespace

data::Render chat_samples(ChatRenderer renderer, bool drop) {
  return [renderer = std::move(renderer), drop](const data::JsonlRecord& record) {
    return render_record(renderer, drop, record);
  };
}

}  // namespace fusec::models
