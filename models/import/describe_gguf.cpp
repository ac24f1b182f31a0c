// GGUF metadata to a description of its model; see description.h.
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "description.h"
#include "fusec/base/error.h"
#include "fusec/base/nearest.h"
#include "fusec/io/json.h"

namespace fusec::models {
namespace {

// The keys of one architecture; what nobody asked for is refused, as in config.json.
class GgufKeys {
 public:
  GgufKeys(const io::GgufMetadata& metadata, std::string name, std::string architecture)
      : metadata_(metadata), name_(std::move(name)), prefix_(std::move(architecture) + ".") {}

  bool has(const std::string& key) {
    asked_.push_back(prefix_ + key);
    return metadata_.has(prefix_ + key);
  }
  int64_t integer(const std::string& key) { return has(key), metadata_.integer(prefix_ + key); }
  int64_t integer(const std::string& key, int64_t fallback) {
    return has(key) ? metadata_.integer(prefix_ + key) : fallback;
  }
  // GGUF rounds numbers to f32: the shortest decimal that rounds to the same one was meant.
  double number(const std::string& key, double fallback) {
    if (!has(key)) return fallback;
    const double stored = metadata_.number(prefix_ + key);
    const float narrow = static_cast<float>(stored);
    if (!std::isfinite(stored) || static_cast<double>(narrow) != stored) return stored;
    char digits[64] = {};
    std::to_chars(digits, digits + sizeof digits - 1, narrow);
    return std::strtod(digits, nullptr);
  }
  std::string text(const std::string& key, const std::string& fallback) {
    return has(key) ? metadata_.text(prefix_ + key) : fallback;
  }
  void expect(const std::string& key, int64_t expected) {
    const int64_t found = integer(key, expected);
    if (found == expected) return;
    refuse(key, std::to_string(found), std::to_string(expected));
  }
  [[noreturn]] void refuse(const std::string& key, const std::string& found,
                           const std::string& expected) {
    fail_unsupported(name_ + ": \"" + prefix_ + key + "\" is " + found +
                     ", which is not computed here; expected " + expected);
  }
  void finish() const {
    std::string unknown;
    for (const auto& [key, value] : metadata_.values()) {
      if (!key.starts_with(prefix_)) continue;
      bool known = false;
      for (const std::string& asked : asked_) known |= asked == key;
      if (!known) unknown += "\n  \"" + io::excerpt(key) + "\": " + describe(value);
    }
    if (!unknown.empty())
      fail_unsupported(name_ +
                       ": keys that are not known, and might change what the model "
                       "computes:" +
                       unknown);
  }

 private:
  const io::GgufMetadata& metadata_;
  std::string name_, prefix_;
  std::vector<std::string> asked_;
};

// Llama 3.1's scaling is in the file only as what each frequency is divided by. Its parameters
// other than the factor have been the same in every model so far, and what they give is held
// against the file's numbers.
RopeScaling scaling_of(const std::vector<float>& divisors, double theta, int64_t head_dim,
                       const std::string& name) {
  RopeScaling s{.kind = RopeScaling::Kind::llama3, .factor = 1};
  for (const float divisor : divisors) s.factor = std::max<double>(s.factor, divisor);
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / head_dim);
    const double turns = frequency * static_cast<double>(s.original_context) / (2 * M_PI);
    const double kept = std::clamp(
        (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor), 0.0, 1.0);
    const double expected = 1 / (kept + (1 - kept) / s.factor);
    // The file's numbers are f32, made by f32 arithmetic whose difference `turns - 1` may cancel.
    if (!(std::abs(divisors[i] / expected - 1) < 1e-4))
      fail_unsupported(name + ": rope_freqs.weight[" + std::to_string(i) + "] is " +
                       std::to_string(divisors[i]) + ", Llama 3's scaling by " +
                       std::to_string(s.factor) + " has " + std::to_string(expected) +
                       "; no other scaling is read from GGUF files");
  }
  return s;
}

RopeScaling read_scaling(GgufKeys& keys, const io::GgufReader& file, const VisionGptConfig& c) {
  RopeScaling scaling;
  const std::string type = keys.text("rope.scaling.type", "none");
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
    scaling.factor = keys.number("rope.scaling.factor", 1);
  } else if (type != "none") {
    keys.refuse("rope.scaling.type", "\"" + io::excerpt(type) + "\"", "\"none\" or \"linear\"");
  }
  for (const char* key :
       {"rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.finetuned"})
    keys.has(key);
  if (!file.has("rope_freqs.weight")) return scaling;
  if (scaling.kind != RopeScaling::Kind::none)
    fail_unsupported(file.path() +
                     ": rope_freqs.weight and \"rope.scaling.type\" both scale "
                     "positions; expected one of them");
  const io::GgufTensor& tensor = file.tensor("rope_freqs.weight");
  if (tensor.shape != Shape{c.head_dim / 2})
    fail_user(file.path() + ": rope_freqs.weight is " + str(tensor.shape) + ", expected " +
              str(Shape{c.head_dim / 2}));
  return scaling_of(file.read("rope_freqs.weight"), c.rope_theta, c.head_dim, file.path());
}

VisionGptConfig read_config(GgufKeys& keys, const Family& family, const io::GgufReader& file) {
  const std::string& path = file.path();
  VisionGptConfig c;
  c.name = family.model_type;
  c.resampler.queries = 0;
  c.layers = keys.integer("block_count");
  c.sequence = keys.integer("context_length");
  c.width = keys.integer("embedding_length");
  c.intermediate = keys.integer("feed_forward_length");
  c.heads = keys.integer("attention.head_count");
  if (c.heads <= 0)
    fail_user(path + ": attention.head_count is " + std::to_string(c.heads) +
              ", expected a number above 0");
  c.kv_heads = keys.integer("attention.head_count_kv", c.heads);
  c.head_dim = keys.integer("attention.key_length", c.width / c.heads);
  keys.expect("attention.value_length", c.head_dim);
  keys.expect("rope.dimension_count", c.head_dim);
  keys.expect("expert_count", 0);
  keys.expect("expert_used_count", 0);
  c.norm_eps = keys.number("attention.layer_norm_rms_epsilon", 1e-6);
  c.rope_theta = keys.number("rope.freq_base", 10000);
  c.softcap = 0;
  c.weighted_norms = true;
  c.embedding_norm = false;
  c.attention_bias = family.attention_bias;
  c.qk_norm = family.qk_norm;
  c.tied_head = !file.has("output.weight");
  const Shape table = file.tensor("token_embd.weight").shape;
  c.vocab = table.empty() ? 0 : table[0];
  keys.expect("vocab_size", c.vocab);
  try {
    c.check();
    c.rope_scaling = read_scaling(keys, file, c);
    c.check();
  } catch (Error& error) {
    error.add_note("in " + path);
    throw;
  }
  return c;
}

}  // namespace

Description describe_gguf(const io::GgufReader& file) {
  const io::GgufMetadata& metadata = file.header().metadata;
  const std::string& architecture = metadata.text("general.architecture");
  const Family* family = find_gguf_family(architecture);
  if (!family) {
    std::vector<std::string> known;
    for (const Family& one : families())
      if (!one.gguf.empty()) known.push_back(one.gguf);
    fail_unsupported(file.path() + ": models of architecture \"" + io::excerpt(architecture) +
                     "\" are not read" + suggest(architecture, known));
  }
  if (metadata.has("split.count") && metadata.integer("split.count") > 1)
    fail_unsupported(file.path() + ": one of " + std::to_string(metadata.integer("split.count")) +
                     " files of a model; join them with llama.cpp's gguf-split --merge");
  GgufKeys keys(metadata, file.path(), architecture);
  Description d;
  d.family = family;
  d.info.family = family->model_type;
  d.info.config = read_config(keys, *family, file);
  keys.finish();
  if (metadata.has("tokenizer.ggml.model")) {
    d.info.tokenizer = gguf_tokenizer(metadata, file.path());
    d.info.tokenizer_hash = d.info.tokenizer->hash_text();
  }
  d.info.ids = gguf_special_ids(metadata);
  if (metadata.has("tokenizer.chat_template"))
    d.info.chat_template = metadata.text("tokenizer.chat_template");
  return d;
}

}  // namespace fusec::models
