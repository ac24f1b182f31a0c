// What GGUF metadata says of a model: sizes, scaling of positions, vocabulary.
#include "../../../models/import/description.h"

#include "../../data/gguf_file.h"
#include "reader.h"

namespace fusec::fuzz {

std::vector<std::string> reader_seeds() {
  using tests::GgufFile, tests::raw, tests::raw_text;
  constexpr uint32_t kWhole = 4, kReal = 6, kText = 8, kInt = 5;
  auto sizes = [&](const std::string& architecture) {
    GgufFile file;
    file.key("general.architecture", kText, raw_text(architecture));
    auto whole = [&](const std::string& key, uint32_t value) {
      file.key(architecture + "." + key, kWhole, raw(value));
    };
    whole("block_count", 1), whole("context_length", 8), whole("embedding_length", 8);
    whole("feed_forward_length", 8), whole("attention.head_count", 2);
    whole("attention.head_count_kv", 1), whole("attention.key_length", 4);
    file.key(architecture + ".rope.freq_base", kReal, raw(10000.0f));
    file.key(architecture + ".attention.layer_norm_rms_epsilon", kReal, raw(1e-5f));
    file.tensor("token_embd.weight", {8, 3}, 0, std::string(96, '\0'));
    return file;
  };
  GgufFile scaled = sizes("llama");
  scaled.tensor("rope_freqs.weight", {2}, 0, raw(1.0f) + raw(1.0f));
  GgufFile words = sizes("qwen2");
  words.key("tokenizer.ggml.model", kText, raw_text("gpt2"));
  words.key("tokenizer.ggml.pre", kText, raw_text("qwen2"));
  std::string tokens;
  for (const char* token : {"a", "b", "ab", "<s>", "pad"}) tokens += raw_text(token);
  words.array("tokenizer.ggml.tokens", kText, 5, tokens);
  words.array("tokenizer.ggml.merges", kText, 1, raw_text("a b"));
  words.array("tokenizer.ggml.token_type", kInt, 5, raw(1) + raw(1) + raw(1) + raw(3) + raw(5));
  words.key("tokenizer.ggml.eos_token_id", kWhole, raw<uint32_t>(3));
  words.key("tokenizer.ggml.add_bos_token", 7, raw<uint8_t>(1));
  return {scaled.bytes(), words.bytes(), sizes("qwen3").bytes()};
}

void read_bytes(std::string_view bytes) {
  (void)models::describe_gguf(io::GgufReader(as_file(bytes)));
}

}  // namespace fusec::fuzz
