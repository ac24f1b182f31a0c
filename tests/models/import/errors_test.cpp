// Models that are damaged, incomplete, or compute what this project does not: each says so.
#include <cstring>

#include "../../data/gguf_file.h"
#include "fixture.h"
#include "fusec/models/model_file.h"

namespace fusec::models {
namespace {

using nlohmann::json;
using tests::contains;
using tests::fixture;
using tests::ModelCopy;
using tests::user_error;

std::string refused(const std::string& path, ErrorKind kind) {
  try {
    const ModelFile file(path);
  } catch (const Error& error) {
    CHECK(error.kind() == kind);
    return error.what();
  }
  return "read";
}
// The message for a stored model whose config is changed so.
std::string unsupported(const std::string& model, const json& patch) {
  ModelCopy copy(model);
  copy.edit(patch);
  return refused(copy.folder(), ErrorKind::unsupported);
}
std::string wrong(const std::string& model, const json& patch) {
  ModelCopy copy(model);
  copy.edit(patch);
  return refused(copy.folder(), ErrorKind::user);
}

TEST_CASE("import: what a config says and nobody computes here is refused by name") {
  CHECK(contains(unsupported("llama", {{"hidden_act", "gelu"}}),
                 "\"hidden_act\" is \"gelu\", which is not computed here; expected \"silu\""));
  CHECK(contains(unsupported("llama", {{"attention_bias", true}}), "\"attention_bias\" is true"));
  CHECK(contains(unsupported("llama", {{"mlp_bias", true}}), "\"mlp_bias\" is true"));
  CHECK(contains(unsupported("qwen3", {{"attention_bias", true}}), "\"attention_bias\" is true"));
  CHECK(contains(unsupported("llama", {{"partial_rotary_factor", 0.5}}), "partial_rotary_factor"));
  CHECK(contains(unsupported("mistral", {{"sliding_window", 4096}}), "\"sliding_window\" is 4096"));
  CHECK(contains(unsupported("qwen2", {{"use_sliding_window", true}}), "use_sliding_window"));
  CHECK(contains(unsupported("qwen2", {{"layer_types", {"full_attention", "sliding_attention"}}}),
                 "layer_types"));
  for (const char* type : {"yarn", "dynamic", "longrope"})
    CHECK(contains(unsupported("llama", {{"rope_parameters", {{"rope_type", type}}}}),
                   std::string("\"rope_parameters.rope_type\" is \"") + type + "\""));
  CHECK(contains(unsupported("llama", {{"rope_scaling", {{"type", "yarn"}}}}),
                 "\"rope_scaling.type\" is \"yarn\""));
  CHECK(contains(unsupported("llama", {{"rope_parameters", {{"betafast", 3}}}}),
                 "\"rope_parameters.betafast\""));
  CHECK(contains(unsupported("llama", {{"model_type", "lama"}}), "did you mean \"llama\"?"));
  CHECK(contains(unsupported("llama", {{"model_type", "gpt_neox"}}), "\"gpt_neox\" are not read"));
  CHECK(contains(unsupported("llama", {{"quantization_config", {{"bits", 4}}}}), "or a GGUF file"));
  CHECK(contains(unsupported("llama", {{"logit_scale", 0.5}, {"qk_layernorm", true}}),
                 "\n  \"logit_scale\": 0.5\n  \"qk_layernorm\": true"));
  CHECK(contains(unsupported("llama", {{"rms_norm_epss", 1}}), "did you mean \"rms_norm_eps\"?"));
  CHECK(contains(unsupported("clip", {{"hidden_act", "relu"}}), "\"hidden_act\" is \"relu\""));
  CHECK(contains(unsupported("clip", {{"num_channels", 1}}), "num_channels"));
}

TEST_CASE("import: keys that change nothing, and values that are null, are passed over") {
  ModelCopy copy("llama");
  copy.edit({{"_name_or_path", "x"},
             {"torch_dtype", "bfloat16"},
             {"rope_scaling", nullptr},
             {"sliding_window", nullptr},
             {"id2label", {{"0", "a"}}},
             {"partial_rotary_factor", 1.0}});
  CHECK(refused(copy.folder(), ErrorKind::user) == "read");
  // As transformers wrote it before version 5.
  ModelCopy old("llama3");
  json rope = json::parse(io::read_file(old / "config.json"))["rope_parameters"];
  rope.erase("rope_theta");
  old.edit({{"rope_parameters", nullptr}, {"rope_theta", 1000.0}, {"rope_scaling", rope}});
  const ModelFile stored(fixture("llama3")), read(old.folder());
  CHECK(config_text(read.info().config) == config_text(stored.info().config));
}

TEST_CASE("import: a config with values of other kinds, or none, says which key") {
  CHECK(contains(wrong("llama", {{"hidden_size", "32"}}), "\"hidden_size\" is \"32\", expected a"));
  CHECK(contains(wrong("llama", {{"hidden_size", 32.5}}), "expected a whole number"));
  CHECK(contains(wrong("llama", {{"vocab_size", -1}}), "vocabulary is -1"));
  CHECK(contains(wrong("llama", {{"num_attention_heads", 0}}), "num_attention_heads"));
  CHECK(contains(wrong("llama", {{"num_hidden_layers", json()}}), "no key \"num_hidden_layers\""));
  CHECK(contains(wrong("qwen2", {{"num_key_value_heads", json()}}), "no key"));
  CHECK(contains(wrong("qwen3", {{"head_dim", json()}}), "no key \"head_dim\""));
  CHECK(contains(wrong("llama", {{"num_key_value_heads", 3}}), "kv heads (3) must divide"));
  CHECK(contains(wrong("llama", {{"rope_parameters", 3}}), "\"rope_parameters\" is a number"));
  CHECK(contains(wrong("llama3", {{"rope_parameters", {{"factor", json()}}}}),
                 "no key \"rope_parameters.factor\""));
  CHECK(contains(wrong("llama", {{"rope_theta", 5.0}}), "differ; expected one value"));
  CHECK(contains(wrong("llama", {{"rms_norm_eps", -1}}), "norm_eps must be above 0"));
  CHECK(contains(wrong("llama", {{"bos_token_id", "x"}}), "expected the number of a token"));
  CHECK(contains(wrong("llama", {{"model_type", json()}}), "no key \"model_type\""));
  ModelCopy copy("llama");
  io::write_file(copy / "config.json", "[1]");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "is an array, expected an object"));
  std::filesystem::remove(copy / "config.json");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "no config.json"));
}

TEST_CASE("import: tensors that are missing, too many or of another shape are one error") {
  ModelCopy copy("llama");
  copy.rewrite(
      [](io::NamedType& t, std::string&) {
        if (t.name == "model.norm.weight") t.name = "model.final_norm.weight";
        if (t.name == "model.layers.0.mlp.up_proj.weight")
          std::swap(t.type.shape[0], t.type.shape[1]);
        if (t.name == "model.layers.1.input_layernorm.weight") t.type = {{16}, i32};
        return t.name != "model.layers.0.self_attn.v_proj.weight";
      },
      {{"model.layers.2.mlp.up_proj.weight", {{2}, f32}},
       {"model.layers.00.self_attn.rotary_emb.inv_freq", {{4}, f32}}});
  const std::string message = refused(copy.folder(), ErrorKind::user);
  CHECK(contains(message, "2 missing:\n    model.layers.0.self_attn.v_proj.weight"));
  CHECK(contains(message, "model.norm.weight (did you mean \"model.final_norm.weight\"?)"));
  CHECK(contains(message, "3 unexpected:"));
  CHECK(contains(message, "model.layers.2.mlp.up_proj.weight"));
  CHECK(contains(message, "model.layers.0.mlp.up_proj.weight is [32, 40], expected [40, 32]"));
  CHECK(contains(message, "model.layers.1.input_layernorm.weight is i32, expected f32"));
}

TEST_CASE("import: a config of more layers or of larger ones than any file has") {
  CHECK(contains(wrong("llama", {{"num_hidden_layers", 16000000}}),
                 "21 tensors, expected more for the 16000000 layers"));
  CHECK(contains(wrong("clip", {{"num_hidden_layers", 16000000}}), "39 tensors, expected more"));
  CHECK(contains(wrong("llama", {{"num_attention_heads", 1 << 20}, {"head_dim", 1 << 20}}),
                 "heads times head dimension is 1099511627776, expected at most"));
  CHECK(contains(wrong("clip", {{"patch_size", 1 << 23}, {"image_size", 1 << 23}}),
                 "patch size is 8388608, expected at most 2048"));
  CHECK(contains(wrong("llama", {{"num_hidden_layers", 3}}), "9 missing:"));
}

TEST_CASE("import: buffers of older writers are passed over, and named") {
  ModelCopy copy("llama");
  copy.rewrite([](io::NamedType&, std::string&) { return true; },
               {{"model.layers.1.self_attn.rotary_emb.inv_freq", {{4}, f32}}});
  CHECK(ModelFile(copy.folder()).unused() ==
        std::vector<std::string>{"model.layers.1.self_attn.rotary_emb.inv_freq"});
}

TEST_CASE("import: a head beside a tied one must be the embedding") {
  const io::NamedType head{"lm_head.weight", {{96, 32}, f32}};
  ModelCopy copy("qwen2");
  copy.rewrite([](io::NamedType&, std::string&) { return true; }, {head});
  CHECK(contains(refused(copy.folder(), ErrorKind::user),
                 "lm_head.weight and model.embed_tokens.weight differ"));
  copy.edit({{"tie_word_embeddings", false}});
  CHECK(refused(copy.folder(), ErrorKind::user) == "read");
  copy.edit({{"tie_word_embeddings", true}});
  copy.rewrite([](io::NamedType& t, std::string& bytes) {
    if (t.name == "model.embed_tokens.weight") bytes.assign(bytes.size(), '\0');
    return true;
  });
  CHECK(ModelFile(copy.folder()).unused() == std::vector<std::string>{"lm_head.weight"});
  ModelCopy untied("llama");
  untied.rewrite([](io::NamedType& t, std::string&) { return t.name != "lm_head.weight"; });
  CHECK(contains(refused(untied.folder(), ErrorKind::user), "1 missing:\n    lm_head.weight"));
}

TEST_CASE("import: files that are cut off, pickled or not there") {
  ModelCopy copy("llama");
  const std::string weights = io::read_file(copy / "model.safetensors");
  io::write_file(copy / "model.safetensors", weights.substr(0, weights.size() - 2));
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "model.safetensors"));
  std::filesystem::rename(copy / "model.safetensors", copy / "pytorch_model.bin");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "pytorch_model.bin is not read"));
  std::filesystem::remove(copy / "pytorch_model.bin");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "no model.safetensors"));
  CHECK(contains(refused("/nonexistent", ErrorKind::user), "/nonexistent"));
  CHECK(contains(refused(fixture("llama/model.safetensors"), ErrorKind::user),
                 "without a description of their model"));
  const std::string gguf = io::read_file(fixture("gguf/model.gguf"));
  io::write_file(copy / "cut.gguf", gguf.substr(0, gguf.size() / 2));
  refused(copy / "cut.gguf", ErrorKind::user);
  io::write_file(copy / "none.gguf", "GG");
  refused(copy / "none.gguf", ErrorKind::user);
}

TEST_CASE("import: sharded weights are those of one file") {
  ModelCopy copy("qwen3");
  const ModelFile whole(fixture("qwen3"));
  std::vector<io::NamedType> types[2];
  std::vector<std::string> bytes[2];
  json map = json::object();
  {
    const io::SafetensorsReader file(copy / "model.safetensors");
    for (const io::TensorEntry& t : file.header().tensors) {
      const size_t shard = map.size() % 2;
      types[shard].push_back({t.name, t.type});
      bytes[shard].push_back(file.read(t));
      map[t.name] = "part-" + std::to_string(shard) + ".safetensors";
    }
  }
  for (size_t s = 0; s < 2; ++s)
    io::write_safetensors(copy / ("part-" + std::to_string(s) + ".safetensors"), types[s], {},
                          [&](size_t i) -> std::string_view { return bytes[s][i]; });
  std::filesystem::remove(copy / "model.safetensors");
  io::write_file(copy / "model.safetensors.index.json", json{{"weight_map", map}}.dump());
  const ModelFile sharded(copy.folder());
  REQUIRE(sharded.tensors().size() == whole.tensors().size());
  for (size_t i = 0; i < whole.tensors().size(); ++i) CHECK(sharded.read(i) == whole.read(i));
  std::filesystem::remove(copy / "part-1.safetensors");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "part-1.safetensors"));
}

TEST_CASE("import: a tokenizer or special ids beyond the embedding are another model's") {
  ModelCopy copy("llama");
  std::filesystem::copy_file(fixture("smollm2/tokenizer.json"), copy / "tokenizer.json");
  CHECK(contains(refused(copy.folder(), ErrorKind::user),
                 "the tokenizer has 263 tokens, the embedding 96 rows"));
  ModelCopy ids("llama");
  ids.edit({{"eos_token_id", {1, 96}}}, "generation_config.json");
  CHECK(contains(refused(ids.folder(), ErrorKind::user), "eos_token_id is token 96"));
  ids.edit({{"eos_token_id", {2, 3}}}, "generation_config.json");
  CHECK(ModelFile(ids.folder()).info().ids.eos == std::vector<int32_t>{2, 3});
}

TEST_CASE("import: chat templates of each place") {
  ModelCopy copy("smollm2");
  copy.edit(
      {{"chat_template",
        {{{"name", "tool_use"}, {"template", "a"}}, {{"name", "default"}, {"template", "b"}}}}},
      "tokenizer_config.json");
  CHECK(ModelFile(copy.folder()).info().chat_template == "b");
  io::write_file(copy / "chat_template.jinja", "c");
  CHECK(ModelFile(copy.folder()).info().chat_template == "c");
  std::filesystem::remove(copy / "chat_template.jinja");
  copy.edit({{"chat_template", 3}}, "tokenizer_config.json");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "\"chat_template\" is a number"));
}

TEST_CASE("import: towers of whole models, and how their pixels are scaled") {
  ModelCopy copy("clip");
  const json vision = json::parse(io::read_file(copy / "config.json"));
  io::write_file(copy / "config.json", json{{"model_type", "clip"},
                                            {"projection_dim", 8},
                                            {"text_config", {{"vocab_size", 3}}},
                                            {"vision_config", vision}}
                                           .dump());
  copy.rewrite([](io::NamedType&, std::string&) { return true; },
               {{"text_model.final_layer_norm.weight", {{4}, f32}},
                {"logit_scale", {{}, f32}},
                {"vision_model.embeddings.position_ids", {{1, 10}, i64}}});
  const ModelFile whole(copy.folder()), tower(fixture("clip"));
  CHECK(config_text(whole.info().config) == config_text(tower.info().config));
  CHECK(whole.unused().size() == 3);
  for (size_t i = 0; i < tower.tensors().size(); ++i) CHECK(whole.read(i) == tower.read(i));

  auto scaled = [&](const json& preprocessor) {
    io::write_file(copy / "preprocessor_config.json", preprocessor.dump());
    return ModelFile(copy.folder()).info().config.vision;
  };
  CHECK(scaled({{"image_mean", {0.1, 0.2, 0.3}}}).pixel_mean == std::array{0.1, 0.2, 0.3});
  CHECK(scaled({{"image_mean", {0.1, 0.2, 0.3}}}).pixel_std[0] == 0.26862954);
  CHECK(scaled({{"do_normalize", false}}).pixel_std == std::array{1.0, 1.0, 1.0});
  io::write_file(copy / "preprocessor_config.json", R"({"image_std": [0.5, 0.5]})");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "expected three numbers"));
  io::write_file(copy / "preprocessor_config.json", R"({"image_std": [0.5, 0, 0.5]})");
  CHECK(contains(refused(copy.folder(), ErrorKind::user), "\"image_std\" holds 0"));
  io::write_file(copy / "preprocessor_config.json", R"({"rescale_factor": 1})");
  CHECK(contains(refused(copy.folder(), ErrorKind::unsupported), "rescale_factor"));
}

TEST_CASE("import: a GGUF file of another architecture, with unknown keys or scaling") {
  const std::string good = io::read_file(fixture("gguf/model.gguf"));
  tests::Scratch scratch;
  // Replaces bytes by as many others.
  auto changed = [&](const std::string& from, const std::string& to, ErrorKind kind) {
    REQUIRE(from.size() == to.size());
    std::string bytes = good;
    const size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    bytes.replace(at, from.size(), to);
    return refused(scratch.file("m.gguf", bytes), kind);
  };
  const auto no = ErrorKind::unsupported;
  CHECK(contains(changed("llama", "lemma", no), "architecture \"lemma\""));
  CHECK(contains(changed("llama.vocab_size", "llama.vocab_sizf", no), "\"llama.vocab_sizf\""));
  // Without its base the frequencies are others, and the stored divisors do not fit them.
  CHECK(contains(changed("llama.rope.freq_base", "llama.rope.freq_bass", no),
                 "rope_freqs.weight[5] is 3.66"));
  CHECK(contains(changed("llama.attention.value_length", "llama.attention.value_lengtt", no),
                 "value_lengtt"));
  CHECK(contains(changed("smollm", "smallm", ErrorKind::user), "pre-tokenizer \"smallm\""));
  CHECK(contains(changed("blk.1.attn_q.weight", "blk.1.attn_r.weight", ErrorKind::user),
                 "1 missing:\n    blk.1.attn_q.weight (did you mean"));
  // rope_freqs holds 1, ..., 8 as f32: a divisor that Llama 3's rule does not give.
  const float kept = 1, other = 1.5f;
  std::string ones(8, '\0'), bad(8, '\0');
  for (int i = 0; i < 2; ++i)
    std::memcpy(&ones[4 * i], &kept, 4), std::memcpy(&bad[4 * i], &other, 4);
  CHECK(contains(changed(ones, bad, no), "rope_freqs.weight[0] is 1.5"));
}

TEST_CASE("import: our own files are held against what they say") {
  tests::Scratch scratch;
  save_model(ModelFile(fixture("smollm2")), scratch / "w");
  const std::string good = io::read_file(scratch / "w");
  auto changed = [&](const std::string& from, const std::string& to) {
    std::string bytes = good;
    const size_t at = bytes.find(from);
    REQUIRE(at != std::string::npos);
    REQUIRE(from.size() == to.size());
    bytes.replace(at, from.size(), to);
    io::write_file(scratch / "v", bytes);
    return refused(scratch / "v", ErrorKind::user);
  };
  CHECK(contains(changed("\"version\":\"1\"", "\"version\":\"7\""), "weights of version 7"));
  CHECK(
      contains(changed("\"part\":\"decoder\"", "\"part\":\"dekoder\""), "\"part\" is \"dekoder\""));
  CHECK(contains(changed("fusec-weights", "fusec-weighty"), "without a description"));
  const std::string hash = ModelFile(scratch / "w").info().tokenizer_hash;
  CHECK(contains(changed(hash, "0123456789abcdef"), "the file was edited"));
}

}  // namespace
}  // namespace fusec::models
