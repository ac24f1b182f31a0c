// Stored models opened to chat: weights, templates, tokenizers, and what is refused.
#include "fusec/models/chat_model.h"

#include "../import/fixture.h"
#include "import/description.h"
#include "tiny_chat.h"

namespace fusec::models {
namespace {

using tests::contains;
using tests::fixture;
using tests::ModelCopy;
using tests::Scratch;
using tests::user_error;

ChatModelOptions on_this_cpu() {
  ChatModelOptions o;
  o.compile.device = "cpu";
  return o;
}

TEST_CASE("chat model: a folder and a GGUF file, their templates, weights and ends") {
  const ChatModel folder(fixture("smollm2"), on_this_cpu());
  CHECK(folder.container() == "safetensors");
  CHECK(folder.renderer().form().name() == "chatml");
  CHECK(folder.generator().options().weights == bf16);
  CHECK(folder.generator().context() == 64);
  CHECK(folder.ends() == std::vector<int32_t>{2});
  CHECK(folder.renderer().options().image_tokens == 0);

  ChatModelOptions o = on_this_cpu();
  o.form = "qwen2";
  o.weights = f32;
  o.cache = bf16;
  o.context = 20;
  const ChatModel gguf(fixture("gguf") + "/model.gguf", o);
  CHECK(gguf.container() == "GGUF");
  CHECK(gguf.renderer().form().name() == "qwen2");
  CHECK(gguf.generator().options().weights == f32);
  CHECK(gguf.generator().stepping().type("cache.0.k").dtype == bf16);
  CHECK(gguf.generator().context() == 20);
  CHECK(gguf.parameters() > 0);
}

TEST_CASE("chat model: answers are those of the whole forward pass of the file") {
  ChatModelOptions o = on_this_cpu();
  o.weights = f32;
  ChatModel model(fixture("smollm2"), o);
  const VisionGptConfig& c = model.info().config;
  RecordedGraph recorded = record_packed_logits({c, {.tokens = 64, .max_documents = 1}, {}});
  Executable exe = compile(*recorded.graph, recorded.outputs, on_cpu());
  load_model(exe, ModelFile(fixture("smollm2")));
  ConversationOptions chat_options;
  chat_options.write = {.max_tokens = 9, .stops = model.ends(), .sampler = {.temperature = 0}};
  Conversation chat(model.generator(), model.renderer(), chat_options);
  const Answer answer = chat.ask("hello");
  Document d;
  const Rendered prompt = last_prompt(chat, model.renderer());
  d.tokens = prompt.tokens;
  d.tokens.insert(d.tokens.end(), answer.tokens.begin(), answer.tokens.end());
  feed_pack(exe, c, packed(c, {.tokens = 64, .max_documents = 1}, {d}), false);
  exe.run();
  const std::vector<float> logits = exe.get<float>("logits");
  REQUIRE(!answer.tokens.empty());
  for (size_t i = 0; i < answer.tokens.size(); ++i) {
    const float* row = &logits[(prompt.tokens.size() - 1 + i) * c.vocab];
    float best = -INFINITY, most = 0;
    for (int32_t id = 0; id < c.vocab; ++id) {
      most = std::max(most, std::abs(row[id]));
      if (!model.tokenizer().bytes(id).empty()) best = std::max(best, row[id]);
    }
    CHECK(row[answer.tokens[i]] >= best - 2e-5f * most);
  }
}

TEST_CASE("chat model: a model of this project with pictures, by the name of its template") {
  const Scratch scratch;
  const VisionGptConfig c = tiny_chat_config();
  TinyChat tiny(c);
  ModelInfo info;
  info.family = "fusec";
  info.part = ModelPart::whole;
  info.config = c;
  info.tokenizer = byte_tokenizer();
  info.tokenizer_hash = info.tokenizer->hash_text();
  info.chat_template = "plain";
  const std::string path = scratch / "model.safetensors";
  std::vector<io::NamedType> types;
  for (const auto& [name, type] : tiny.generator.parameters()) types.push_back({name, type});
  auto write = [&] {
    std::vector<float> values;
    io::write_safetensors(path, types, own_metadata(info), [&](size_t i) -> std::string_view {
      values = tiny_value(types[i].name, types[i].type.shape, c);
      return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
    });
  };
  write();
  ChatModel model(path, on_this_cpu());
  CHECK(model.renderer().form().name() == "plain");
  CHECK(model.renderer().options().image_tokens == c.resampler.queries);
  CHECK(model.generator().options().weights == f32);
  ConversationOptions o;
  o.write = {.max_tokens = 8, .stops = model.ends(), .sampler = {.temperature = 0}};
  const std::string picture = write_picture(scratch, 7);
  const Answer expected = tiny.chat(o).ask("what?", {picture});
  CHECK(Conversation(model.generator(), model.renderer(), o).ask("what?", {picture}).tokens ==
        expected.tokens);

  // Without a tokenizer in the file: its tokenizer.json beside it, and no other.
  info.tokenizer.reset();
  write();
  ChatModelOptions with = on_this_cpu();
  CHECK(contains(user_error([&] { ChatModel(path, with); }), "holds no tokenizer"));
  with.tokenizer = scratch / "tokenizer.json";
  byte_tokenizer().save(with.tokenizer);
  CHECK(ChatModel(path, with).tokenizer().hash() == byte_tokenizer().hash());
  with.tokenizer = fixture("smollm2") + "/tokenizer.json";
  CHECK(contains(user_error([&] { ChatModel(path, with); }), "were made with tokenizer"));

  // One that has no token for images: words alone.
  const BpeTokenizer words = BpeTokenizer::load(fixture("smollm2") + "/tokenizer.json");
  CHECK(render_options_of(c, words).image_tokens == 0);
  const ChatRenderer text(ChatTemplate::named("chatml"), words, render_options_of(c, words));
  Conversation blind(tiny.generator, text, o);
  CHECK(contains(user_error([&] { blind.look_at(picture); }), "stands for an image"));
}

TEST_CASE("chat model: templates by name and by text, and none") {
  CHECK(chat_template_of("", "llama3", "m").name() == "llama3");
  CHECK(chat_template_of("plain", "", "m").name() == "plain");
  CHECK(contains(user_error([] { chat_template_of("", "", "m"); }), "m: holds no chat template"));
  CHECK(contains(user_error([] { chat_template_of("{{ odd }}", "", "m"); }), "no known form"));
  CHECK(contains(user_error([] { chat_template_of("plain", "lama3", "m"); }), "llama3"));
}

TEST_CASE("chat model: what is refused before anything is compiled") {
  auto refused = [&](const std::string& path, const std::string& part) {
    CHECK(contains(user_error([&] { ChatModel(path, on_this_cpu()); }), part));
  };
  refused(fixture("clip"), "an encoder of images alone");
  refused(fixture("llama"), "holds no tokenizer");
  refused(fixture("none"), "none");
  ModelCopy copy("smollm2");
  copy.edit({{"chat_template", nullptr}}, "tokenizer_config.json");
  refused(copy.folder(), "holds no chat template");
  ChatModelOptions raw = on_this_cpu();
  raw.chats = false;
  CHECK_THROWS_AS(ChatModel(copy.folder(), raw).renderer(), Error);
  ChatModelOptions wide = on_this_cpu();
  wide.context = 65;
  CHECK(contains(user_error([&] { ChatModel(fixture("smollm2"), wide); }), "expected 1 to 64"));
  wide.context = 0, wide.form = "llama3";
  CHECK(contains(user_error([&] { ChatModel(fixture("smollm2"), wide); }), "--template"));
}

}  // namespace
}  // namespace fusec::models
