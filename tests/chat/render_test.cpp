// Masks, image spans, ranges of messages, targets, and what is refused.
#include "fusec/models/chat_render.h"

#include <algorithm>

#include "fixtures.h"
#include "fusec/base/philox.h"

using namespace fusec;
using namespace fusec::tests;
using models::ChatDrop;
using models::ChatRefusal;
using models::ChatRenderer;
using models::ChatRenderOptions;
using models::ChatTemplate;
using models::Rendered;
using models::Supervise;
using Type = io::Part::Type;

namespace {

const ChatRenderOptions kImages = {.image_tokens = 3,
                                   .image = "<|image|>",
                                   .image_begin = "<|image_begin|>",
                                   .image_end = "<|image_end|>"};

// The text of the supervised tokens, special ones included.
std::string supervised_text(const ChatRenderer& renderer, const Rendered& rendered) {
  std::string text;
  for (size_t i = 0; i < rendered.tokens.size(); ++i)
    if (rendered.supervised[i]) text += renderer.tokenizer().bytes(rendered.tokens[i]);
  return text;
}

std::string text_of(const ChatRenderer& renderer, const Rendered& rendered,
                    models::TokenRange range) {
  const auto begin = rendered.tokens.begin() + range.begin;
  return renderer.tokenizer().decode({begin, begin + range.length}, true);
}

}  // namespace

TEST_CASE("render: exactly what the assistant says, and the end of its turns, is supervised") {
  const io::Document document =
      document_of({text_message("system", "Be brief."), text_message("user", "One?"),
                   text_message("assistant", "first answer"), text_message("tool", "a result"),
                   text_message("user", "Two?"), text_message("assistant", "second")});
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const ChatRenderer all = renderer_for(form);
    const std::string end = all.form().turn_end();
    CHECK(supervised_text(all, all.render(document, "d")) == "first answer" + end + "second" + end);
    const ChatRenderer last = renderer_for(form, {.supervise = Supervise::last_answer});
    CHECK(supervised_text(last, last.render(document, "d")) == "second" + end);
    CHECK(all.render(document, "d").tokens == last.render(document, "d").tokens);
    CHECK(all.render(document, "d").supervised_tokens() >
          last.render(document, "d").supervised_tokens());
  }
}

TEST_CASE("render: a text that becomes one token with its header is not asked for") {
  const ChatRenderer renderer = renderer_for("chatml");
  const io::Document document =
      document_of({text_message("user", "x"), text_message("assistant", "\nyes")});
  const Rendered rendered = renderer.render(document, "d");
  CHECK(renderer.tokenizer().decode(rendered.tokens, true) ==
        "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\n\nyes<|im_end|>\n");
  const std::string asked = supervised_text(renderer, rendered);
  CHECK((asked == "yes<|im_end|>" || asked == "\nyes<|im_end|>"));
  // Nothing but the end of the turn is left of a text of white space in a form that trims.
  const ChatRenderer trims = renderer_for("llama3");
  const io::Document blank =
      document_of({text_message("user", "x"), text_message("assistant", " \n ")});
  CHECK(supervised_text(trims, trims.render(blank, "d")) == "<|eot_id|>");
}

TEST_CASE("render: images are spans in place, between their begin and end tokens") {
  const ChatRenderer renderer = renderer_for("chatml", kImages);
  const models::BpeTokenizer& tokenizer = renderer.tokenizer();
  const io::Document document = document_of({{"user",
                                              {{Type::text, "Is "},
                                               {Type::image, "a.png"},
                                               {Type::image, "b.png"},
                                               {Type::text, " <|image|>?"}}},
                                             {"assistant", {{Type::text, "Yes"}}},
                                             {"tool", {{Type::image, "c.png"}}},
                                             {"assistant", {{Type::text, "And c"}}}});
  const Rendered rendered = renderer.render(document, "d");
  REQUIRE(rendered.images.size() == 3);
  const int32_t image = tokenizer.special("<|image|>");
  for (size_t k = 0; k < 3; ++k) {
    const models::ImageSpan& span = rendered.images[k];
    CHECK(span.path == std::string(1, "abc"[k]) + ".png");
    CHECK(span.range.length == 3);
    for (int64_t i = 0; i < 3; ++i)
      CHECK(rendered.tokens[static_cast<size_t>(span.range.begin + i)] == image);
    const auto begin = static_cast<size_t>(span.range.begin);
    CHECK(rendered.tokens[begin - 1] == tokenizer.special("<|image_begin|>"));
    CHECK(rendered.tokens[begin + 3] == tokenizer.special("<|image_end|>"));
    for (size_t i = begin - 1; i < begin + 4; ++i) CHECK(!rendered.supervised[i]);
  }
  // Text that spells the token is text.
  CHECK(std::count(rendered.tokens.begin(), rendered.tokens.end(), image) == 9);
  CHECK(contains(tokenizer.decode(rendered.tokens), "Is  <|image|>?"));
  CHECK(supervised_text(renderer, rendered) == "Yes<|im_end|>And c<|im_end|>");
  CHECK(text_of(renderer, rendered, rendered.messages[1].all) ==
        "<|im_start|>assistant\nYes<|im_end|>\n");
  CHECK(text_of(renderer, rendered, rendered.messages[1].content) == "Yes<|im_end|>");
  CHECK(text_of(renderer, rendered, rendered.messages[0].content) ==
        "Is <|image_begin|><|image|><|image|><|image|><|image_end|>"
        "<|image_begin|><|image|><|image|><|image|><|image_end|> <|image|>?");
  // A template that trims does so at the ends of a message, not beside its images.
  const ChatRenderer trims = renderer_for("llama3", kImages);
  const Rendered trimmed = trims.render(
      document_of({{"user", {{Type::text, "  see "}, {Type::image, "a.png"}, {Type::text, " so "}}},
                   text_message("assistant", "ok")}),
      "d");
  CHECK(text_of(trims, trimmed, trimmed.messages[0].content) ==
        "see <|image_begin|><|image|><|image|><|image|><|image_end|> so");
}

TEST_CASE("render: message ranges lie one behind the other") {
  const io::Document document = document_of(
      {text_message("user", "\u00e9 e\u0301 hi"), text_message("tool", "r1"),
       text_message("tool", "r2"), text_message("assistant", ""), text_message("user", "")});
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const ChatRenderer renderer = renderer_for(form);
    const Rendered rendered = renderer.render(document, "d");
    REQUIRE(rendered.messages.size() == 5);
    int64_t end = rendered.messages[0].all.begin;
    for (const models::MessageRange& range : rendered.messages) {
      CHECK(range.all.begin == end);
      end = range.all.begin + range.all.length;
      CHECK(range.content.length <= range.all.length);
    }
    CHECK(end == static_cast<int64_t>(rendered.tokens.size()));
    CHECK(text_of(renderer, rendered, rendered.messages[3].content) == renderer.form().turn_end());
  }
}

TEST_CASE("render: prompts end with the assistant's header, and training goes on from there") {
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const ChatRenderer renderer = renderer_for(form);
    std::vector<io::Message> messages = {text_message("system", "s"), text_message("user", "Hi")};
    const Rendered prompt = renderer.prompt(messages);
    CHECK(prompt.supervised_tokens() == 0);
    messages.push_back(text_message("assistant", "Hello."));
    const Rendered whole = renderer.render(document_of(messages), "d");
    REQUIRE(whole.tokens.size() > prompt.tokens.size());
    CHECK(Ids(whole.tokens.begin(),
              whole.tokens.begin() + static_cast<long>(prompt.tokens.size())) == prompt.tokens);
    // The first token to produce is the first one after the prompt.
    CHECK(whole.supervised[prompt.tokens.size()] == 1);
    CHECK(whole.supervised[prompt.tokens.size() - 1] == 0);
    CHECK(renderer.stop_tokens()[0] == renderer.tokenizer().special(renderer.form().turn_end()));
    CHECK(contains(user_error([&] { renderer.prompt(messages); }), "the last message is the"));
    CHECK(contains(user_error([&] { renderer.prompt({}); }), "no messages"));
  }
  const ChatRenderer chatml = renderer_for("chatml");
  CHECK(chatml.stop_tokens() ==
        Ids{chatml.tokenizer().special("<|im_end|>"), chatml.tokenizer().special("<|endoftext|>")});
}

TEST_CASE("render: any texts, in any order of roles") {
  const std::vector<std::string> grains = {
      " ",          "\n",   "\n\n",     "a",  "Zebra",   "e\u0301", "é",      "😀",      "12",
      "<|im_end|>", "\xff", "\xe2\x80", "\t", "<|end|>", "'s",      "\u00a0", "<think>"};
  const std::vector<std::string> roles = {"system", "user", "assistant", "tool"};
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const ChatRenderer renderer =
        renderer_for(form, form == "qwen3" ? ChatRenderOptions{} : kImages);
    const bool exact = renderer.tokenizer().lossless() && !renderer.tokenizer().pre_tokenizer().nfc;
    for (uint64_t seed = 0; seed < 150; ++seed) {
      uint64_t draws = 0;
      auto below = [&](size_t n) { return philox(seed, draws++)[0] % n; };
      std::vector<io::Message> messages;
      for (size_t i = 0, n = 1 + below(6); i < n; ++i) {
        io::Message message{roles[below(4)], {}};
        for (size_t k = 0, parts = below(4); k < parts; ++k) {
          std::string text;
          for (size_t g = 0, length = below(6); g < length; ++g)
            text += grains[below(grains.size())];
          const bool image = message.role == "user" && form != "qwen3" && below(4) == 0;
          message.parts.push_back({image ? Type::image : Type::text, image ? "a.png" : text});
        }
        messages.push_back(std::move(message));
      }
      messages.push_back(text_message("assistant", grains[below(grains.size())]));
      const Rendered rendered = renderer.render(document_of(messages), "d");
      CHECK(rendered.supervised_tokens() >= 1);
      CHECK(rendered.messages.size() == messages.size());
      std::string text, answers;
      int64_t ends = 0;
      for (const models::ChatSegment& segment : renderer.form().lay_out(messages, false, "d")) {
        const bool image = segment.kind == models::ChatSegment::Kind::image;
        text += image ? "<|image_begin|><|image|><|image|><|image|><|image_end|>" : segment.value;
        const bool said = segment.content && segment.message >= 0 &&
                          messages[static_cast<size_t>(segment.message)].role == "assistant";
        if (said) answers += segment.value;
        ends += said && segment.kind == models::ChatSegment::Kind::special;
      }
      const std::string asked = supervised_text(renderer, rendered);
      int64_t supervised_ends = 0;
      for (size_t i = 0; i < rendered.tokens.size(); ++i)
        supervised_ends +=
            rendered.supervised[i] && rendered.tokens[i] == renderer.stop_tokens()[0];
      CHECK(supervised_ends == ends);
      if (!exact) continue;
      CHECK(renderer.tokenizer().decode(rendered.tokens, true) == text);
      // What began inside of a header is missing, and nothing else.
      CHECK(asked.size() <= answers.size());
      if (form == "plain") CHECK(asked == answers);
    }
  }
}

TEST_CASE("targets: the next token where it is supervised") {
  const Ids tokens = {5, 6, 7, 8, 9};
  Ids targets(5);
  models::next_token_targets(tokens, std::vector<uint8_t>{1, 0, 1, 1, 0}, targets);
  CHECK(targets == Ids{-1, 7, 8, -1, -1});
  models::next_token_targets(tokens, std::vector<uint8_t>{0, 0, 0, 0, 1}, targets);
  CHECK(targets == Ids{-1, -1, -1, 9, -1});
  Ids none;
  models::next_token_targets(none, std::vector<uint8_t>{}, none);
  for (const std::string& form : ChatTemplate::names()) {
    const ChatRenderer renderer = renderer_for(form);
    const Rendered rendered = renderer.render(
        document_of({text_message("user", "a b"), text_message("assistant", "c d")}), "d");
    Ids all(rendered.tokens.size());
    models::next_token_targets(rendered.tokens, rendered.supervised, all);
    CHECK(std::count_if(all.begin(), all.end(), [](int32_t t) { return t >= 0; }) ==
          rendered.supervised_tokens());
  }
}

TEST_CASE("render: what is refused, with its place, and by which reason") {
  const ChatRenderer renderer = renderer_for("chatml", kImages);
  ChatRefusal refusal;
  auto refused = [&](const ChatRenderer& by, std::vector<io::Message> messages, ChatDrop reason,
                     const std::string& part) {
    const io::Document document = document_of(std::move(messages));
    CHECK(!by.try_render(document, "a.jsonl:7", refusal));
    CHECK(refusal.reason == reason);
    CHECK(contains(refusal.message, "a.jsonl:7: "));
    CHECK(contains(refusal.message, part));
    CHECK(contains(user_error([&] { by.render(document, "a.jsonl:7"); }), refusal.message));
  };
  refused(renderer, {text_message("user", "a")}, ChatDrop::no_answer,
          "no message of the assistant");
  refused(renderer, {}, ChatDrop::no_answer, "no message of the assistant");
  refused(renderer, {text_message("asistant", "a"), text_message("assistant", "b")},
          ChatDrop::unknown_role, "messages[0].role is \"asistant\" (did you mean \"assistant\"?)");
  refused(renderer, {{"assistant", {{Type::image, "a.png"}}}}, ChatDrop::image_in_answer,
          "messages[0] is an image that the assistant says");
  refused(renderer, {{"user", {{Type::tool, "a"}}}, text_message("assistant", "b")},
          ChatDrop::unrenderable, "messages[0] holds a tool part");
  refused(renderer_for("qwen3"), {text_message("assistant", "<think>\nhm\n</think>\n\nb")},
          ChatDrop::unrenderable, "holds thinking");
  refused(renderer_for("llama3.1", kImages),
          {{"tool", {{Type::image, "a.png"}}}, text_message("assistant", "b")},
          ChatDrop::unrenderable, "the results of tools are text in llama3.1");

  // What concerns all documents is thrown: dropping them one by one would hide it.
  const ChatRenderer blind = renderer_for("chatml");
  const io::Document seeing =
      document_of({{"user", {{Type::image, "a.png"}}}, text_message("assistant", "b")});
  CHECK(contains(user_error([&] { blind.try_render(seeing, "a.jsonl:7", refusal); }),
                 "a.jsonl:7: image a.png, but this model reads no images"));
}

TEST_CASE("renderer: tokenizers and options that do not fit") {
  auto made = [](const std::string& form, const models::BpeTokenizer& tokenizer,
                 const ChatRenderOptions& options) {
    return user_error([&] { ChatRenderer(ChatTemplate::named(form), tokenizer, options); });
  };
  CHECK(contains(made("chatml", tokenizer_for("llama3"), {}), "has no token <|im_start|>"));
  CHECK(contains(
      made("plain", tokenizer_with("gpt2", {"<|user|>", "<|assistant|>"}, {"<|end|>"}), {}),
      "token <|end|> is not special"));
  CHECK(contains(made("chatml", tokenizer_for("qwen2"), {.image_tokens = 1, .image = "<mask>"}),
                 "token <mask> takes the white space beside it"));
  CHECK(contains(made("chatml", tokenizer_for("chatml"), {.image_tokens = 2, .image = "<|i|>"}),
                 "has no token <|i|>"));
  CHECK(
      contains(made("chatml", tokenizer_for("chatml"), {.image_tokens = 2}), "expected an image"));
  CHECK(contains(made("chatml", tokenizer_for("chatml", {"<|i|>"}), {.image = "<|i|>"}),
                 "expected an image"));
  // Only a system message needs <|system|>.
  const ChatRenderer few(ChatTemplate::named("plain"),
                         tokenizer_with("gpt2", {"<|user|>", "<|assistant|>", "<|end|>"}), {});
  CHECK(few.prompt({text_message("user", "a")}).tokens.size() == 4);
  CHECK(contains(user_error([&] { few.prompt({text_message("system", "a")}); }),
                 "has no token <|system|>"));
}
