// What a session has fed is always what rendering the whole conversation anew gives.
#include "fusec/models/chat_session.h"

#include "fixtures.h"
#include "fusec/base/philox.h"

using namespace fusec;
using namespace fusec::tests;
using models::ChatSession;
using models::ChatTemplate;
using Type = io::Part::Type;

namespace {

const models::ChatRenderOptions kImages = {.image_tokens = 4, .image = "<|image|>"};

// A cache as a decoder keeps it, and the pictures behind its tokens.
struct Cache {
  Ids tokens;
  std::vector<models::ImageSpan> images;

  void apply(const ChatSession::Step& step) {
    REQUIRE(step.keep <= static_cast<int64_t>(tokens.size()));
    REQUIRE(!step.tokens.empty());
    tokens.resize(static_cast<size_t>(step.keep));
    while (!images.empty() && images.back().range.begin >= step.keep) images.pop_back();
    if (!images.empty()) CHECK(images.back().range.begin + images.back().range.length <= step.keep);
    tokens.insert(tokens.end(), step.tokens.begin(), step.tokens.end());
    images.insert(images.end(), step.images.begin(), step.images.end());
  }
};

}  // namespace

TEST_CASE("session: equals rendering anew, for every template, whatever the model answers") {
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const models::ChatRenderer renderer = renderer_for(form, kImages);
    const Ids words = renderer.tokenizer().encode("yes no\n\n 12 maybe \xc3\xa9 thinking");
    for (uint64_t seed = 0; seed < 20; ++seed) {
      ChatSession session(renderer, {text_message("system", "Be brief.")});
      Cache cache;
      for (uint64_t turn = 0; turn < 5; ++turn) {
        const PhiloxBlock draw = philox(seed, turn);
        io::Message message = text_message("user", "question " + std::to_string(draw[0] % 7));
        if (draw[1] % 3 == 0)
          message.parts.insert(message.parts.begin(),
                               {Type::image, std::to_string(draw[2] % 2) + ".png"});
        // The last token that a model gives need not have been fed.
        const auto cached =
            static_cast<int64_t>(cache.tokens.size()) - (turn > 0 ? draw[3] % 2 : 0);
        const ChatSession::Step step = session.ask(message, cached);
        CHECK(step.keep <= cached);
        cache.apply(step);
        const models::Rendered anew = renderer.prompt(session.messages());
        CHECK(cache.tokens == anew.tokens);
        CHECK(cache.images == anew.images);
        CHECK(session.tokens() == anew.tokens);

        Ids answer;
        for (uint64_t k = 0, n = draw[1] % 6; k < n; ++k)
          answer.push_back(words[philox(seed, turn, k + 1)[0] % words.size()]);
        if (draw[2] % 4 != 0) answer.push_back(renderer.stop_tokens()[0]);
        cache.tokens.insert(cache.tokens.end(), answer.begin(), answer.end());
        session.answer(answer);
        CHECK(session.tokens() == cache.tokens);
      }
    }
  }
}

TEST_CASE("session: only what is new is fed where the template allows it") {
  const models::ChatRenderer renderer = renderer_for("chatml");
  ChatSession session(renderer);
  const ChatSession::Step first = session.ask(text_message("user", "Hi"), 0);
  CHECK(first.keep == 0);
  Ids answer = renderer.tokenizer().encode("Hello");
  answer.push_back(renderer.stop_tokens()[0]);
  CHECK(session.answer(answer) == "Hello");
  const auto fed = static_cast<int64_t>(session.tokens().size());
  const ChatSession::Step second = session.ask(text_message("user", "Again"), fed);
  CHECK(second.keep == fed);
  CHECK(renderer.tokenizer().decode(second.tokens, true) ==
        "\n<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n");
  // A question that is taken back, or comes again, feeds at least one token.
  CHECK(
      contains(user_error([&] { session.ask(text_message("user", "x"), 10000); }), "10000 tokens"));
  CHECK(session.messages().size() == 3);
  CHECK(contains(user_error([&] { session.ask(text_message("nobody", "x"), 0); }), "nobody"));
  CHECK(session.messages().size() == 3);
  session.answer({});
  CHECK(contains(user_error([&] { session.answer({}); }), "nothing was asked"));
}

TEST_CASE("session: equal placeholders of another picture are fed again") {
  const models::ChatRenderer renderer = renderer_for("plain", kImages);
  auto asked = [&](const std::string& path) {
    return io::Message{"user", {{Type::image, path}, {Type::text, "?"}}};
  };
  ChatSession session(renderer);
  session.ask(asked("a.png"), 0);
  session.answer({renderer.stop_tokens()[0]});
  const auto fed = static_cast<int64_t>(session.tokens().size());
  const ChatSession::Step step = session.ask(asked("b.png"), fed);
  CHECK(step.keep == fed);
  REQUIRE(step.images.size() == 1);
  CHECK(step.images[0].path == "b.png");
  // A cache that ends inside of a picture keeps none of it.
  session.answer({renderer.stop_tokens()[0]});
  const ChatSession::Step cut = session.ask(asked("c.png"), 3);
  CHECK(cut.keep == 1);
  CHECK(cut.images.size() == 3);
}

TEST_CASE("session: turns that are forgotten are not read again, and others stay in the cache") {
  const models::ChatRenderer renderer = renderer_for("plain", kImages);
  for (uint64_t seed = 0; seed < 40; ++seed) {
    ChatSession session(renderer, {text_message("system", "Be brief.")});
    Cache cache;
    for (uint64_t turn = 0; turn < 8; ++turn) {
      const PhiloxBlock draw = philox(seed, turn);
      const size_t count = session.messages().size();
      if (count > 1 && draw[0] % 3 == 0)
        session.forget(1, 3);  // the oldest turn
      else if (count > 1 && draw[0] % 3 == 1)
        session.forget(count - 2, count);  // the last one
      io::Message message = text_message("user", "question " + std::to_string(draw[1] % 3));
      if (draw[2] % 2 == 0)
        message.parts.insert(message.parts.begin(),
                             {Type::image, std::to_string(draw[3] % 2) + ".png"});
      const auto step = session.ask(message, static_cast<int64_t>(cache.tokens.size()));
      cache.apply(step);
      const models::Rendered anew = renderer.prompt(session.messages());
      CHECK(cache.tokens == anew.tokens);
      CHECK(cache.images == anew.images);
      const Ids answer = renderer.tokenizer().encode("yes");
      session.answer(answer);
      cache.tokens.insert(cache.tokens.end(), answer.begin(), answer.end());
    }
  }
  // The same question once more costs one token.
  ChatSession session(renderer);
  session.ask(text_message("user", "Hi"), 0);
  const auto asked = static_cast<int64_t>(session.tokens().size());
  session.answer(renderer.tokenizer().encode("yes"));
  session.forget(0, 2);
  CHECK(session.messages().empty());
  const ChatSession::Step again = session.ask(text_message("user", "Hi"), asked);
  CHECK(again.keep == asked - 1);
  CHECK(again.tokens.size() == 1);
  CHECK(contains(user_error([&] { session.forget(0, 2); }), "no messages 0 to 2"));
  CHECK(contains(user_error([&] { session.forget(1, 0); }), "no messages 1 to 0"));
}
