// Models through our files and back to transformers': nothing is lost on the way.
#include <cstring>

#include "../small_model.h"
#include "fixture.h"
#include "fusec/models/checkpoint.h"
#include "fusec/models/model_check.h"

namespace fusec::models {
namespace {

using tests::contains;
using tests::fixture;
using tests::ModelCopy;
using tests::user_error;

void check_same(const ModelFile& a, const ModelFile& b) {
  CHECK(config_text(a.info().config) == config_text(b.info().config));
  CHECK(a.info().family == b.info().family);
  CHECK(a.info().part == b.info().part);
  CHECK(a.info().ids == b.info().ids);
  CHECK(a.info().chat_template == b.info().chat_template);
  CHECK(a.info().tokenizer_hash == b.info().tokenizer_hash);
  CHECK(a.info().tokenizer.has_value() == b.info().tokenizer.has_value());
  REQUIRE(a.tensors().size() == b.tensors().size());
  for (size_t i = 0; i < a.tensors().size(); ++i) {
    CHECK(a.tensors()[i].name == b.tensors()[i].name);
    CHECK(a.tensors()[i].type == b.tensors()[i].type);
    CHECK(a.read(i) == b.read(i));
  }
}

const std::vector<std::string> kModels = {"llama",  "llama3",         "linear",  "mistral",
                                          "qwen2",  "qwen3",          "smollm2", "clip",
                                          "siglip", "gguf/model.gguf"};

TEST_CASE("import: weights, config, tokenizer and template survive our file and an export") {
  tests::Scratch scratch;
  for (const std::string& name : kModels) {
    CAPTURE(name);
    const ModelFile model(fixture(name));
    const Conversions none = save_model(model, scratch / "w");
    const ModelFile saved(scratch / "w");
    CHECK(saved.container() == "fusec");
    CHECK(saved.unused().empty());
    check_same(model, saved);
    // What was quantised is wide now; nothing else was converted.
    CHECK(none.empty() == (model.container() != "GGUF"));
    export_model(saved, scratch / "folder");
    const ModelFile exported(scratch / "folder");
    CHECK(exported.container() == "safetensors");
    check_same(model, exported);
    std::filesystem::remove_all(scratch / "folder");
  }
}

TEST_CASE("import: equal models give equal files") {
  tests::Scratch scratch;
  const ModelFile model(fixture("smollm2"));
  save_model(model, scratch / "a");
  save_model(ModelFile(scratch / "a"), scratch / "b");
  CHECK(io::read_file(scratch / "a") == io::read_file(scratch / "b"));
}

TEST_CASE("import: the tokenizer of a GGUF file is that of tokenizer.json") {
  const ModelFile gguf(fixture("gguf/model.gguf")), json(fixture("smollm2"));
  REQUIRE(gguf.info().tokenizer);
  CHECK(gguf.info().tokenizer_hash == json.info().tokenizer_hash);
  CHECK(gguf.info().tokenizer->vocab_size() == 263);
  CHECK(gguf.info().config.vocab == 288);
  CHECK(gguf.info().chat_template == json.info().chat_template);
  CHECK(gguf.info().ids == SpecialIds{.bos = 1, .pad = {}, .eos = {2}});
  CHECK(gguf.info().tokenizer->decode(gguf.info().tokenizer->encode("hello 42")) == "hello 42");
}

TEST_CASE("import: --dtype rounds to nearest even and is counted") {
  tests::Scratch scratch;
  const ModelFile model(fixture("qwen2"));
  CHECK(save_model(model, scratch / "w", bf16) == Conversions{{"f32 -> bf16", 26}});
  const ModelFile narrow(scratch / "w");
  for (size_t i = 0; i < model.tensors().size(); ++i) {
    const std::vector<float> from = model.read_floats(i), to = narrow.read_floats(i);
    REQUIRE(from.size() == to.size());
    for (size_t j = 0; j < from.size(); ++j)
      CHECK(to[j] == float_from_bf16(bf16_from_float(from[j])));
  }
  CHECK(contains(user_error([&] { save_model(model, scratch / "x", i32); }), "weights as i32"));
}

// A vision-GPT that a stored decoder and a stored tower fit.
VisionGptConfig joined_config() {
  VisionGptConfig c = ModelFile(fixture("llama")).info().config;
  c.vision = ModelFile(fixture("clip")).info().config.vision;
  c.resampler = {.queries = 2, .layers = 1, .heads = 2};
  c.projector_hidden = 12;
  c.sequence = 10;
  return c;
}

TEST_CASE("import: a decoder and a tower fill their modules of one model, and nothing else") {
  const VisionGptConfig config = joined_config();
  RecordedGraph recorded = record_evaluation(config, 1);
  Executable exe = compile(*recorded.graph, recorded.outputs, {.device = "cpu"});
  init_parameters(exe, config, 5);
  const std::vector<float> query = exe.get<float>("resampler.query");
  const ModelFile decoder(fixture("llama")), tower(fixture("clip"));
  CHECK(load_model(exe, decoder) == Conversions{{"bf16 -> f32", 21}});
  CHECK(load_model(exe, tower) == Conversions{{"bf16 -> f32", 39}});
  for (const ModelFile* file : {&decoder, &tower})
    for (size_t i = 0; i < file->tensors().size(); ++i)
      CHECK(exe.get<float>(file->tensors()[i].name) == file->read_floats(i));
  CHECK(exe.get<float>("resampler.query") == query);
}

TEST_CASE("import: a model of other sizes is refused before anything is written") {
  VisionGptConfig config = joined_config();
  config.intermediate = 44;
  config.tied_head = true;
  RecordedGraph recorded = record_evaluation(config, 1);
  Executable exe = compile(*recorded.graph, recorded.outputs, {.device = "cpu"});
  init_parameters(exe, config, 5);
  const std::vector<float> table = exe.get<float>("embedding.weight");
  const std::string message = user_error([&] { load_model(exe, ModelFile(fixture("llama"))); });
  CHECK(contains(message, "1 unexpected:\n    head.weight"));
  CHECK(contains(message, "trunk.0.mlp.gate.weight is [40, 32], expected [44, 32]"));
  CHECK(exe.get<float>("embedding.weight") == table);
}

TEST_CASE("export: what no family computes is refused by name") {
  tests::Scratch scratch;
  auto refused = [&](const std::function<void(VisionGptConfig&)>& change) {
    VisionGptConfig config = ModelFile(fixture("llama")).info().config;
    config.sequence = 8;
    change(config);
    RecordedGraph recorded = record_evaluation(config, 1);
    Executable exe = compile(*recorded.graph, recorded.outputs, {.device = "cpu"});
    init_parameters(exe, config, 5);
    save_parameters(exe, scratch / "w",
                    {{"format", "fusec-weights"},
                     {"version", "1"},
                     {"family", "fusec"},
                     {"part", config.text_only() ? "decoder" : "whole"},
                     {"special_ids", R"({"eos_token_id": []})"},
                     {"model", config_text(config)}});
    try {
      export_model(ModelFile(scratch / "w"), scratch / "folder");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::unsupported);
      CHECK_FALSE(std::filesystem::exists(scratch / "folder"));
      return std::string(error.what());
    }
    return std::string("exported");
  };
  CHECK(refused([](VisionGptConfig&) {}) == "exported");
  std::filesystem::remove_all(scratch / "folder");
  CHECK(contains(refused([](VisionGptConfig& c) { c.softcap = 15; }), "has softcap"));
  CHECK(contains(refused([](VisionGptConfig& c) { c.embedding_norm = true; }), "embedding_norm"));
  CHECK(contains(refused([](VisionGptConfig& c) { c.weighted_norms = false; }), "without weights"));
  CHECK(contains(refused([](VisionGptConfig& c) { c.qk_norm = QkNorm::after_rope; }), "behind"));
  CHECK(contains(refused([](VisionGptConfig& c) {
                   c.qk_norm = QkNorm::before_rope;
                   c.attention_bias = true;
                 }),
                 "biases and norms of heads"));
  CHECK(contains(refused([](VisionGptConfig& c) {
                   c.vision = {.image = 8, .patch = 4, .width = 8, .layers = 1, .heads = 2};
                   c.resampler = {.queries = 2, .layers = 1, .heads = 2};
                 }),
                 "a model with pictures"));
}

TEST_CASE("export: a tokenizer that is given must be the model's") {
  tests::Scratch scratch;
  const ModelFile model(fixture("smollm2"));
  BpeParts parts;
  for (int i = 0; i < 100; ++i)
    parts.tokens.push_back(std::string(1, static_cast<char>('!' + i % 90)));
  parts.tokens.resize(90);
  const BpeTokenizer other = BpeTokenizer::from_parts(parts, "other");
  CHECK(contains(user_error([&] { export_model(model, scratch / "f", other); }),
                 "its token ids mean other words"));
  export_model(ModelFile(fixture("llama")), scratch / "g", other);
  CHECK(ModelFile(scratch / "g").info().tokenizer_hash == other.hash_text());
  CHECK(contains(user_error([&] { export_model(model, "/proc/none", {}); }), "/proc/none"));
}

}  // namespace
}  // namespace fusec::models
