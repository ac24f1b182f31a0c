// Answers over a cache are those of the whole forward pass, turn after turn.
#include "fusec/models/conversation.h"

#include "tiny_chat.h"

namespace fusec::models {
namespace {

using tests::contains;
using tests::Scratch;
using tests::user_error;

ConversationOptions greedy(int64_t max_tokens = 10) {
  ConversationOptions o;
  o.write.max_tokens = max_tokens;
  o.write.sampler.temperature = 0;
  return o;
}

TEST_CASE("conversation: every answer is greedy decoding by the whole forward pass") {
  VisionGptConfig text = tiny_chat_config();
  text.resampler.queries = 0;
  for (const VisionGptConfig& c : {tiny_chat_config(), text}) {
    CAPTURE(c.text_only());
    TinyChat tiny(c);
    WholePass whole(c);
    const ChatRenderer renderer = tiny_renderer(c);
    ConversationOptions o = greedy();
    o.system = "Be brief.";
    Conversation chat = tiny.chat(o);
    int64_t before = 0;
    for (const char* question : {"hello", "what is that?", "caf\xc3\xa9 <|end|> at hell"}) {
      std::string streamed;
      const Answer answer = chat.ask(question, {}, [&](std::string_view piece) {
        CHECK(is_utf8(piece));
        streamed += piece;
        return true;
      });
      const Rendered prompt = last_prompt(chat, renderer);
      whole.check_greedy(prompt, answer, renderer.stop_tokens());
      CHECK(answer.kept + answer.prompt_tokens == static_cast<int64_t>(prompt.tokens.size()));
      CHECK(answer.kept >= before);  // what was fed stays: headers end with special tokens
      CHECK(answer.text == renderer.tokenizer().decode(answer.tokens));
      if (is_utf8(answer.text)) CHECK(streamed == answer.text);
      CHECK(chat.messages().back().parts[0].value == answer.text);
      before = static_cast<int64_t>(prompt.tokens.size());
    }
    CHECK(chat.messages().size() == 7);
    CHECK(chat.dropped() == 0);
  }
}

TEST_CASE("conversation: another answer needs no more than the prompt's last token") {
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  Conversation chat = tiny.chat(greedy());
  CHECK(contains(user_error([&] { chat.retry(); }), "nothing was answered yet"));
  chat.ask("hello");
  const Answer first = chat.ask("and now?");
  for (int round = 0; round < 3; ++round) {
    const Answer again = chat.retry();
    CHECK(again.tokens == first.tokens);
    CHECK(again.prompt_tokens == 1);
    CHECK(chat.messages().size() == 4);
  }
  ConversationOptions drawn = greedy(20);
  drawn.write.sampler = {.temperature = 2, .seed = 3};
  std::vector<std::string> texts;
  for (int run = 0; run < 2; ++run) {
    Conversation again = tiny.chat(drawn);
    texts.push_back(again.ask("hello").text);
    texts.push_back(again.retry().text);
  }
  CHECK(texts[0] == texts[2]);
  CHECK(texts[1] == texts[3]);
  CHECK(texts[0] != texts[1]);
  drawn.write.sampler.seed = 4;
  CHECK(tiny.chat(drawn).ask("hello").text != texts[0]);
}

TEST_CASE("conversation: pictures in any turn, of any shape") {
  const Scratch scratch;
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  WholePass whole(c);
  const ChatRenderer renderer = tiny_renderer(c);
  Conversation chat = tiny.chat(greedy(6));
  const std::string one = write_picture(scratch, 1), two = write_picture(scratch, 2, 31, 12);
  auto check = [&](const Answer& answer) {
    whole.check_greedy(last_prompt(chat, renderer), answer, renderer.stop_tokens());
  };
  const Answer first = chat.ask("what?", {one});
  check(first);
  check(chat.ask("and?"));
  check(chat.ask("which?", {two, one}));
  check(chat.retry());
  CHECK(last_prompt(chat, renderer).images.size() == 3);
  // The same words about another picture: nothing of the first one may stay in the cache.
  chat.reset();
  const Answer other = chat.ask("what?", {two});
  check(other);
  CHECK(other.tokens != first.tokens);  // or no check here would notice a wrong picture
  CHECK(chat.messages().size() == 2);

  const size_t count = chat.messages().size();
  CHECK(contains(user_error([&] { chat.ask("what?", {scratch / "none.png"}); }), "none.png"));
  CHECK(contains(user_error([&] { chat.ask("what?", {scratch.file("odd.png", "no picture")}); }),
                 "odd.png"));
  CHECK(chat.messages().size() == count);
  check(chat.ask("and now?"));

  VisionGptConfig text = c;
  text.resampler.queries = 0;
  TinyChat blind(text);
  Conversation words = blind.chat(greedy());
  CHECK(contains(user_error([&] { words.ask("what?", {one}); }), "reads no images"));
  CHECK(words.messages().empty());
}

TEST_CASE("conversation: stop tokens end answers, the caller's and the template's") {
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  const Answer all = tiny.chat(greedy(12)).ask("hello");
  REQUIRE(all.tokens.size() == 12);
  CHECK(all.end == AnswerEnd::length);
  const size_t at = 5;
  ConversationOptions o = greedy(12);
  o.write.stops = {all.tokens[at]};
  const auto first = std::find(all.tokens.begin(), all.tokens.end(), all.tokens[at]);
  Conversation chat = tiny.chat(o);
  const Answer cut = chat.ask("hello");
  CHECK(cut.end == AnswerEnd::stop);
  CHECK(cut.tokens == std::vector<int32_t>(all.tokens.begin(), first));
  CHECK(cut.steps == static_cast<int64_t>(cut.tokens.size()));

  // A head that says nothing but the end of the turn.
  const ChatRenderer renderer = tiny_renderer(c);
  const int32_t end = renderer.stop_tokens().at(0);
  std::vector<float> head = tiny_value("head.weight", {c.vocab, c.width}, c);
  WriteOptions write{.max_tokens = 4, .stops = renderer.stop_tokens(), .sampler = {.top_k = 1}};
  TextWriter writer(tiny.generator, byte_tokenizer(), write);
  const Prompt prompt{.tokens = renderer.tokenizer().encode("hello")};
  const int32_t said = writer.write(prompt, 0).tokens.at(0);
  for (int64_t i = 0; i < c.width; ++i) head[end * c.width + i] = 2 * head[said * c.width + i];
  tiny.generator.set_parameter("head.weight", head);
  const Answer none = writer.write(prompt, 0);
  CHECK(none.end == AnswerEnd::stop);
  CHECK(none.tokens.empty());
  CHECK(none.text.empty());
}

TEST_CASE("conversation: a full context drops the oldest turns and keeps the system message") {
  const VisionGptConfig c = tiny_chat_config(96);
  TinyChat tiny(c);
  WholePass whole(c);
  const ChatRenderer renderer = tiny_renderer(c);
  ConversationOptions o = greedy(8);
  o.system = "Be brief.";
  Conversation chat = tiny.chat(o);
  for (int turn = 0; turn < 9; ++turn) {
    const Answer answer = chat.ask("question number " + std::to_string(turn));
    const Rendered prompt = last_prompt(chat, renderer);
    CHECK(static_cast<int64_t>(prompt.tokens.size()) + 8 <= c.sequence);
    CHECK(answer.end != AnswerEnd::context);
    whole.check_greedy(prompt, answer, renderer.stop_tokens());
    CHECK(chat.messages()[0].role == "system");
    CHECK(chat.messages()[1].role == "user");
  }
  CHECK(chat.dropped() > 0);
  CHECK(chat.dropped() + static_cast<int64_t>(chat.messages().size()) == 1 + 2 * 9);

  const std::vector<io::Message> before = chat.messages();
  const std::string refused = user_error([&] { chat.ask(std::string(200, 'x')); });
  CHECK(contains(refused, "more than the context of 96"));
  CHECK(chat.messages() == before);
  // One that fits alone takes what room there is: 96 tokens and no step behind them.
  const int64_t around = static_cast<int64_t>(
      renderer.prompt({before[0], {"user", {{io::Part::Type::text, ""}}}}).tokens.size());
  const Answer last = chat.ask(std::string(static_cast<size_t>(94 - around), 'x'));
  CHECK(last.end == AnswerEnd::context);
  CHECK(last.tokens.size() == 3);
  CHECK(tiny.generator.length() == 96);
  CHECK(chat.messages().size() == 3);
}

TEST_CASE("conversation: interrupted answers count as far as they came") {
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  WholePass whole(c);
  const ChatRenderer renderer = tiny_renderer(c);
  Conversation chat = tiny.chat(greedy());
  chat.ask("hello");
  const Answer none = chat.ask("never read to its end, for it is longer than a chunk of a prompt",
                               {}, [](std::string_view) { return false; });
  CHECK(none.end == AnswerEnd::interrupted);
  CHECK(none.tokens.empty());
  CHECK(chat.messages().size() == 2);
  int calls = 0;
  const Answer part = chat.ask("now?", {}, [&](std::string_view) { return ++calls < 4; });
  CHECK(part.end == AnswerEnd::interrupted);
  CHECK(part.tokens.size() >= 2);
  CHECK(part.tokens.size() < 10);
  whole.check_greedy(last_prompt(chat, renderer), part, renderer.stop_tokens());
  const Answer next = chat.ask("and?");
  whole.check_greedy(last_prompt(chat, renderer), next, renderer.stop_tokens());
  // A callback that fails leaves what was there before.
  const std::vector<io::Message> before = chat.messages();
  CHECK_THROWS_AS(chat.ask("oh", {},
                           [&](std::string_view p) -> bool {
                             if (!p.empty()) throw std::runtime_error("terminal gone");
                             return true;
                           }),
                  std::runtime_error);
  CHECK(chat.messages() == before);
  whole.check_greedy(last_prompt(chat, renderer), chat.retry(), renderer.stop_tokens());
}

TEST_CASE("conversation: new beginnings") {
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  ConversationOptions o = greedy();
  o.system = "Be brief.";
  Conversation chat = tiny.chat(o);
  const std::string first = chat.ask("hello").text;
  chat.ask("and?");
  chat.reset();
  REQUIRE(chat.messages().size() == 1);
  const Answer again = chat.ask("hello");
  CHECK(again.text == first);
  CHECK(again.kept > 0);
  chat.set_system("Be long.");
  REQUIRE(chat.messages().size() == 1);
  CHECK(chat.messages()[0].parts[0].value == "Be long.");
  CHECK(chat.ask("hello").kept == 0);
  chat.set_system("");
  CHECK(chat.messages().empty());
  chat.ask("hello");
  CHECK(chat.messages().size() == 2);

  ChatRenderOptions other = render_options_of(c, byte_tokenizer());
  other.image_tokens += 1;
  const ChatRenderer odd(ChatTemplate::named("plain"), byte_tokenizer(), other);
  CHECK(contains(user_error([&] { Conversation(tiny.generator, odd); }),
                 "rendered as 3 tokens, but the model has 2"));
}

TEST_CASE("text writer: rows of the head that are no token are never chosen") {
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  std::vector<float> head = tiny_value("head.weight", {c.vocab, c.width}, c);
  const int64_t tokens = byte_tokenizer().vocab_size();
  for (int64_t i = tokens * c.width; i < c.vocab * c.width; ++i) head[i] *= 50;
  tiny.generator.set_parameter("head.weight", head);
  WriteOptions write{.sampler = {.temperature = 3}};
  TextWriter writer(tiny.generator, byte_tokenizer(), write);
  const Answer answer = writer.write({.tokens = {1, 2, 3}}, 0);
  CHECK(answer.end == AnswerEnd::context);
  CHECK(static_cast<int64_t>(answer.tokens.size()) == c.sequence - 3 + 1);
  for (int32_t id : answer.tokens) CHECK(id < tokens);
  CHECK(contains(user_error([&] { writer.write({}, 0); }), "empty"));
  CHECK(contains(user_error([&] { writer.write({.tokens = std::vector<int32_t>(161, 1)}, 0); }),
                 "does not fit the context of 160"));
  CHECK(tiny.generator.length() == c.sequence);
  CHECK(contains(
      user_error([&] { TextWriter(tiny.generator, byte_tokenizer(), {.max_tokens = -1}); }),
      "at most -1"));
}

}  // namespace
}  // namespace fusec::models
