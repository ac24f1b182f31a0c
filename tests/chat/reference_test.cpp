// Every template against what Hugging Face gives for its own Jinja text, token for token.
#include "fixtures.h"

using namespace fusec;
using namespace fusec::tests;
using models::ChatTemplate;

TEST_CASE("chat: the texts, tokens and masks of the reference") {
  const nlohmann::json conversations = chat_fixture("conversations");
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const nlohmann::json reference = chat_fixture(form);
    REQUIRE(reference.size() == conversations.size());
    const models::ChatRenderer renderer = renderer_for(form);
    int masks = 0;
    for (size_t i = 0; i < conversations.size(); ++i) {
      CAPTURE(i);
      if (reference[i].is_null()) continue;  // the family's own template has no place for it
      const io::Document document = io::parse_document(conversations[i], "conversation");
      const bool answered = document.messages.back().role == "assistant";
      std::string text;
      for (const models::ChatSegment& segment :
           renderer.form().lay_out(document.messages, !answered, "conversation"))
        text += segment.value;
      CHECK(text == reference[i]["text"].get<std::string>());
      const models::Rendered rendered =
          answered ? renderer.render(document, "conversation") : renderer.prompt(document.messages);
      CHECK(rendered.tokens == reference[i]["ids"].get<Ids>());
      REQUIRE(rendered.supervised.size() == rendered.tokens.size());
      if (!reference[i].contains("supervised")) continue;
      std::string mask;
      for (const uint8_t bit : rendered.supervised) mask += bit ? '1' : '0';
      CHECK(mask == reference[i]["supervised"].get<std::string>());
      ++masks;
    }
    CHECK(masks >= 13);
  }
}

TEST_CASE("chat: special tokens come from the template alone") {
  for (const std::string& form : ChatTemplate::names()) {
    CAPTURE(form);
    const models::ChatRenderer renderer = renderer_for(form);
    auto specials_in = [&](const std::string& said) {
      Ids ids;
      const io::Document document =
          document_of({text_message("system", said), text_message("user", said),
                       text_message("tool", said), text_message("assistant", said)});
      for (const int32_t id : renderer.render(document, "d").tokens)
        if (renderer.tokenizer().is_special(id)) ids.push_back(id);
      return ids;
    };
    std::string all;
    for (const models::AddedToken& token : renderer.tokenizer().added_tokens())
      if (token.special) all += token.text + " ";
    REQUIRE(all.size() > 20);
    CHECK(specials_in(all) == specials_in("x"));
  }
}
