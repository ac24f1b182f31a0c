// Logits and hidden values of stored models beside what transformers computed from the same
// weights, and proof that a change of the arithmetic does not pass.
#include <cmath>

#include "fixture.h"
#include "fusec/models/model_check.h"

namespace fusec::models {
namespace {

using tests::contains;
using tests::fixture;
using tests::ModelCopy;
using tests::user_error;

CheckResult check(const std::string& model, const std::string& reference) {
  return check_model_file(ModelFile(model), reference, {.device = "cpu"});
}
CheckResult check(const ModelCopy& copy) {
  return check(copy.folder(), copy / "reference.safetensors");
}

TEST_CASE("import: every family computes what transformers does") {
  for (const char* name :
       {"llama", "llama3", "linear", "mistral", "qwen2", "qwen3", "smollm2", "gguf"}) {
    CAPTURE(name);
    const std::string folder = fixture(name);
    const bool gguf = name == std::string("gguf");
    const CheckResult r =
        check(gguf ? folder + "/model.gguf" : folder, folder + "/reference.safetensors");
    CHECK(r.rows == 8);
    CHECK(r.relative_error <= r.tolerance);
    CHECK(r.relative_error > 0);
    CHECK(r.passed());
    CHECK(r.top1_agreement == doctest::Approx(1));
    // Of a small relative error e of logits of size s: about (e s)^2 / 2.
    CHECK(r.max_kl < 1e-7);
  }
  for (const char* name : {"clip", "siglip"}) {
    CAPTURE(name);
    const CheckResult r = check(fixture(name), fixture(name) + "/reference.safetensors");
    CHECK(r.width == 32);
    CHECK(r.rows == (name == std::string("clip") ? 20 : 18));
    CHECK(r.passed());
  }
}

TEST_CASE("import: arithmetic that is a little off does not pass") {
  struct Change {
    const char* model;
    nlohmann::json patch;
  };
  const std::vector<Change> changes = {
      {"llama", {{"rms_norm_eps", 1e-3}}},
      {"llama", {{"rope_parameters", {{"rope_theta", 10100.0}}}}},
      {"llama3", {{"rope_parameters", {{"factor", 4.1}}}}},
      {"llama3", {{"rope_parameters", {{"low_freq_factor", 1.1}}}}},
      {"llama3", {{"rope_parameters", {{"rope_type", "linear"}}}}},
      {"linear", {{"rope_parameters", {{"factor", 2.02}}}}},
      {"qwen3", {{"rms_norm_eps", 1e-3}}},
      {"clip", {{"layer_norm_eps", 1e-3}}},
      {"clip", {{"hidden_act", "gelu"}}},
      {"clip", {{"num_attention_heads", 8}}},
      {"siglip", {{"hidden_act", "gelu"}}},
  };
  for (const Change& change : changes) {
    CAPTURE(change.model);
    CAPTURE(change.patch.dump());
    ModelCopy copy(change.model);
    nlohmann::json patch = change.patch;
    if (patch.contains("rope_parameters") && patch["rope_parameters"].contains("rope_type")) {
      for (const char* key :
           {"low_freq_factor", "high_freq_factor", "original_max_position_embeddings"})
        patch["rope_parameters"][key] = nullptr;
    }
    copy.edit(patch);
    CHECK_FALSE(check(copy).passed());
  }
  // GELU by erf for its tanh form is a difference of about 1e-4: seen, too, and small.
  ModelCopy erf("siglip");
  erf.edit({{"hidden_act", "gelu"}});
  CHECK(check(erf).relative_error < 1e-2);
  // Rows of q for interleaved rotary positions, as GGUF has them.
  ModelCopy paired("llama");
  paired.rewrite([](io::NamedType& t, std::string& bytes) {
    if (t.name.find("q_proj") == std::string::npos) return true;
    const size_t row = bytes.size() / 32;
    const std::string old = bytes;
    for (size_t i = 0; i < 32; ++i) {
      const size_t head = i / 8, at = i % 8;
      bytes.replace((8 * head + at) * row, row, old, (8 * head + 4 * (at % 2) + at / 2) * row, row);
    }
    return true;
  });
  CHECK_FALSE(check(paired).passed());
}

TEST_CASE("import: NaN does not pass for no difference") {
  ModelCopy copy("llama");
  copy.rewrite([](io::NamedType& t, std::string& bytes) {
    if (t.name == "model.norm.weight") bytes.assign(bytes.size(), '\xff');
    return true;
  });
  CHECK_FALSE(check(copy).passed());
}

TEST_CASE("import: a reference that does not fit says why") {
  ModelCopy copy("llama");
  const std::string model = copy.folder();
  auto refused = [&](const std::vector<io::NamedType>& types, const std::string& bytes_of) {
    std::string bytes;
    io::write_safetensors(copy / "bad", types, {}, [&](size_t i) -> std::string_view {
      bytes.assign(static_cast<size_t>(types[i].type.bytes()), '\0');
      if (types[i].name == bytes_of) bytes[0] = '\x7f';
      return bytes;
    });
    return user_error([&] { check(model, copy / "bad"); });
  };
  CHECK(contains(refused({}, ""), "input_ids is not there, expected a tensor of i32 or i64"));
  const io::NamedType ids{"input_ids", {{2, 4}, i32}}, at{"positions", {{1}, i32}},
      logits{"logits", {{2, 1, 96}, f32}};
  CHECK(contains(refused({{"input_ids", {{2, 4}, f32}}, at, logits}, ""), "input_ids is f32"));
  CHECK(contains(refused({{"input_ids", {{8}, i32}}, at, logits}, ""), "expected 2 axes"));
  CHECK(contains(refused({ids, at, {"logits", {{2, 2, 96}, f32}}}, ""),
                 "logits is [2, 2, 96], expected [2, 1, 96]"));
  CHECK(contains(refused({ids, at, {"logits", {{2, 1, 97}, f32}}}, ""), "expected [2, 1, 96]"));
  CHECK(contains(refused({ids, at, logits}, "input_ids"), "input_ids holds 127"));
  CHECK(contains(refused({ids, at, logits}, "positions"), "expected 0 to 3"));
  CHECK(contains(refused({{"input_ids", {{2, 65}, i32}}, at, logits}, ""), "1 to 64 tokens"));
  CHECK(contains(refused({{"input_ids", {{2, 0}, i32}}, at, logits}, ""), "1 to 64 tokens"));
  CHECK(
      contains(user_error([&] { check(fixture("clip"), fixture("llama/reference.safetensors")); }),
               "pixel_values is not there"));
  CHECK(contains(user_error([&] { check(model, copy / "none"); }), "none"));
}

}  // namespace
}  // namespace fusec::models
